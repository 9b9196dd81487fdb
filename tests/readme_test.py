"""The README and the docs: their commands run as shown, their figures are those measured."""

import json
import math
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from common.commands import COMMANDS

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BENCHMARKS = (ROOT / "docs/benchmarks.md").read_text(encoding="utf-8")
TOOL = runpy.run_path(str(ROOT / "tools/update_readme.py"))
PAGES = {page: page.read_text(encoding="utf-8") for page in TOOL["pages"]()}
SHOWN = [command for text in PAGES.values() for command in TOOL["commands"](text)]
PYTHON_BLOCKS = [
    code
    for not_run, code in re.findall(
        r"(<!-- not run: .+? -->\n)?```python\n(.*?)```", README, re.DOTALL
    )
    if not not_run
]


def _run(command, demo):
    """Runs a command of a page with another folder in place of demo/."""
    words = [word.replace("demo/", f"{demo}/") for word in TOOL["words"](command)]
    if words[0] == "make":
        words.append(f"DEMO={demo}")
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def _column(table, row, column):
    """Returns the cell of an aligned table whose columns are two spaces apart."""
    lines = [re.split(r" {2,}", line.strip()) for line in table.splitlines()]
    header = next(line for line in lines if column in line)
    cells = next(line for line in lines if line[0].startswith(row[0]) and row[1] in line)
    return cells[header.index(column)]


def _percent(cell):
    """Returns the figure of a cell such as "99.3% of 300"."""
    return float(cell.partition("%")[0])


in_make_test = pytest.mark.skipif(
    Path(sys.prefix) != ROOT / ".venv" or not (ROOT / ".venv/.made-from").exists(),
    reason="runs `make demo` in the environment of `make test` only",
)


@in_make_test
@pytest.mark.medium
def test_the_demo(tmp_path):
    demo = tmp_path / "demo"
    assert SHOWN[0] == "make demo"
    table = _run(SHOWN[0], demo)
    for graph in ("deployment", "canonical"):
        accuracy = {
            name: _percent(_column(table, (f"{graph}_{name}.tflite", "host"), "accuracy"))
            for name in ("float32", "int8_ptq")
        }
        assert accuracy["float32"] >= 97.5
        assert accuracy["int8_ptq"] >= accuracy["float32"] - 1
        micro = (f"{graph}_int8_ptq.tflite", "micro-sim (simulated)")
        assert float(_column(table, micro, "arena KB")) > 0


@in_make_test
@pytest.mark.slow
def test_the_pages_commands(tmp_path):
    for command in SHOWN:
        assert _run(command, tmp_path / "demo").strip()


def test_the_readme_s_python(tmp_path):
    assert PYTHON_BLOCKS
    code = "import numpy as np\nimages = np.zeros((1, 224, 224, 3), np.uint8)\n"
    done = subprocess.run(
        [sys.executable, "-c", code + "\n".join(PYTHON_BLOCKS)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def _result(name):
    """Returns what a benchmark has written; docs/benchmarks.md shows its table."""
    return json.loads((ROOT / f"benchmarks/results/{name}.json").read_text(encoding="utf-8"))


def _says(sentence):
    return sentence in " ".join(README.split())


def _by_cpu(heading):
    """Returns the factors of a table of docs/benchmarks.md, a list for each CPU.

    The first CPU is that of benchmarks/results; the results of others are only in that table.
    """
    section = BENCHMARKS.split(f"\n{heading}\n", 1)[1].split("\n#", 1)[0]
    rows = [re.findall(r"(\d\.\d\d)x", line) for line in section.splitlines() if line[:1] == "|"]
    return [[float(factor) for factor in row] for row in rows if row]


def test_the_readme_s_latencies_are_those_of_the_tables():
    medians = {
        name: network["canonical_to_deployment"]["median"]
        for name, network in _result("latency")["networks"].items()
    }
    v1 = [median for name, median in medians.items() if name.startswith("v1")]
    v2 = [medians[f"v2-{scale}x"] for scale in ("0.5", "1", "1.5", "2")]
    assert min(v1) > 2
    cpus = _by_cpu("### Latency by CPU")
    assert len(cpus) == 3
    assert cpus[0] == [round(medians[name], 2) for name in ("v2-0.5x", "v2-1x", "v1-1x-g3")]
    v2 += [factor for small, large, _ in cpus for factor in (small, large)]
    v1 += [factor for _, _, factor in cpus]
    assert _says(
        f"V2 is {min(v2):.2f} to {max(v2):.2f} times and V1 {min(v1):.2f} to {max(v1):.2f} times "
        "as fast as the usual conversion of the same network"
    )


def test_the_readme_s_ratios_to_other_runtimes_are_those_of_the_table():
    best = {}
    for network, rows in _result("runtimes")["networks"].items():
        for row in rows:
            key = network, row["runtime"], row["graph"]
            best[key] = min(best.get(key, math.inf), row["to_ours"]["median"])
    others = [ratio for (_, runtime, _), ratio in best.items() if runtime != "litert"]
    assert _says(f"{min(others):.1f} to {max(others):.1f} times as fast as the best that ONNX")


def test_the_readme_s_training_speeds_are_those_of_the_tables():
    steps = [
        step["faster_than"]["PyTorch"]["median"] for step in _result("training_speed")["steps"]
    ]
    cpus = _by_cpu("### Training steps by CPU")
    assert len(cpus) == 2
    assert cpus[0] == [round(min(steps), 2), round(max(steps), 2)]
    slowest, fastest = min(map(min, cpus)), max(map(max, cpus))
    assert _says(f"a step of V2 is {slowest:.2f} to {fastest:.2f} times as fast as PyTorch's")


def test_the_readme_s_accuracies_are_those_of_the_table():
    found = _result("accuracy")["networks"]["v2-0.5x"]
    ptq, qat = (
        found["converted"][way]["accuracy"] for way in ("deployment PTQ, minmax", "deployment QAT")
    )
    assert _says(
        f"V2 0.5x of {found['float']:.1%} keeps {ptq:.1%} after quantization and {qat:.1%} after "
        "quantization-aware training"
    )


def test_the_readme_s_detector_is_that_of_the_tables():
    card = (ROOT / "docs" / "model_cards.md").read_text()
    (row,) = re.findall(r"^ *\| `test`, 72 \|(.*)$", card, re.M)
    _, exact, _, int8, *_ = (cell.strip() for cell in row.split("|"))
    section = (ROOT / "docs" / "detection.md").read_text().split("| usual / ours, 0.5x |")[1]
    cpus = [line.split("|")[2:4] for line in section.splitlines()[2:4]]
    factors = [float(cell.strip().partition("x")[0]) for row in cpus for cell in row]
    assert len(factors) == 4
    assert _says(
        f"V2 0.5x has an AP50 of {exact}, in int8 {int8}, {min(factors):.2f} to "
        f"{max(factors):.2f} times as fast as the usual conversion"
    )


def test_every_command_explains_its_flags(run_cli):
    modules = set(re.findall(r"python -m ([a-z_.]+)", README))
    modules |= {COMMANDS[name][0] for name in re.findall(r"^shufflenet ([a-z-]+)", README, re.M)}
    assert len(modules) >= 5
    for module in modules:
        done = run_cli(module, "--helpfull", check=False)
        assert "--" in done.stdout and not done.stderr.startswith("Traceback")


def test_the_readme_is_short():
    assert len(README.split()) <= 900


def test_a_training_s_progress_is_shortened_to_its_first_and_last_line():
    progress = [f"step {step}: top-1 {step}%" for step in range(5)]
    output = "\n".join(["train", progress[0], "training: 1/2", *progress[1:], "done", ""])
    assert TOOL["shortened"](output) == f"train\n{progress[0]}\n…\n{progress[-1]}\ndone\n"
    assert TOOL["shortened"]("training: 1/2\ndone\n") == "training: 1/2\ndone\n"
    # The output in the pages was pasted by the same command.
    assert all(text == TOOL["shortened"](text) for text in PAGES.values())
