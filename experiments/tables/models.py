"""ShuffleNets and other networks: multiply-adds, parameters and time (V1 Tables 5, 6 and 8)."""

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from common.choices import choose
from edge.running.measurement import interval, spread
from experiments.harness.experiment import Picture, Result, Settings, Table
from experiments.measuring.latencies import SHOWN, Latencies, measure_networks
from experiments.networks.models import MODELS, SIZES, network
from experiments.tables.latency_plots import Point, times_against_macs

Size = tuple[int, int]
# By the start of a network's name: its family.
_FAMILIES = {
    "v1-": "ShuffleNet V1",
    "v2-": "ShuffleNet V2",
    "mobilenet-v2": "MobileNet V2",
    "mobilenet-v3": "MobileNet V3",
    "mobilenet-": "MobileNet V1",
}
_SMALLEST, _LARGEST = "v1-0.5x-g3", "v1-2x-g3"
# V1, section 4.5: what it says about its Table 8.
_CLAIMS = {
    ("alexnet", _SMALLEST): "AlexNet takes about 13 times as long as V1 0.5x with 3 groups",
    ("mobilenet-1.0", _LARGEST): "MobileNet 1.0 takes as long as V1 2x with 3 groups",
}
_QUARTER = "a quarter of the multiply-adds is about 2.6 times as fast"
# A ratio this close to the paper's counts as the same.
_SAME = 0.1


def run(
    settings: Settings,
    networks: Sequence[str] | None = None,
    sizes: Sequence[str] | None = None,
) -> Result:
    """Measures the networks at their sizes.

    Args:
      settings: the device, and how often.
      networks: keys of `MODELS`; None: all.
      sizes: such as "480x640"; None: all of `SIZES`.

    Raises:
      UserError: an unknown network or size, or as measuring.
    """
    names = choose("network", networks, MODELS)
    known = {_text(size): size for size in SIZES}
    chosen = [known[text] for text in choose("size", sizes, known)]
    at = {size: [name for name in names if size in MODELS[name].sizes] for size in chosen}
    pairs = [(name, size) for name in names for size in chosen if name in at[size]]
    # A group for each network and size: in a common group a large network would delay the others.
    measured = {(_group(*pair), pair[0]): network(*pair) for pair in pairs}
    found = measure_networks("models", measured, settings)
    tables = [_table(size, members, found) for size, members in at.items() if members]
    verdicts = list(_verdicts(at, found))
    data = {"networks": [found.as_json(_group(*pair), pair[0]) for pair in pairs]}
    return Result(tables, verdicts, [_picture(at, found)], data)


def _text(size: Size) -> str:
    return f"{size[0]}x{size[1]}"


def _group(name: str, size: Size) -> str:
    return f"{name} at {_text(size)}"


def _table(size: Size, names: Sequence[str], found: Latencies) -> Table:
    headers = [
        "network", "multiply-adds, M", "published at 224", "parameters", "published error, %",
        "paper, ms", "float32, ms", "int8, ms", "int8 usually converted, ms",
    ]  # fmt: skip
    return Table(
        f"V1 Tables 5, 6 and 8 at {_text(size)}",
        headers,
        [_row(name, size, found) for name in names],
        "ShuffleNets are deployment graphs but in the last column; the others are usually "
        "converted. One image, one thread. The paper's times are of one core of a Snapdragon 820.",
    )


def _row(name: str, size: Size, found: Latencies) -> list[str]:
    model, group = MODELS[name], _group(name, size)
    deployed = len(model.graphs) > 1
    times = dict(zip(SIZES, model.milliseconds, strict=False))
    macs, parameters = found.size(group, name, digits=1)
    return [
        name,
        macs,
        f"{model.millions:g}",
        parameters,
        f"{model.error}",
        f"{times[size]}" if size in times else "-",
        *found.texts(group, name),
        found.text(group, name, "int8-ptq", "canonical") if deployed else "-",
    ]


def _picture(at: Mapping[Size, Sequence[str]], found: Latencies) -> Picture:
    panels = {
        _text(size): [_point(name, _group(name, size), found) for name in names]
        for size, names in at.items()
    }
    title = "Times against multiply-adds"
    return Picture("times", title, times_against_macs(panels, "int8, ms"))


def _point(name: str, group: str, found: Latencies) -> Point:
    family = next((text for start, text in _FAMILIES.items() if name.startswith(start)), name)
    macs = found.models[group, name]["macs"]
    return Point(name, family, macs, found.spread(group, name)["median"])


def _verdicts(at: Mapping[Size, Sequence[str]], found: Latencies) -> Iterator[str]:
    """Yields whether the paper's sentences about its Table 8 hold here."""
    if all({_LARGEST, _SMALLEST} <= set(names) for names in at.values()):
        size = min(at)
        large, small = (
            found.models[_group(name, size), name]["macs"] for name in (_LARGEST, _SMALLEST)
        )
        yield from _compared(_QUARTER, _LARGEST, _SMALLEST, at, found, large / small)
    for (slow, fast), claim in _CLAIMS.items():
        yield from _compared(claim, slow, fast, at, found)


def _compared(
    claim: str,
    slow: str,
    fast: str,
    at: Mapping[Size, Sequence[str]],
    found: Latencies,
    complexity: float = 4.0,
) -> Iterator[str]:
    """Yields the ratio of two networks' times here and in the paper, if both were measured.

    Args:
      claim: the paper's.
      slow, fast: the networks.
      at: by size, the networks that were measured.
      found: the times.
      complexity: ratio of their multiply-adds, for a claim about 4 times as many.
    """
    parts = []
    for size, names in at.items():
        if not {slow, fast} <= set(names):
            continue
        index = SIZES.index(size)
        paper = MODELS[slow].milliseconds[index] / MODELS[fast].milliseconds[index]
        paper = float(per_four(paper, complexity))
        here = []
        for quantization, shown in SHOWN.items():
            times = [found.ms(_group(name, size), name, quantization) for name in (slow, fast)]
            ratio = spread(per_four(np.divide(*times), complexity))
            measured = interval(ratio, 2, unit="x")
            here.append(f"{shown} {measured}, {_against(ratio['median'], paper)}")
        parts.append(f"At {_text(size)} its table gives {paper:.2f}x, here {' and '.join(here)}")
    if parts:
        yield f"V1: {claim}. {'. '.join(parts)}."


def _against(found: float, paper: float) -> str:
    if math.isnan(found):
        return "not measured"
    if abs(found / paper - 1) <= _SAME:
        return "as there"
    return "more" if found > paper else "less"


def per_four(gain: np.ndarray | float, complexity: float) -> np.ndarray:
    """Converts a gain in speed to the gain for 4 times fewer multiply-adds.

    Args:
      gain: in speed, as measured.
      complexity: the ratio of multiply-adds that gave this gain.

    Examples:
      >>> round(float(per_four(6.76, 16)), 2)
      2.6
    """
    return np.asarray(gain) ** (math.log(4) / math.log(complexity))
