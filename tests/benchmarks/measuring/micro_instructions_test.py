"""What is recorded beside counted instructions."""

import pytest

from benchmarks.measuring.micro_instructions import version_in


@pytest.mark.parametrize(
    "text,version",
    [
        (
            "QEMU emulator version 7.2.17 (Debian 1:7.2+dfsg-7+deb12u13)\n"
            "Copyright (c) 2003-2022 Fabrice Bellard and the QEMU Project developers\n",
            "7.2.17",
        ),
        (
            "arm-none-eabi-gcc (15:12.2.rel1-1) 12.2.1 20221205\nCopyright (C) 2022 Free Software "
            "Foundation, Inc.\n",
            "12.2.1",
        ),
        ("QEMU emulator version 10.0.2\n", "10.0.2"),
        ("a build of today\n", "a build of today"),
    ],
)
def test_versions_without_those_of_the_package(text, version):
    assert version_in(text) == version
