import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from benchmarks.cortex_m.boards import BOARDS, build, run_board
from common.artifact import Artifact
from common.cli import UserError
from common.manifest import check_manifest
from common.tflite.litert import LiteRTModel
from common.tflite.micro_runtime import MicroRuntime
from converters.micro_target import firmware as micro
from converters.micro_target.firmware import Classifier, describe, input_table, margin, summary
from converters.micro_target.literals import cpp_float, cpp_string
from converters.micro_target.operators import REGISTRATIONS, registrations

FILE = "deployment_int8_ptq.tflite"
HERE = Path(__file__).parent
FAKE_MICRO = HERE / "fake_tflite_micro"
STRICT = ("-std=c++17", "-Wall", "-Wextra", "-Werror", "-Wpedantic", "-fno-exceptions", "-fno-rtti")
# The values of -mcpu, with -mfpu for the Cortex-M that have a floating-point unit.
CHIPS = {"cortex-m4": "fpv4-sp-d16", "cortex-m7": "fpv5-d16", "cortex-m55": "auto"}
LABELS = ("plain", 'quote " and \\', "Schäfer??/", "0x1", "", "five", "six", "7", "8", "9")


def needs(program):
    path = shutil.which(program)
    if path is None:
        pytest.skip(f"needs {program}, which is not installed")
    return path


def run(*command, check=True, **options):
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, check=False, **options
    )
    assert done.returncode == 0 or not check, f"{command}:\n{done.stdout}\n{done.stderr}"
    return done


@pytest.fixture(scope="module")
def classifier(artifact_dir):
    artifact = Artifact.open(artifact_dir)
    constants = artifact.image_input["preprocessing"]
    images, _ = artifact.samples()
    return Classifier("net", LABELS, constants["scale"], constants["offset"], images[0])


@pytest.fixture(scope="module")
def firmware(tmp_path_factory, artifact_dir, classifier):
    """The (folder, entry in the manifest) of the digits network. Do not write into it."""
    pytest.importorskip("tflite_micro", reason="needs the extra micro")
    path = tmp_path_factory.mktemp("firmware") / FILE
    shutil.copy(artifact_dir / FILE, path)
    entry = describe(path, classifier)
    return path.with_name(entry["folder"]), entry


def numbers(text, name):
    """The integers of a C++ array in a source."""
    body = re.search(rf"{name}\[[^=]*\] = {{(.*?)}};", text, re.S)[1]
    return [int(number) for number in re.findall(r"-?\d+", body)]


def constant(text, name):
    return int(re.search(rf"\b{name} = (-?\d+);", text)[1])


def test_sources_hold_the_model_and_its_constants(firmware, artifact_dir):
    folder, entry = firmware
    model = LiteRTModel(artifact_dir / FILE)
    header = (folder / "src/shufflenet_model.h").read_text()
    source = (folder / "src/shufflenet_model.cpp").read_text()
    assert bytes(numbers(source, "kModel")) == (artifact_dir / FILE).read_bytes()
    assert constant(header, "kModelBytes") == (artifact_dir / FILE).stat().st_size
    assert [constant(header, f"k{name}") for name in ("Height", "Width", "Channels")] == [
        *model.input_shape[1:]
    ]
    assert constant(header, "kOutputZeroPoint") == model.output_quantization[1]
    scale = re.search(r"kOutputScale = ([^f]*)f;", header)[1]
    assert np.float32(scale) == np.float32(model.output_quantization[0])
    arena = entry["arena"]
    assert constant(header, "kArenaBytes") == arena["measured_bytes"] + arena["margin_bytes"]


def test_arena_is_the_smallest_that_works(firmware, artifact_dir):
    from tflite_micro.python.tflite_micro import runtime

    measured = firmware[1]["arena"]["measured_bytes"]
    runtime.Interpreter.from_file(str(artifact_dir / FILE), arena_size=measured)
    with pytest.raises(RuntimeError):
        runtime.Interpreter.from_file(str(artifact_dir / FILE), arena_size=measured - 256)


def test_golden_scores_are_those_of_the_artifact(firmware, artifact_dir, classifier):
    text = (firmware[0] / "golden_test/golden.cpp").read_text()
    assert numbers(text, "kGoldenImage") == classifier.image.ravel().tolist()
    artifact = Artifact.open(artifact_dir)
    model = artifact.load(FILE, reference_kernels=True)
    inputs = model.quantize_input(artifact.preprocess(classifier.image[np.newaxis]))
    (expected,) = MicroRuntime((artifact_dir / FILE).read_bytes()).run([inputs])
    golden = np.array(numbers(text, "kGoldenScores"))
    np.testing.assert_array_equal(golden, expected[0])
    assert np.abs(golden - model.invoke(inputs)[0]).max() <= 1


def test_table_is_the_preprocessing_of_every_channel():
    class Model:
        """A fake `LiteRTModel` with three channels."""

        input_shape = (1, 8, 8, 3)

        @staticmethod
        def quantize_input(x):
            return np.clip(np.rint(x / np.float32(0.02)) - 3, -128, 127).astype(np.int8)

    scale, offset = [1 / 58.4, 1 / 57.1, 1 / 57.4], [-2.1, -2.0, -1.8]
    image = np.random.default_rng(0).integers(0, 256, Model.input_shape[1:], np.uint8)
    table = input_table(Model(), Classifier("net", LABELS, scale, offset, image))
    expected = Model.quantize_input(
        image.astype(np.float32) * np.float32(scale) + np.float32(offset)
    )
    np.testing.assert_array_equal(table[np.arange(3), image], expected)


def test_resolver_has_exactly_the_operators_used(firmware):
    folder, entry = firmware
    text = (folder / "src/shufflenet_operators.h").read_text()
    calls = re.findall(r"resolver->(\w+)\(\)", text)
    assert calls == sorted(set(calls)) == entry["registrations"]
    assert f"MicroMutableOpResolver<{len(calls)}>" in text
    assert "AddConv2D" in calls and "AddSoftmax" not in calls


def test_an_operator_that_micro_lacks_is_named():
    with pytest.raises(UserError, match=r"net\.tflite needs CUSTOM:edgetpu, RFFT2D, which TFLite"):
        registrations(["CONV_2D", "RFFT2D", "CUSTOM:edgetpu"], "net.tflite")
    assert registrations(["TRANSPOSE_CONV"], "net.tflite") == ["AddTransposeConv"]


def test_without_the_interpreter_there_is_no_firmware(
    artifact_dir, tmp_path, monkeypatch, classifier
):
    monkeypatch.setattr(micro, "micro_version", lambda: None)
    path = tmp_path / FILE
    shutil.copy(artifact_dir / FILE, path)
    entry = describe(path, classifier)
    assert (entry["status"], entry["folder"]) == ("not written", None)
    assert "pip install 'keras_shufflenet[micro]'" in summary(entry)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(("arena", "added"), [(118_608, 4_096), (10_001, 4_111), (16, 4_096)])
def test_margin_is_four_kilobytes_and_keeps_the_alignment(arena, added):
    assert margin(arena) == added
    assert (arena + margin(arena)) % 16 == 0


def test_literals():
    assert cpp_float(np.float32(0.1)) == "0.100000001f"
    assert (cpp_float(2), cpp_float(1e-9)) == ("2.0f", "9.99999972e-10f")
    assert cpp_string('a"\\?ä') == r'"a\"\\\077\303\244"'


def test_manifest_knows_the_firmware(firmware, artifact_dir):
    manifest = json.loads((artifact_dir / "manifest.json").read_text())
    manifest["files"][FILE]["micro"] = json.loads(json.dumps(firmware[1]))
    check_manifest(manifest, artifact_dir / "manifest.json")
    manifest["files"][FILE]["micro"]["folder"] = "../elsewhere"
    with pytest.raises(
        UserError, match=r"unusable files\['deployment_int8_ptq.tflite'\].micro.fol"
    ):
        check_manifest(manifest, artifact_dir / "manifest.json")


def test_class_runs_on_a_fake_micro(firmware, artifact_dir, classifier, tmp_path):
    """The fake has no kernels; it only accepts the input that the artifact would give."""
    compiler = needs("g++")
    folder, _ = firmware
    artifact = Artifact.open(artifact_dir)
    x = artifact.load(FILE).quantize_input(artifact.preprocess(classifier.image))
    values = ",".join(map(str, x.ravel().tolist()))
    expected = tmp_path / "expected.h"
    expected.write_text(f"#include <cstdint>\nconst std::int8_t kExpectedInput[] = {{{values}}};\n")
    sources = [*sorted((folder / "src").glob("*.cpp")), *(folder / "golden_test").glob("*.c*")]
    includes = [
        f"-I{path}" for path in (FAKE_MICRO, folder / "src", folder / "golden_test", tmp_path)
    ]
    run(compiler, *STRICT, "-O1", *includes, *sources, "-o", tmp_path / "golden")
    best = int(np.argmax(numbers((folder / "golden_test/golden.cpp").read_text(), "kGoldenScores")))
    done = run(tmp_path / "golden")
    assert f"class {best} ({LABELS[best]}), score" in done.stdout
    assert "largest difference from the golden scores: 0" in done.stdout
    expected.write_text(expected.read_text().replace("{", "{1 ^ ", 1))
    main = [path for path in sources if path.name != "shufflenet_model.cpp"]
    model = tmp_path / "model.o"
    run(compiler, *STRICT, *includes, "-c", folder / "src/shufflenet_model.cpp", "-o", model)
    run(compiler, *STRICT, *includes, *main, model, "-o", tmp_path / "golden")
    assert run(tmp_path / "golden", check=False).returncode == 1


@pytest.mark.parametrize(("chip", "fpu"), CHIPS.items())
def test_sources_compile_for_cortex_m_without_a_warning(firmware, tmp_path, chip, fpu):
    """With headers that fake TFLite Micro's; the slow tests use the real ones."""
    compiler = needs("arm-none-eabi-g++")
    folder, _ = firmware
    (tmp_path / "expected.h").write_text(
        "#include <cstdint>\nconst std::int8_t kExpectedInput[1]{};\n"
    )
    includes = [
        f"-I{path}" for path in (FAKE_MICRO, folder / "src", folder / "golden_test", tmp_path)
    ]
    sources = [*(folder / "src").glob("*.cpp"), *(folder / "golden_test").glob("*.c*")]
    cpu = (f"-mcpu={chip}", "-mthumb", "-mfloat-abi=hard", f"-mfpu={fpu}")
    run(compiler, *cpu, *STRICT, "-fsyntax-only", *includes, *sources)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ((), "TFLITE_MICRO_DIR is '', which is not a checkout of TFLite Micro"),
        (("-DTFLITE_MICRO_DIR={}",), "Micro's third-party headers are not in"),
    ],
)
def test_cmake_says_what_is_missing(firmware, tmp_path, flags, message):
    cmake = needs("cmake")
    given = [flag.format(FAKE_MICRO) for flag in flags]
    # The compiler's checks take seconds and do not matter here.
    skip = ("-DCMAKE_CXX_COMPILER_WORKS=1", "-DCMAKE_CXX_ABI_COMPILED=1")
    done = run(cmake, "-S", firmware[0], "-B", tmp_path, *skip, *given, check=False)
    assert done.returncode == 1
    assert message in " ".join(done.stderr.split())


@pytest.fixture
def micro_checkout():
    """A checkout of TFLite Micro whose Makefile has built libraries (docs/micro.md)."""
    folder = os.environ.get("TFLITE_MICRO_DIR")
    if not folder:
        pytest.skip("needs TFLite Micro's sources and libraries: set TFLITE_MICRO_DIR")
    return Path(folder)


def libraries(checkout, pattern):
    """The libraries with portable kernels and those with optimized kernels."""
    found = sorted(checkout.glob(f"gen/{pattern}/lib/libtensorflow-microlite.a"))
    if not found:
        pytest.skip(f"{checkout}/gen has no library {pattern}")
    return found


def check_scores(text, name):
    print(f"{name}\n{text}")
    assert "largest difference from the golden scores: 0" in text


@pytest.mark.slow
def test_every_registration_is_a_method_of_the_real_resolver(micro_checkout):
    header = "tensorflow/lite/micro/micro_mutable_op_resolver.h"
    text = (micro_checkout / header).read_text()
    methods = dict(
        re.findall(
            r"TfLiteStatus (Add\w+)\([^{]*{\s*return AddBuiltin\(\s*"
            r"BuiltinOperator_(\w+),",
            text,
        )
    )
    assert {methods[call]: call for call in REGISTRATIONS.values()} == REGISTRATIONS


@pytest.mark.slow
def test_real_micro_gives_the_golden_scores_on_this_machine(firmware, micro_checkout, tmp_path):
    cmake = needs("cmake")
    run(
        *(cmake, "-S", firmware[0], "-B", tmp_path, "-DCMAKE_CXX_FLAGS=-Werror"),
        f"-DTFLITE_MICRO_DIR={micro_checkout}",
        f"-DTFLITE_MICRO_LIBRARY={libraries(micro_checkout, 'linux_*')[0]}",
    )
    run(cmake, "--build", tmp_path)
    check_scores(run(tmp_path / "golden").stdout, "host")


@pytest.mark.slow
@pytest.mark.parametrize("board", BOARDS.values(), ids=str)
def test_real_micro_gives_the_golden_scores_on_a_board_of_qemu(
    firmware, micro_checkout, tmp_path, board
):
    needs("arm-none-eabi-g++")
    needs("qemu-system-arm")
    folder, _ = firmware
    sources = [*(folder / "src").glob("*.cpp"), *(folder / "golden_test").glob("*.c*")]
    includes = (folder / "src", folder / "golden_test")
    for archive in libraries(micro_checkout, f"cortex_m_generic_{board.chip}*"):
        program = build(board, sources, tmp_path, includes, micro_checkout, archive)
        check_scores(run_board(board, program), archive)
