import pytest


@pytest.mark.parametrize(
    ("module", "flag", "message"),
    [
        ("guidelines", "--device=phone", "--device must be one of host, "),
        ("all", "--experiments=nothing", "there is no experiment 'nothing'; there are complexity,"),
    ],
)
def test_a_mistake_is_one_line(run_cli, module, flag, message):
    done = run_cli(f"experiments.{module}", flag, check=False)
    assert done.returncode == 1 and done.stderr.startswith("error: ")
    assert message in done.stderr and len(done.stderr.splitlines()) == 1
