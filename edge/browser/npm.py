"""Fetches pinned packages from an npm registry, without npm."""

import base64
import hashlib
import os
import shutil
import subprocess
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from common.cli import UserError

_REGISTRY = "https://registry.npmjs.org"
_SECONDS = 60
_MAX_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Package:
    """A package of npm.

    Attributes:
      name: with its scope, such as "@litertjs/core".
      version: the exact one.
      integrity: the SHA-512 of its archive in base64, as npm's lock files write it.
    """

    name: str
    version: str
    integrity: str


def cache_folder() -> Path:
    """Returns where this project keeps what it fetched: in the user's folder for caches."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "keras_shufflenet"


def fetch(package: Package) -> bytes:
    """Returns a package's archive (.tgz), checked.

    Raises:
      UserError: the registry does not answer, or its package is not the pinned one.
    """
    file = f"{package.name.rpartition('/')[2]}-{package.version}.tgz"
    url = f"{_registry()}/{package.name}/-/{file}"
    try:
        with urllib.request.urlopen(url, timeout=_SECONDS) as reply:
            content = reply.read(_MAX_BYTES + 1)
    except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
        raise UserError(
            f"{url} cannot be fetched ({error}); check the network, or npm's setting `registry`"
        ) from error
    check_integrity(content, package.integrity, url)
    return content


def check_integrity(content: bytes, integrity: str, url: str) -> None:
    """Raises UserError unless the SHA-512 of `content` is `integrity`, in base64."""
    if base64.b64encode(hashlib.sha512(content).digest()).decode() != integrity:
        raise UserError(
            f"{url} is not the pinned package: its SHA-512 differs; use another registry"
        )


def _registry() -> str:
    """Returns the registry that npm is set up to use, or npm's own."""
    named = os.environ.get("NPM_CONFIG_REGISTRY")
    if not named and (npm := shutil.which("npm")):
        done = subprocess.run(
            [npm, "config", "get", "registry"], capture_output=True, text=True, check=False
        )
        named = done.stdout.strip()
    return (named if named and named.startswith("http") else _REGISTRY).rstrip("/")
