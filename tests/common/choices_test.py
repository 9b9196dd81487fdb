import pytest

from common.choices import choose, whole_numbers
from common.cli import UserError


def test_names_are_chosen_from_the_known_ones():
    assert choose("fruit", None, ["apple", "pear"]) == ("apple", "pear")
    assert choose("fruit", ["pear"], ["apple", "pear"]) == ("pear",)
    with pytest.raises(UserError, match="there is no fruit 'plum'; there are apple, pear"):
        choose("fruit", ["apple", "plum"], ["apple", "pear"])


def test_whole_numbers():
    assert whole_numbers("cores", ["0", "12"], 0, 12) == (0, 12)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ([], "--cores must be whole numbers separated by commas; received ''"),
        (["1", "a"], "--cores must be whole numbers separated by commas; received '1,a'"),
        # Digits for Python's isdigit, but not for int.
        (["²"], "--cores must be whole numbers"),
        (["9" * 5000], "--cores must be whole numbers"),
        (["1.5"], "--cores must be whole numbers"),
        (["-1"], "--cores must be at least 0; received -1"),
        (["13"], "--cores must be at most 12; received 13"),
    ],
)
def test_other_words_are_named(texts, message):
    with pytest.raises(UserError) as error:
        whole_numbers("cores", texts, 0, 12)
    assert message in str(error.value)
