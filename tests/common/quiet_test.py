import os

import pytest

from common.quiet import captured_stderr, quiet_stderr


def test_what_c_prints_is_turned_away_and_the_screen_comes_back(capfd):
    with quiet_stderr():
        os.write(2, b"chatter\n")
    os.write(2, b"news\n")
    assert capfd.readouterr().err == "news\n"


def test_what_c_prints_is_caught(capfd):
    with captured_stderr() as notes:
        os.write(2, b"one\n\xff\n")
    os.write(2, b"news\n")
    assert notes == ["one\n\N{REPLACEMENT CHARACTER}\n"]
    assert capfd.readouterr().err == "news\n"


def test_the_screen_comes_back_after_an_error(capfd):
    with pytest.raises(KeyError), captured_stderr() as notes:
        os.write(2, b"before it\n")
        raise KeyError
    os.write(2, b"news\n")
    assert notes == ["before it\n"]
    assert capfd.readouterr().err == "news\n"
