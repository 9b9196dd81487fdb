import pytest


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--sram=320bananas"], "--sram must be a size above 0, such as 320KB"),
        (
            ["--sram=1MB", "--sizes=96,big"],
            "--sizes must be whole numbers separated by commas; received '96,big'",
        ),
        (["--sram=1MB", "--cache=/dev/null"], "File exists '/dev/null'; check the path"),
    ],
)
def test_wrong_flags_are_reported_in_one_line(run_cli, flags, message):
    done = run_cli("converters.plan", *flags, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {message}") and done.stderr.count("\n") == 1
