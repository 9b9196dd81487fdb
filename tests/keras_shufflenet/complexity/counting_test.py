import json

import keras
import pytest

from keras_shufflenet import ShuffleNetV1, ShuffleNetV2
from keras_shufflenet.complexity import complexity


@pytest.fixture(scope="module")
def v2():
    return ShuffleNetV2(0.5)


def rows_by_name(model, **options):
    return {row.name: row for row in complexity(model, **options).rows}


def test_rows_by_hand():
    rows = rows_by_name(ShuffleNetV1(1.0, 3))

    stem = rows["stem_conv"]
    assert (stem.kind, stem.output_shape) == ("Conv2D", (112, 112, 24))
    assert stem.macs == 112 * 112 * 27 * 24
    assert stem.parameters == 27 * 24
    assert stem.activation_bytes == 4 * 112 * 112 * 24
    assert stem.memory_access_cost == 224 * 224 * 3 + 112 * 112 * 24 + 27 * 24

    grouped = rows["stage3_unit2/compress"]
    # V2 paper: hw(c1 + c2) + c1c2/g.
    assert grouped.memory_access_cost == 14 * 14 * (480 + 120) + 480 * 120 // 3
    assert grouped.macs == 14 * 14 * 480 * 120 // 3
    assert grouped.parameters == 480 * 120 // 3

    depthwise = rows["stage3_unit1/depthwise"]
    assert depthwise.macs == 14 * 14 * 9 * 120
    assert depthwise.memory_access_cost == (28 * 28 + 14 * 14) * 120 + 9 * 120

    norm = rows["stage3_unit1/depthwise_bn"]
    assert (norm.macs, norm.parameters, norm.memory_access_cost) == (0, 2 * 120, 0)

    classifier = rows["predictions"]
    assert classifier.macs == 960 * 1000
    assert classifier.parameters == 961 * 1000
    assert classifier.memory_access_cost == 960 + 1000 + 960 * 1000


def test_layers_without_multiplications():
    rows = rows_by_name(ShuffleNetV2(0.5, padding="symmetric"))

    for name in ("stem_pad", "stem_pool", "stage2_unit2/split", "stage2_unit2/join"):
        assert rows[name].macs == rows[name].parameters == rows[name].memory_access_cost == 0
    assert rows["stem_pool_pad"].output_shape == (114, 114, 24)
    assert rows["stage2_unit2/split"].output_shape == (28, 28, 24)
    assert rows["stage2_unit2/split"].activation_bytes == 4 * 28 * 28 * 48
    assert rows["stage2_unit2/shuffle"].activation_bytes == 4 * 28 * 28 * 48


def test_totals_are_the_sums(v2):
    counted = complexity(v2)

    for name in ("macs", "parameters", "activation_bytes", "memory_access_cost"):
        assert getattr(counted, name) == sum(getattr(row, name) for row in counted.rows) > 0


def test_bytes_per_value(v2):
    float32, int8 = complexity(v2), complexity(v2, bytes_per_value=1)

    assert float32.activation_bytes == 4 * int8.activation_bytes
    with pytest.raises(ValueError, match=r"`bytes_per_value`.*0"):
        complexity(v2, bytes_per_value=0)


def test_frozen_layers_count(v2):
    before = complexity(v2)
    v2.trainable = False
    frozen = complexity(v2)
    v2.trainable = True

    assert frozen == before


def test_a_network_inside_another_model():
    backbone = ShuffleNetV2(0.5, input_shape=(64, 64, 3), include_top=False, pooling="avg")
    alone = complexity(backbone)
    inputs = keras.Input((64, 64, 3))
    x = keras.layers.Rescaling(1 / 255)(inputs)
    outputs = keras.layers.Dense(5, name="head")(backbone(x))
    counted = complexity(keras.Model(inputs, outputs))

    assert counted.macs == alone.macs + 1024 * 5
    assert counted.parameters == alone.parameters + 1025 * 5
    assert "shufflenet_v2/stage2_unit1/depthwise" in [row.name for row in counted.rows]


def test_what_cannot_be_counted_is_named():
    with pytest.raises(ValueError, match=r"`model` must have a known height.*stem_conv"):
        complexity(ShuffleNetV2(0.5, input_shape=(None, None, 3)))
    with pytest.raises(ValueError, match="`model` must be a functional"):
        complexity(keras.layers.Dense(3))
    inputs = keras.Input((8, 8, 3))
    outputs = keras.layers.Conv2DTranspose(3, 3, name="up")(inputs)
    with pytest.raises(ValueError, match=r"not counted.*'up', a Conv2DTranspose"):
        complexity(keras.Model(inputs, outputs))


def test_table_is_aligned(v2):
    counted = complexity(v2)
    lines = counted.to_table().splitlines()

    assert len(lines) == len(counted.rows) + 2
    assert len({len(line) for line in lines}) == 1
    assert lines[0].split()[:3] == ["layer", "kind", "output"]
    assert lines[-1].split() == ["total", "40,476,448", "1,366,792", "15,587,744", "3,413,944"]


def test_command_prints_a_table(run_cli):
    done = run_cli(
        "keras_shufflenet.complexity", "--model=shufflenet_v1", "--scale=0.5", "--groups=8"
    )

    assert done.stdout.splitlines()[-1].split()[:2] == ["total", "40,469,760"]
    assert "RuntimeWarning" not in done.stderr  # runpy's, of a module imported twice


def test_command_reads_a_file_and_prints_json(run_cli, tmp_path):
    model = ShuffleNetV2(0.5, input_shape=(48, 40, 1), classes=3)
    model.save(tmp_path / "model.keras")
    done = run_cli("keras_shufflenet.complexity", "--model=model.keras", "--format=json")
    printed = json.loads(done.stdout)

    assert printed == json.loads(json.dumps(complexity(model).to_dict()))


def test_command_explains_a_wrong_name_in_one_line(run_cli):
    done = run_cli("keras_shufflenet.complexity", "--model=resnet", check=False)

    assert done.returncode == 1
    assert done.stdout == ""
    # TensorFlow's own start-up notes come before.
    assert done.stderr.splitlines()[-1] == (
        "error: --model must be one of shufflenet_v1, shufflenet_v2 or the path of a .keras file. "
        "Received: resnet"
    )
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--classes=1000000000", "--classes must be from 1 to 100,000. Received: 1000000000"),
        ("--input_size=x", "flag --input_size=x: invalid literal for int() with base 10: 'x'"),
    ],
)
def test_command_refuses_a_wrong_number_in_one_line(run_cli, flag, message):
    done = run_cli("keras_shufflenet.complexity", "--model=shufflenet_v2", flag, check=False)

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines()[-1] == f"error: {message}"
    assert "Traceback" not in done.stderr


def test_command_explains_a_damaged_file(run_cli, tmp_path):
    (tmp_path / "bad.keras").write_bytes(b"not a zip file")
    done = run_cli("keras_shufflenet.complexity", "--model=bad.keras", check=False)

    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("error: --model cannot be loaded from bad.keras")
