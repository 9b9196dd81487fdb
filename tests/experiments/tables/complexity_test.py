from experiments.harness.experiment import Settings
from experiments.tables import complexity


def test_counts_are_next_to_the_papers_and_differences_are_explained(monkeypatch):
    for name, value in {
        "V1_TABLE_1": {3: 137},
        "V1_TABLE_2": {0.25: 13},
        "V1_TABLE_5": {(1.5, False): 292},
        "V2_TABLE_5": {1.0: (146, 2.3)},
    }.items():
        monkeypatch.setattr(complexity, name, value)
    result = complexity.run(Settings())
    rows = [row for table in result.tables for row in table.rows]
    assert rows == [
        ["V1 1x g=3", "137,460,672", "137", "+0.3%", "136.5", "1,865,728", "-"],
        ["V1 0.25x g=3", "13,300,656", "13", "+2.3%", "13.1", "306,124", "-"],
        ["V1 1.5x g=3", "292,443,552", "292", "+0.2%", "291.0", "3,442,168", "-"],
        ["V2 1x", "144,907,992", "146", "-0.7%", "143.9", "2,278,604", "2.3"],
        ["V2 1x, megvii", "145,814,296", "146", "-0.1%", "144.8", "2,279,760", "2.3"],
    ]
    assert all(table.note for table in result.tables)
    # V2 1x as the paper's text describes it is the one that differs.
    assert result.verdicts[0].startswith("4 of 5 figures agree")
    assert result.verdicts[1] == "The largest difference is V1 0.25x g=3's, +2.3%."
