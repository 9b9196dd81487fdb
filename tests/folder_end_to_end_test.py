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
        *("--input_size=64", "--crop_share=1", "--epochs=6", "--batch_size=24"),
    )
    scores = run_cli("trainers.evaluate", "--model=work").stdout
    assert "zero" in scores and "on 30 images of test" in scores

    convert = ("converters.convert", "--model=work", "--calibration_images=40")
    run_cli(*convert, "--output=artifact", "--quantization=none")
    manifest = json.loads((tmp_path / "artifact/manifest.json").read_text())
    assert manifest["outputs"][0]["shape"] == [1, 3]
    table = run_cli("edge.benchmark", "--artifact=artifact", "--runs=3", "--warmup=1").stdout
    assert "host" in table

    images = sorted((photographs / "train").rglob("*.jpg"))
    # Of each class, some are left.
    damaged = [path for number, path in enumerate(images) if number % 6]
    for path in damaged:
        path.write_bytes(path.read_bytes()[:100])
    refused = run_cli(*convert, "--output=other", check=False)
    assert refused.returncode == 1
    last_line = refused.stderr.strip().splitlines()[-1]
    assert last_line.startswith("error: ") and "20 usable" in last_line
    named = [line for line in refused.stderr.splitlines() if "cannot be decoded" in line]
    assert len(named) == 20, "the first corrupt images are named, the others counted"
    assert any(str(path) in named[0] for path in damaged)
    assert "and 80 more" in refused.stderr
    assert not (tmp_path / "other").exists()


@pytest.mark.slow
def test_grey_photographs_of_unequal_classes_without_splits(tmp_path, digits_folder, capsys):
    import keras

    from trainers import loop
    from trainers.config import TrainConfig
    from trainers.data.pipeline import uint8_images
    from trainers.recipes import make_config

    root = shutil.copytree(digits_folder / "train", tmp_path / "photographs")
    for path in sorted((root / "two").iterdir())[:20]:
        path.unlink()
    values = {
        **{"data_dir": str(root), "channels": 1, "class_weights": "balanced", "mixup": 0.2},
        **{"input_size": 32, "crop_share": 1.0, "small_images": True, "scale": 0.5},
        **{"steps": 2, "batch_size": 16},
    }
    (tmp_path / "work").mkdir()
    loop.train(make_config("folder", str(tmp_path / "work"), values))
    said = capsys.readouterr().out
    assert "train: 87 images in 3 classes (one 35, two 16, zero 36)" in said
    assert f"{root} has no split 'test': 13 of its 100 images" in said
    assert "are grey" not in said
    model = keras.models.load_model(tmp_path / "work" / "model.keras")
    assert model.input_shape == (None, 32, 32, 1)
    config = TrainConfig.load(tmp_path / "work")
    assert [uint8_images(config, split)[0].shape for split in ("train", "test")] == [
        (87, 32, 32, 1),
        (13, 32, 32, 1),
    ]
    record = json.loads((tmp_path / "work" / "metrics.jsonl").read_text().splitlines()[-1])
    assert record["eval_images"] == 13
