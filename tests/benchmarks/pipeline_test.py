"""A mistake in the flags, as a user types it."""


def test_a_core_that_is_no_number_is_one_line(run_cli, tmp_path):
    document = tmp_path / "page.md"
    document.write_text("<!-- pipeline: begin -->\n<!-- pipeline: end -->\n")
    flags = (f"--document={document}", "--cores=a")
    done = run_cli("benchmarks.pipeline", *flags, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    message = "error: --cores must be whole numbers separated by commas; received 'a'"
    assert done.stderr.splitlines() == [message]
