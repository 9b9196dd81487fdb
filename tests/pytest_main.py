"""The program that a Bazel test target runs: pytest on the file in its arguments."""

import sys

import pytest

if __name__ == "__main__":
    sys.exit(pytest.main(sys.argv[1:]))
