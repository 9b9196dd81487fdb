import numpy as np

from benchmarks.training import other_networks
from benchmarks.training.other_networks import METHODS, Images, table

TIMES = {"p10": 0.9, "median": 1.0, "p90": 1.1}


def network(usual, **more):
    scores = {"accuracy": 0.8, "argmax": 0.99}
    results = {METHODS[0]: usual or scores, METHODS[1]: scores, METHODS[2]: scores}
    return {"float": 0.81, "results": results, **more}


def test_a_usual_file_that_litert_refuses_has_no_accuracy_and_says_why(tmp_path):
    path = tmp_path / "usual.tflite"
    path.write_bytes(b"no model")
    refused = other_networks._scores(path, np.zeros((1, 10)), Images(np.zeros(1), np.zeros(1)))
    assert refused["refused"].startswith("usual.tflite is")
    networks = {
        "both": network(None, latency={"usual": TIMES, "ours": TIMES}, faster=TIMES),
        "refused": network(refused, latency={"usual": TIMES, "ours": TIMES}, faster=TIMES),
    }
    run = {"networks": networks, "train_images": 1000, "epochs": 2, "qat_epochs": 1}
    both, ours, *rest = table(run).splitlines()[2:]
    assert both.count("80.00% (-1.00; 99.00%)") == 3 and both.endswith("**1.00x** (0.90-1.10) |")
    assert ours.startswith("| refused | 81.00% | refused by LiteRT | 80.00%")
    reason = f"refused, usual PTQ: {refused['refused']}; its time is that of the same conversion"
    assert any(line.startswith(reason) for line in rest)
