import pytest

from common.cli import UserError
from converters.source.classes import checked_names


def test_names_of_classes():
    assert checked_names(None, 2, "top") == ["0", "1"]
    names = ['"quoted" \\', "*/ ü 日本"]
    assert checked_names(names, 2, "top") == names


@pytest.mark.parametrize("name", ["a\nb", "a\x85b", "a\u2028b", "\x00", "\udcff"])
def test_a_name_that_is_no_line_is_refused_before_anything_is_converted(name):
    with pytest.raises(
        UserError, match=r"class '.*' of output 'top' has a line end, a control character"
    ):
        checked_names([name, "cat"], 2, "top")
