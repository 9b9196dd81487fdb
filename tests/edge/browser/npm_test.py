import base64
import hashlib

import pytest

from common.cli import UserError
from edge.browser import npm


def test_another_package_is_refused():
    content = b"a package"
    integrity = base64.b64encode(hashlib.sha512(content).digest()).decode()
    npm.check_integrity(content, integrity, "core.tgz")
    with pytest.raises(UserError, match=r"core\.tgz is not the pinned package"):
        npm.check_integrity(content + b".", integrity, "core.tgz")
