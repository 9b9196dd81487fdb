"""Mistakes in the flags of the commands, as a user types them."""

import pytest


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["guidelines", "--device=phone"], "--device must be one of host, "),
        (["guidelines", "--multiples=²"], "--multiples must be whole numbers separated"),
        (["structures", "--complexities=38,x"], "--complexities must be different numbers above 0"),
        (["ablations", "--train", "--seeds=0,zero"], "--seeds must be whole numbers separated"),
        (["structures", "--train", "--recipe=detection"], "--recipe=detection does not train thi"),
        (["detection", "--train"], "--data_dir is missing; name the folder of your"),
        (["detection", "--train", "--data_dir=.", "--input_size=100"], "be a multiple of 32"),
    ],
)
def test_a_mistake_is_one_line(run_cli, arguments, message):
    name, *flags = arguments
    done = run_cli(f"experiments.{name}", *flags, check=False)
    assert (done.returncode, done.stdout) == (1, "") and done.stderr.startswith("error: ")
    assert message in done.stderr and len(done.stderr.splitlines()) == 1
