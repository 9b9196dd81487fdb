"""LiteRT.js, the runtime that the page uses: fetched once from the npm registry, and checked.

Nothing is fetched from a content delivery network while a page runs. `make browser` calls this
module; without make: `python -m edge.browser.runtime`.
"""

import io
import shutil
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from common import cli
from common.cli import UserError
from common.storage.temporary import temporary_folder
from edge.browser import npm

VERSION = "2.5.3"
NAME = f"@litertjs/core {VERSION}"
# For browsers without relaxed SIMD, without threads, with threads, and with WebGPU or WebNN.
_BUILDS = ("compat_", "", "threaded_", "jspi_")
_WASM = [f"litert_wasm_{build}internal.{end}" for build in _BUILDS for end in ("js", "wasm")]
# The only change to the packages: browsers do not find a module by its package's name.
_IMPORT = ('from "@litertjs/wasm-utils"', 'from "./wasm_utils.js"')
_NOTICE = f"""LiteRT.js: {NAME} and @litertjs/wasm-utils {VERSION}, from npm.
Copyright Google LLC. Licensed under the Apache License, Version 2.0:
https://www.apache.org/licenses/LICENSE-2.0
Changed: index.js imports ./wasm_utils.js instead of @litertjs/wasm-utils.
"""


@dataclass(frozen=True)
class _Part:
    """A package of npm, and our name of each file that is used."""

    package: npm.Package
    files: Mapping[str, str]


_PARTS = (
    _Part(
        npm.Package(
            "@litertjs/core",
            VERSION,
            "PlGmbMOq9WitX7FO0jhbdJw9GthatsyuCQXjTt/wJZo0FLaw48q4tz8IwqgqCIkviYGr9OFDL1kCnN4nzWoyJQ==",
        ),
        {
            "package/dist/index.js": "index.js",
            **{f"package/wasm/{name}": name for name in _WASM},
        },
    ),
    _Part(
        npm.Package(
            "@litertjs/wasm-utils",
            VERSION,
            "4fJiw6tBQnIs+0jH/OQ16nYOiSl8/+zZnn5h2ul8aTKHi05sVqZW580Tmk78pC2kT39A9OYBVdFawteZ/sI1kQ==",
        ),
        {"package/dist/index.js": "wasm_utils.js"},
    ),
)


def folder() -> Path:
    """Returns where the runtime is or will be: in the user's folder for caches."""
    return npm.cache_folder() / f"litertjs-{VERSION}"


def find_runtime() -> dict[str, Path]:
    """Returns the runtime's files by name.

    Raises:
      UserError: it was not fetched, or a file is missing.
    """
    names = [name for part in _PARTS for name in part.files.values()]
    found = {name: folder() / name for name in [*names, "NOTICE.txt"]}
    missing = [path for path in found.values() if not path.is_file()]
    if missing:
        raise UserError(
            f"LiteRT.js {VERSION} is not in {folder()}; fetch it once with make browser, or "
            "python -m edge.browser.runtime"
        )
    return found


def install() -> None:
    """Fetches the runtime, in place of what is there.

    Raises:
      UserError: the registry does not answer, or its package is not the pinned one.
    """
    target = folder()
    target.parent.mkdir(parents=True, exist_ok=True)
    with temporary_folder(target) as staged:
        for part in _PARTS:
            _unpack(part, npm.fetch(part.package), staged)
        (staged / "NOTICE.txt").write_text(_NOTICE, encoding="utf-8")
        shutil.rmtree(target, ignore_errors=True)
        staged.replace(target)


def main() -> None:
    """Fetches the runtime unless it is there, and says where it is."""
    try:
        find_runtime()
    except UserError:
        install()
    print(folder())


def _unpack(part: _Part, content: bytes, target: Path) -> None:
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as archive:
        for member, name in part.files.items():
            data = archive.extractfile(member).read()
            if name == "index.js":
                data = data.replace(*(text.encode() for text in _IMPORT))
            (target / name).write_bytes(data)


if __name__ == "__main__":
    cli.run(main)
