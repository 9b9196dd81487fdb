from experiments import complexity_tables
from experiments.experiment import Settings


def test_counts_stand_beside_the_papers_and_differences_are_explained(monkeypatch):
    for name, value in {
        "V1_TABLE_1": {3: 137},
        "V1_TABLE_2": {0.25: 13},
        "V1_TABLE_5": {(1.5, False): 292},
        "V2_TABLE_5": {0.5: (41, 1.4)},
    }.items():
        monkeypatch.setattr(complexity_tables, name, value)
    result = complexity_tables.run(Settings())
    rows = [row for table in result.tables for row in table.rows]
    assert rows == [
        ["V1 1x g=3", "137,460,672", "137", "+0.3%", "136.5", "1,865,728", "-"],
        ["V1 0.25x g=3", "13,300,656", "13", "+2.3%", "13.1", "306,124", "-"],
        ["V1 1.5x g=3", "292,443,552", "292", "+0.2%", "291.0", "3,442,168", "-"],
        ["V2 0.5x", "40,476,448", "41", "-1.3%", "39.5", "1,366,792", "1.4"],
    ]
    assert all(table.note for table in result.tables)
    # V2's 40.5 million is none of the paper's 41 by either count.
    assert result.verdicts[0].startswith("3 of 4 figures agree")
    assert result.verdicts[1] == "The largest difference is V1 0.25x g=3's, +2.3%."
