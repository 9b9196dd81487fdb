import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest

from common.settings import Settings, setting

ROOT = Path(__file__).resolve().parents[2]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Camera(Settings):
    name: str = setting(dataclasses.MISSING, "What it is called.")
    width: int | None = setting(None, "Pixels of a row.", minimum=1)
    share: float = setting(0.5, "Of the light.", interval="(0, 1]")
    mode: str = setting("day", "When.", choices=("day", "night"))
    flash: bool = setting(False, "Whether there is one.")


def test_the_ends_of_bounds_are_in_or_out():
    assert Camera(name="a", width=1, share=1.0, mode="night").flash is False
    assert Camera(name="a").width is None


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"width": 0}, "width must be a number of at least 1, got 0"),
        ({"width": float("inf")}, "width must be a number of at least 1, got inf"),
        ({"share": 0.0}, r"share must be in \(0, 1\], got 0.0"),
        ({"share": float("nan")}, r"share must be in \(0, 1\], got nan"),
        ({"width": 10**10}, "width must be at most 1000000000, got 10000000000"),
        ({"width": 5.5}, "width must be an integer, got 5.5"),
        ({"width": True}, "width must be an integer, got True"),
        ({"share": "all"}, "share must be a number, got 'all'"),
        ({"flash": 1}, "flash must be true or false, got 1"),
        ({"mode": "dusk"}, "mode must be one of day, night, got 'dusk'"),
    ],
)
def test_a_wrong_value_is_refused_by_name(values, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        Camera(name="a", **values)


def test_text_of_another_type_is_refused():
    with pytest.raises(ValueError, match="name must be text, got 5"):
        Camera(name=5)


COMMAND = """
import sys
sys.path.insert(0, {folder!r})
from settings_test import Camera
from absl import app
from common.settings import define_flags, given_flags
define_flags(Camera, {{"name": None, "width": "In pixels.", "share": None, "flash": None}})
app.run(lambda argv: print(given_flags(["name", "width", "share", "flash"])))
"""


def test_flags_have_the_fields_types_and_are_the_commands_own(tmp_path):
    script = tmp_path / "command.py"
    script.write_text(COMMAND.format(folder=str(Path(__file__).parent)))

    def run(*arguments):
        command = [sys.executable, str(script), *arguments]
        env = {"PYTHONPATH": str(ROOT)}
        return subprocess.run(command, env=env, capture_output=True, text=True, check=False).stdout

    assert run("--width=3", "--noflash") == "{'width': 3, 'flash': False}\n"
    helped = run("--help")
    assert "--name: What it is called." in helped and "--width: In pixels." in helped
    assert "--[no]flash" in helped and "--mode" not in helped
