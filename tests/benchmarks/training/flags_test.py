"""The flags of the benchmarks that train, as a user types them."""

import pytest


@pytest.mark.parametrize(
    ("command", "arguments", "message"),
    [
        ("accuracy", ["--networks=mobilenet-v2"], "there are v2-0.5x, v1-0.5x-g3\n"),
        ("accuracy_tradeoff", ["--networks=v3"], "there are v2-0.5x, v1-0.5x-g3, mobilenet-v2\n"),
    ],
)
def test_an_unknown_network_is_one_line(run_cli, tmp_path, command, arguments, message):
    (tmp_path / "b.md").write_text("")
    done = run_cli(f"benchmarks.{command}", *arguments, "--document=b.md", check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: there is no network")
    assert done.stderr.endswith(message) and len(done.stderr.splitlines()) == 1
