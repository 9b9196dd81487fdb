from pathlib import Path

import pytest

from common.cli import UserError
from edge.devices.benchmark_model import delegated, failure, parse, parse_profile

# Real output of several versions, if it is next to this checkout.
REAL = Path(__file__).resolve().parents[4] / "shared/fixtures/benchmark_model"

# Written by hand in the program's formats; the numbers are invented.
NEW = """INFO: STARTING!
INFO: Created TensorFlow Lite XNNPACK delegate for CPU.
INFO: Explicitly applied XNNPACK delegate, and the model graph will be partially executed by \
the delegate w/ 3 delegate kernels.
INFO: count=9 first=3100 curr=1000 min=990 max=3100 avg=1300 std=600 p5=990 median=1010 p95=3100

INFO: count=60 first=1005 curr=1002 min=995 max=1400 avg=1.02e+03 std=50 p5=996 median=1001 p95=1200

INFO: Inference timings in us: Init: 2500, First inference: 3100, Warmup (avg): 1300, \
Inference (avg): 1.02e+03
INFO: Memory footprint delta from the start of the tool (MB): init=2.5 overall=4.5
"""
PROFILE = """count=50 first=900 curr=900 min=900 max=900 avg=900 std=0
Inference timings in us: Init: 2500, First inference: 3100, Warmup (avg): 1300, Inference (avg): 900
Peak memory footprint (MB): init=2 overall=3
Profiling Info for Benchmark Initialization:
============================== Run Order ==============================
\t [node type]\t [first]\t [avg ms]\t [%]\t [cdf%]\t [mem KB]\t[times called]\t[Name]
\t AllocateTensors\t 0.028\t 0.016\t100.000%\t100.000%\t 0.000\t 2\tAllocateTensors/0

============================== Summary by node type ==============================
\t [Node type]\t [count]\t [avg ms]\t [avg %]\t [cdf %]\t [mem KB]\t[times called]
\t AllocateTensors\t 1\t 0.032\t 100.000%\t 100.000%\t 0.000\t 2

Operator-wise Profiling Info for Regular Benchmark Runs:
============================== Run Order ==============================
\t [node type]\t [first]\t [avg ms]\t [%]\t [cdf%]\t [mem KB]\t[times called]\t[Name]
\t Convolution (NHWC, QC8)\t 0.028\t 0.200\t 66.667%\t 66.667%\t 0.000\t 3\tDelegate/a b:0
\t RESHAPE\t 0.028\t 0.300\t 33.333%\t100.000%\t 0.000\t 1\t[out]:1

============================== Summary by node type ==============================
\t [Node type]\t [count]\t [avg ms]\t [avg %]\t [cdf %]\t [mem KB]\t[times called]
\t Convolution (NHWC, QC8)\t 1\t 0.600\t 66.667%\t 66.667%\t 0.000\t 3
\t RESHAPE\t 1\t 0.300\t 33.333%\t 100.000%\t 0.000\t 1

Timings (microseconds): count=50 first=899 curr=899 min=899 max=899 avg=899 std=0
"""


def real(name):
    path = REAL / name
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    return path.read_text()


def test_a_new_version_gives_the_median():
    assert parse(NEW) == {
        "latency_ms": {
            **{"median": 1.001, "mean": 1.02, "min": 0.995, "max": 1.4, "std": 0.05},
            **{"p5": 0.996, "p95": 1.2, "p10": None, "p90": None, "runs": 60},
        },
        "warmup": 9,
        "initialization_ms": 2.5,
        "first_ms": 3.1,
        "peak_memory_bytes": None,
        "memory_delta_bytes": round(4.5 * 2**20),
    }


def test_the_profile_is_that_of_the_timed_runs():
    assert parse(PROFILE)["latency_ms"]["runs"] == 50
    assert parse(PROFILE)["peak_memory_bytes"] == 3 * 2**20
    assert parse_profile(PROFILE) == {
        "kinds": [
            {"operator": "Convolution (NHWC, QC8)", "count": 1, "ms": 0.6, "calls": 3},
            {"operator": "RESHAPE", "count": 1, "ms": 0.3, "calls": 1},
        ],
        "nodes": [
            {
                **{"operator": "Convolution (NHWC, QC8)", "name": "Delegate/a b:0"},
                **{"ms": 0.6, "calls": 3},
            },
            {"operator": "RESHAPE", "name": "[out]:1", "ms": 0.3, "calls": 1},
        ],
    }
    with pytest.raises(UserError, match="benchmark_model printed no profile"):
        parse_profile(NEW)


@pytest.mark.parametrize(
    ("name", "runs", "median", "mean", "least", "init", "first", "peak", "delta"),
    [
        ("android_mi11_cpu_int8", 50, None, 95.7883, 93.066, 1.779, 152.949, 36.9883, None),
        ("x86_xnnpack", 70, None, 14.2909, 13.728, 52.687, 19.105, None, 34.5234),
        ("x86_xnnpack_profile_cut", 64, None, 15.5176, 14.661, 32.163, 19.834, None, 34.8281),
        ("tf2.8_riscv_qemu_cut", 50, None, 2950.34, 2727.568, 17.187, 3512.391, None, 46.0859),
    ],
)
def test_real_output_of_several_versions(name, runs, median, mean, least, init, first, peak, delta):
    found = parse(real(f"{name}.txt"))
    latency = found["latency_ms"]
    assert (latency["runs"], latency["median"]) == (runs, median)
    assert latency["mean"] == pytest.approx(mean, rel=1e-12)
    assert latency["min"] == pytest.approx(least, rel=1e-12)
    assert found["initialization_ms"] == pytest.approx(init, rel=1e-12)
    assert found["first_ms"] == pytest.approx(first, rel=1e-12)
    for key, megabytes in {"peak_memory_bytes": peak, "memory_delta_bytes": delta}.items():
        expected = None if megabytes is None else round(megabytes * 2**20)
        assert found[key] == expected


@pytest.mark.parametrize(
    ("name", "kinds", "nodes", "total", "first_node"),
    [
        # The kinds add up to the average of the profiled runs, 15.3092 ms; some nodes were cut.
        ("x86_xnnpack_profile_cut", 11, 5, 15.238, 0.203),
        ("tf2.8_riscv_qemu_cut", 5, 3, 2949.889, 60.957),
    ],
)
def test_real_profiles(name, kinds, nodes, total, first_node):
    found = parse_profile(real(f"{name}.txt"))
    assert (len(found["kinds"]), len(found["nodes"])) == (kinds, nodes)
    assert sum(kind["ms"] for kind in found["kinds"]) == pytest.approx(total, abs=1e-9)
    assert found["nodes"][0]["ms"] == first_node
    assert sum(kind["count"] for kind in found["kinds"]) in (31, 171)


def test_a_real_delegate_that_failed_is_no_measurement():
    text = real("android_mi11_nnapi_failed.txt")
    with pytest.raises(UserError, match="measured nothing: NN API returned error ANEURALNETWORKS"):
        parse(text)
    with pytest.raises(UserError, match="does not say that the NNAPI delegate ran"):
        delegated(text, "NNAPI")


@pytest.mark.parametrize(
    ("line", "name", "expected"),
    [
        (
            "Explicitly applied GPU delegate, and the model graph will be completely executed by "
            "the delegate.",
            "GPU",
            ("completely", 1),
        ),
        (
            "INFO: Explicitly applied NNAPI delegate, and the model graph will be partially "
            "executed by the delegate w/ 5 delegate kernels.",
            "NNAPI",
            ("partially", 5),
        ),
        (
            "Explicitly applied GPU delegate, and the model graph will be completely executed by "
            "the delegate.\nThough XNNPACK delegate is explicitly applied, the model graph will "
            "not be executed by the delegate.",
            "GPU",
            ("completely", 1),
        ),
        # TensorFlow 2.3.
        (
            "Applied GPU delegate, and the model graph will be completely executed w/ the "
            "delegate.",
            "GPU",
            ("completely", 1),
        ),
        ("INFO: Created TensorFlow Lite XNNPACK delegate for CPU.", "XNNPACK", (None, None)),
    ],
)
def test_how_much_a_delegate_took(line, name, expected):
    found = delegated(f"STARTING!\n{line}\ncount=1 curr=5\n", name)
    assert (found["delegated"], found["delegate_kernels"]) == expected


@pytest.mark.parametrize(
    ("text", "name", "message"),
    [
        (
            "Though GPU delegate is explicitly applied, the model graph will not be executed by the"
            " delegate.",
            "GPU",
            "the GPU delegate runs no part of this graph",
        ),
        # The CPU's numbers are not the GPU's.
        (NEW, "GPU", "does not say that the GPU delegate ran"),
        ("INFO: Created TensorFlow Lite delegate for NNAPI.", "NNAPI", "does not say"),
    ],
)
def test_numbers_of_another_processor_are_refused(text, name, message):
    with pytest.raises(UserError, match=message):
        delegated(text, name)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "it printed nothing"),
        ("STARTING!\nERROR: Could not open 'x'.\nBenchmarking failed.\n", "Could not open 'x'."),
        ("Killed\n", "Killed"),
    ],
)
def test_failures_are_reported_by_their_cause(text, message):
    assert failure(text) == message
    with pytest.raises(UserError, match="benchmark_model measured nothing"):
        parse(text)


@pytest.mark.parametrize("time", ["-1000", "1.2.3", "1e999", "nan"])
def test_a_time_that_cannot_be_is_an_error(time):
    text = NEW.replace("median=", "ignored=", 1)
    assert "Init: " in text and parse(text)
    timings = "Inference timings in us: Init: "
    before, _, after = text.rpartition(timings)
    with pytest.raises(UserError, match=r"as a time in us|measured nothing"):
        parse(f"{before}{timings}{time},{after.partition(',')[2]}")
