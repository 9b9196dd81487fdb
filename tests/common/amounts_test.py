import pytest

from common.amounts import parse_amount
from common.cli import UserError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("320KB", 327_680),
        ("320 kib", 327_680),
        ("1MB", 1_048_576),
        ("1.5MiB", 1_572_864),
        ("327680", 327_680),
        ("2GB", 2 * 1024**3),
        ("512B", 512),
        (None, None),
    ],
)
def test_sizes_are_parsed(text, expected):
    assert parse_amount("sram", text) == expected


@pytest.mark.parametrize(
    "text", ["320 bananas", "-1KB", "0", "KB", "", "1,5MB", "1e3", "nan", "1TB", "128K", "9" * 400]
)
def test_what_is_not_a_size_is_rejected(text):
    with pytest.raises(
        UserError, match=r"--sram must be a size above 0, such as 320KB, .*; received '"
    ):
        parse_amount("sram", text)


def test_times_are_parsed():
    assert parse_amount("latency", "50ms") == 50
    assert parse_amount("latency", "0.2 s") == 200
    assert parse_amount("latency", "800us") == pytest.approx(0.8)
    with pytest.raises(
        UserError, match=r"--latency must be a time above 0, such as 50ms, .* received '50'"
    ):
        parse_amount("latency", "50")
