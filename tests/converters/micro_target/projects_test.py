"""Arduino, ESP-IDF and Zephyr layouts, by each format's own rules, and the camera's code."""

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from common.artifact import Artifact
from converters.micro_target.firmware import Classifier, write_firmware
from converters.micro_target.operators import registrations

pytest.importorskip("tflite_micro", reason="needs the extra micro")
FILE = "deployment_int8_ptq.tflite"
HERE = Path(__file__).parent
STRICT = ("-std=c++17", "-Wall", "-Wextra", "-Werror", "-fno-exceptions", "-fno-rtti")
# https://docs.arduino.cc/arduino-cli/library-specification: fields that must be there, and some
# of the categories.
ARDUINO = ("name", "version", "author", "maintainer", "sentence", "paragraph", "url")
CATEGORIES = ("Communication", "Data Processing", "Sensors", "Uncategorized", "Other")
# Zephyr's scripts/zephyr_module.py: the keys of a module and of its part `build`.
ZEPHYR, ZEPHYR_BUILD = {"name", "build", "tests", "samples"}, {"cmake", "kconfig", "depends"}
SETTINGS = re.compile(r"^(\w+)=(.*)$", re.MULTILINE)


@pytest.fixture(scope="module")
def digits(artifact_dir):
    artifact = Artifact.open(artifact_dir)
    constants = artifact.manifest["inputs"][0]["preprocessing"]
    images, _ = artifact.samples()
    labels = [str(digit) for digit in range(10)]
    return artifact, Classifier("net", labels, constants["scale"], constants["offset"], images[0])


@pytest.fixture(scope="module")
def folder(tmp_path_factory, artifact_dir, digits):
    path = tmp_path_factory.mktemp("projects") / FILE
    shutil.copy(artifact_dir / FILE, path)
    found = path.with_name("net_firmware")
    calls = registrations(digits[0].manifest["files"][FILE]["operators"], FILE)
    write_firmware(path, digits[1], found, calls)
    return found


def run(*command, **options):
    if shutil.which(command[0]) is None:
        pytest.skip(f"needs {command[0]}, which is not installed")
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, check=False, **options
    )
    assert done.returncode == 0, f"{command}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_arduino_s_library_follows_the_specification(folder):
    found = dict(SETTINGS.findall((folder / "library.properties").read_text()))
    assert not set(ARDUINO) - set(found) and all(found.values())
    assert re.fullmatch(r"[A-Za-z0-9][\w .-]*", found["name"])
    assert re.fullmatch(r"\d+\.\d+\.\d+", found["version"])
    assert found["category"] in CATEGORIES
    # arduino-lint's LD005: no folder with a name like that of the examples (its own pattern).
    almost = re.compile(r"(?i)^e((x)|(xs)|(s))((am)|(ma))p((le)|(el))s?$")
    assert [path.name for path in folder.iterdir() if almost.match(path.name)] == ["examples"]
    # The header that makes the IDE find the library is in src/, and its dependency is named.
    assert (folder / "src" / found["includes"]).is_file()
    assert found["depends"] == "Arduino_TensorFlowLite"
    # A sketch has its folder's name; sources are .cpp, which the IDE compiles.
    sketches = sorted((folder / "examples").rglob("*.ino"))
    assert [sketch.stem for sketch in sketches] == ["Camera", "Classify"]
    assert all(sketch.parent.name == sketch.stem for sketch in sketches)
    assert not list((folder / "src").glob("*.cc"))


def compiled(folder, sketch, tmp_path, expected):
    """Compiles a sketch as the IDE does, with Arduino.h first, and runs setup and loop once."""
    values = ",".join(map(str, np.ravel(expected).tolist()))
    (tmp_path / "expected.h").write_text(
        f"#include <cstdint>\nconst std::int8_t kExpectedInput[] = {{{values}}};\n"
    )
    main = tmp_path / f"{sketch}.cpp"
    text = (folder / f"examples/{sketch}/{sketch}.ino").read_text()
    main.write_text(f"#include <Arduino.h>\n{text}\nint main() {{ setup(); loop(); }}\n")
    golden = folder / "examples/Classify"
    places = (HERE / "fake_arduino", HERE / "fake_tflite_micro", folder / "src", golden, tmp_path)
    run(
        *("g++", *STRICT, *(f"-I{place}" for place in places), main),
        *(*(folder / "src").glob("*.cpp"), golden / "golden.cpp", "-o", tmp_path / sketch),
    )
    return run(str(tmp_path / sketch))


def test_sketch_classifies_the_golden_image(folder, digits, tmp_path):
    artifact, classifier = digits
    x = artifact.load(FILE).quantize_input(artifact.preprocess(classifier.image))
    printed = compiled(folder, "Classify", tmp_path, x)
    assert printed.endswith("milliseconds 0, largest difference from the golden scores 0\n")


def test_sketch_with_a_camera_gives_the_network_what_it_sees(folder, digits, tmp_path):
    artifact, classifier = digits
    # The fake camera's green, 32 of 63, fills the image of one channel.
    image = np.full_like(classifier.image, 32 << 2 | 32 >> 4)
    x = artifact.load(FILE).quantize_input(artifact.preprocess(image))
    text = (folder / "golden_test/golden.cpp").read_text()
    scores = re.search(r"kGoldenScores\[[^=]*\] = {(.*?)};", text, re.DOTALL)[1]
    best = int(np.argmax([int(score) for score in scores.split(",")]))
    # The fake network gives the golden scores only for the image that it expects, else zeros.
    assert compiled(folder, "Camera", tmp_path, x).startswith(f"{best} ")


@pytest.mark.parametrize(("width", "height", "size"), [(176, 144, 32), (20, 31, 32), (64, 64, 64)])
def test_frame_is_cropped_and_averaged(folder, tmp_path, width, height, size):
    frame = np.random.default_rng(0).integers(0, 256, (height, width, 2), np.uint8)
    frame.tofile(tmp_path / "frame")
    (tmp_path / "main.cpp").write_text(
        '#include <cstdio>\n#include "shufflenet_image.h"\n'
        f"static unsigned char frame[{width * height * 2}], image[{size * size * 3}];\n"
        "int main() {\n  if (!std::fread(frame, sizeof(frame), 1, stdin)) return 1;\n"
        f"  shufflenet::FromRgb565<{size}, 3>(frame, {width}, {height}, image);\n"
        "  std::fwrite(image, sizeof(image), 1, stdout);\n}\n"
    )
    program = tmp_path / "program"
    run("g++", *STRICT, f"-I{folder / 'src'}", tmp_path / "main.cpp", "-o", program)
    with (tmp_path / "frame").open("rb") as pixels:
        done = subprocess.run([program], stdin=pixels, capture_output=True, check=True)
    image = np.frombuffer(done.stdout, np.uint8).reshape(size, size, 3)
    np.testing.assert_array_equal(image, _expected(frame, size))


def _expected(frame, size):
    words = frame[..., 0].astype(int) << 8 | frame[..., 1]
    red, green, blue = words >> 11, words >> 5 & 63, words & 31
    rgb = np.stack([red << 3 | red >> 2, green << 2 | green >> 4, blue << 3 | blue >> 2], -1)
    height, width, _ = rgb.shape
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    rgb = rgb[top : top + side, left : left + side]
    edges = [(i * side // size, max((i + 1) * side // size, i * side // size + 1))
             for i in range(size)]  # fmt: skip
    means = [[rgb[a:b, c:d].mean((0, 1)) for c, d in edges] for a, b in edges]
    return np.floor(np.array(means) + 0.5).astype(np.uint8)


CMAKE = """cmake_minimum_required(VERSION 3.16)
project(standin LANGUAGES CXX)
{functions}
add_subdirectory({folder} part)
"""
ESP_IDF = """set(ESP_PLATFORM 1)
macro(idf_component_register)
  cmake_parse_arguments(ARG "" "" "SRCS;INCLUDE_DIRS" ${ARGN})
  set(COMPONENT_LIB __idf_shufflenet)
  add_library(${COMPONENT_LIB} STATIC ${ARG_SRCS})
  target_include_directories(${COMPONENT_LIB} PUBLIC ${ARG_INCLUDE_DIRS})
endmacro()"""
ZEPHYR_FUNCTIONS = """set(CONFIG_TENSORFLOW_LITE_MICRO y)
macro(zephyr_library_named name)
  set(ZEPHYR_CURRENT_LIBRARY ${name})
  add_library(${name} STATIC "")
endmacro()
macro(zephyr_library_sources)
  target_sources(${ZEPHYR_CURRENT_LIBRARY} PRIVATE ${ARGN})
endmacro()
macro(zephyr_library_compile_definitions)
  target_compile_definitions(${ZEPHYR_CURRENT_LIBRARY} PRIVATE ${ARGN})
endmacro()
macro(zephyr_include_directories)
  target_include_directories(${ZEPHYR_CURRENT_LIBRARY} PUBLIC ${ARGN})
endmacro()"""


@pytest.mark.medium
@pytest.mark.parametrize(
    ("functions", "part"), [(ESP_IDF, "."), (ZEPHYR_FUNCTIONS, "zephyr")], ids=["esp-idf", "zephyr"]
)
def test_a_component_compiles_in_a_build_of_others(folder, tmp_path, functions, part):
    (tmp_path / "expected.h").write_text(
        "#include <cstdint>\nconst std::int8_t kExpectedInput[1]{};\n"
    )
    text = CMAKE.format(functions=functions, folder=(folder / part).resolve())
    (tmp_path / "CMakeLists.txt").write_text(text)
    places = " ".join(
        f"-I{place}" for place in (HERE / "fake_tflite_micro", folder / "golden_test", tmp_path)
    )
    run("cmake", "-S", tmp_path, "-B", tmp_path / "build", f"-DCMAKE_CXX_FLAGS=-std=c++17 {places}")
    run("cmake", "--build", tmp_path / "build")
    assert list((tmp_path / "build").rglob("lib*shufflenet.a"))


def test_esp_idf_s_manifest_names_its_dependency(folder):
    text = (folder / "idf_component.yml").read_text()
    assert re.search(r'^version: "\d+\.\d+\.\d+"$', text, re.MULTILINE)
    assert re.search(r'^  espressif/esp-tflite-micro:\n    version: ">=1', text, re.MULTILINE)
    tools = pytest.importorskip(
        "idf_component_tools.manager", reason="needs Espressif's idf-component-manager"
    )
    manifest = tools.ManifestManager(str(folder), "shufflenet").load()
    assert {one.name for one in manifest.requirements} >= {"espressif/esp-tflite-micro"}


def test_zephyr_s_module_has_the_keys_of_its_schema(folder):
    text = (folder / "zephyr/module.yml").read_text()
    top = set(re.findall(r"^(\w+):", text, re.MULTILINE))
    inner = set(re.findall(r"^  (\w+):", text, re.MULTILINE))
    assert top <= ZEPHYR and inner <= ZEPHYR_BUILD
    place = re.search(r"^  cmake: (\S+)$", text, re.MULTILINE)[1]
    assert (folder / place / "CMakeLists.txt").is_file()
