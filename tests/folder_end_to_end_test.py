"""A user's own folder of photographs, through every command."""

import json
import shutil

import pytest


@pytest.fixture(scope="module")
def photographs(tmp_path_factory, digits_folder):
    """A copy of the folder data set that the test may damage."""
    root = tmp_path_factory.mktemp("own") / "photographs"
    shutil.copytree(digits_folder, root)
    return root


def test_train_convert_benchmark_then_lose_the_images(run_cli, tmp_path, photographs):
    run_cli(
        "trainers.train",
        *("--recipe=folder", f"--data_dir={photographs}", "--workdir=work", "--scale=0.5"),
        *("--input_size=64", "--resize_size=64", "--epochs=6", "--batch_size=24"),
    )
    scores = run_cli("trainers.evaluate", "--model=work").stdout
    assert "zero" in scores and "on 30 images of test" in scores

    convert = ("converters.convert", "--model=work", "--calibration_images=40")
    run_cli(*convert, "--output=artifact", "--quantization=none")
    manifest = json.loads((tmp_path / "artifact/manifest.json").read_text())
    assert manifest["classes"] == 3
    table = run_cli("edge.benchmark", "--artifact=artifact", "--runs=3", "--warmup=1").stdout
    assert "host" in table

    images = sorted((photographs / "train").rglob("*.jpg"))
    for path in images[:-20]:
        path.write_bytes(path.read_bytes()[:100])
    refused = run_cli(*convert, "--output=other", check=False)
    assert refused.returncode == 1
    last_line = refused.stderr.strip().splitlines()[-1]
    assert last_line.startswith("error: ") and "20 usable" in last_line
    named = [line for line in refused.stderr.splitlines() if "cannot be decoded" in line]
    assert len(named) == 20, "the first corrupt images are named, the others counted"
    assert any(str(path) in named[0] for path in images[:-20])
    assert "and 80 more" in refused.stderr
    assert not (tmp_path / "other").exists()
