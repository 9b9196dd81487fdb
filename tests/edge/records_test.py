from edge.records import batch_notes


def records(**batches):
    return [
        {"file": file, **({"batch": batch} if batch > 1 else {})} for file, batch in batches.items()
    ]


def test_the_batches_of_files_are_said():
    assert batch_notes(records(a=1, b=1)) == []
    assert batch_notes(records(a=4, b=4)) == ["Times are of an inference of 4 examples."]
    assert batch_notes(records(a=4, b=1, c=2)) == [
        "Times of c are of an inference of 2 examples.",
        "Times of a are of an inference of 4 examples.",
    ]
