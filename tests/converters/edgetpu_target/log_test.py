import time
from pathlib import Path

import pytest

from common.cli import UserError
from converters.edgetpu_target.log import parse_operation_log, parse_output

# Real transcripts from public issues; a checkout without them skips the tests that read them.
TRANSCRIPTS = Path(__file__).resolve().parents[4] / "shared/fixtures/edgetpu_compiler"
# In the compiler's words, including the spaces.
STRANDED = """\
Edge TPU Compiler version 16.0.384591198
Started a compilation timeout timer of 180 seconds.

Model compiled successfully in 577 ms.

Input model: folder/net.tflite
Input size: 8.58MiB
Output model: folder/net_edgetpu.tflite
Output size: 8.70MiB
On-chip memory used for caching model parameters: 3.00KiB
On-chip memory remaining for caching model parameters: 7.67MiB
Off-chip memory used for streaming uncached model parameters: 0.00B
Number of Edge TPU subgraphs: 1
Total number of operations: 5
Operation log: folder/net_edgetpu.log

Model successfully compiled but not all operations are supported by the Edge TPU. A percentage \
of the model will instead run on the CPU, which is slower. If possible, consider updating your \
model to use only operations supported by the Edge TPU. For details, visit g.co/coral/model-reqs.
Number of operations that will run on Edge TPU: 2
Number of operations that will run on CPU: 3

Operator                       Count      Status

QUANTIZE                       1          Mapped to Edge TPU
CONV_2D                        1          Mapped to Edge TPU
CONV_2D                        2          More than one subgraph is not supported
LEAKY_RELU                     1          Operation not supported
Compilation child process completed within timeout period.
Compilation succeeded!
"""


def transcript(name):
    path = TRANSCRIPTS / name
    if not path.is_file():
        pytest.skip(f"no real transcript {name} next to this checkout")
    return path.read_text()


def test_numbers_and_rows_of_a_stranded_model():
    output = parse_output(STRANDED)
    assert (output.version, output.failure) == ("16.0.384591198", None)
    (model,) = output.models
    assert (model.total, model.mapped, model.on_cpu, model.subgraphs) == (5, 2, 3, 1)
    assert (model.cached_bytes, model.remaining_bytes, model.streamed_bytes) == (3072, 8042578, 0)
    assert [(row.name, row.count, row.mapped) for row in model.operators] == [
        ("QUANTIZE", 1, True),
        ("CONV_2D", 1, True),
        ("CONV_2D", 2, False),
        ("LEAKY_RELU", 1, False),
    ]
    assert model.operators[2].status == "More than one subgraph is not supported"


def test_windows_line_ends_and_trailing_spaces_change_nothing():
    wrapped = "".join(f"{line}   \r\n" for line in STRANDED.splitlines())
    assert parse_output(wrapped) == parse_output(STRANDED)


def test_a_fully_mapped_model_has_no_lines_about_the_cpu():
    start, end = STRANDED.index("Model successfully"), STRANDED.index("Operator   ")
    (model,) = parse_output(STRANDED[:start] + STRANDED[end:].partition("\nQUANTIZE")[0]).models
    assert (model.total, model.mapped, model.on_cpu, model.operators) == (5, 5, 0, ())


def test_models_compiled_together_are_distinguished():
    first, second = (STRANDED[STRANDED.index("Input model") :] for _ in range(2))
    text = "Models compiled successfully in 9 ms.\n\n" + first + "\n"
    text += (
        second.replace("operations: 5", "operations: 4")
        .replace("CPU: 3", "CPU: 2")
        .replace("CONV_2D                        2", "CONV_2D                        1")
    )
    assert [(model.total, model.on_cpu) for model in parse_output(text).models] == [(5, 3), (4, 2)]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("operations: 5", "operations: 6", "total number of operations is 6, but its table has 5"),
        ("Edge TPU: 2", "Edge TPU: 3", "mapped number of operations is 3, but its table has 2"),
    ],
)
def test_numbers_that_contradict_the_table_are_rejected(old, new, message):
    with pytest.raises(UserError, match=message):
        parse_output(STRANDED.replace(old, new))


@pytest.mark.parametrize(
    ("text", "failure"),
    [
        ("", "it printed no reason"),
        (
            "Edge TPU Compiler version 16.0.384591198\n"
            "ERROR: Didn't find op for builtin opcode 'CONV_2D' version '6'. An older version\n\n"
            "ERROR: Registration failed.\n\nInvalid model: m.tflite\nModel could not be parsed\n",
            "Didn't find op for builtin opcode 'CONV_2D' version '6'. An older version; "
            "Registration failed.; Invalid model: m.tflite; Model could not be parsed",
        ),
    ],
)
def test_failures_are_reported_in_the_compilers_words(text, failure):
    output = parse_output(text)
    assert (output.models, output.failure) == ((), failure)


@pytest.mark.parametrize(
    ("name", "numbers", "rows"),
    [
        ("v15_yolov3_tiny_stranded.txt", (36, 2, 34, 1, 3072, 8042578, 0), 9),
        ("v15_yolov5s_one_op_mapped.txt", (294, 1, 293, 1, 0, 8441037, 0), 18),
        ("v16_two_subgraphs.txt", (294, 289, 5, 2, 6375342, 0, 1782579), 17),
    ],
)
def test_real_transcripts(name, numbers, rows):
    (model,) = parse_output(transcript(name)).models
    found = (model.total, model.mapped, model.on_cpu, model.subgraphs)
    assert (*found, model.cached_bytes, model.remaining_bytes, model.streamed_bytes) == numbers
    assert len(model.operators) == rows


@pytest.mark.parametrize(
    ("name", "version", "failure"),
    [
        ("v16_failed.txt", "16.0.384591198", "Compilation failed!"),
        (
            "v2_internal_error.txt",
            "2.0.267685300",
            "terminating with uncaught exception of type std::out_of_range: vector; "
            "Internal compiler error. Aborting!",
        ),
    ],
)
def test_real_failures(name, version, failure):
    output = parse_output(transcript(name))
    assert (output.version, output.models, output.failure) == (version, (), failure)


def test_real_operation_log():
    rows = parse_operation_log(transcript("v15_operation_log_full.txt"))
    assert {row.name: row.count for row in rows} == {
        **{"SOFTMAX": 1, "FULLY_CONNECTED": 2, "RESHAPE": 1, "CONV_2D": 2, "MAX_POOL_2D": 2}
    }
    assert all(row.mapped for row in rows)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("filling", [" ", "\n", " \n", "\t", "1", "a "])
def test_a_log_of_a_million_blanks_is_read_at_once(filling):
    many = filling * (1_000_000 // len(filling))
    head = "Model compiled successfully\nInput model: a.tflite\nTotal number of operations:"
    table = f"\nOperator Count Status\n\nCONV_2D 1 {many} x\n{many}\n"
    start = time.monotonic()
    parse_output(f"{head}{many}\n{table}{many}")
    parse_operation_log(table)
    assert time.monotonic() - start < 5


def test_numbers_of_a_thousand_digits_are_no_numbers():
    digits = "9" * 5000
    text = (
        f"Model compiled successfully\nInput model: a\nTotal number of operations: {digits}\n"
        f"On-chip memory used for caching model parameters: {digits}MiB\n"
    )
    (model,) = parse_output(text).models
    assert (model.total, model.cached_bytes) == (None, None)
