"""The page and all that it needs, by its path on the server or in an exported folder."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from common.artifact import Artifact
from common.cli import UserError
from common.detection.nms import CANDIDATES
from common.manifest import DETECTION
from common.storage.temporary import temporary_folder
from common.tflite.operators import damage_reported, ends_with_softmax
from edge.browser import runtime
from edge.browser.float_edges import input_levels, with_float_edges
from edge.browser.plan import Plan

_TEMPLATES = Path(__file__).with_name("templates")
CONFIG = "config.json"
_KINDS = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".txt": "text/plain; charset=utf-8",
    ".wasm": "application/wasm",
}


@dataclass(frozen=True)
class Page:
    """A file of the site: its content, or the path of it, and its media type."""

    content: bytes | Path
    kind: str

    def read(self) -> bytes:
        """Returns the content."""
        return self.content if isinstance(self.content, bytes) else self.content.read_bytes()


def make_site(plan: Plan, has_server: bool) -> dict[str, Page]:
    """Returns the site's files by path; no others can be asked for.

    Args:
      plan: what the page measures.
      has_server: whether there is a server that takes results.

    Raises:
      UserError: LiteRT.js was not fetched, or the artifact is not one of square images.
    """
    site = {path.name: _page(path.name, path) for path in sorted(_TEMPLATES.iterdir())}
    for name, path in runtime.find_runtime().items():
        site[f"litert/{name}"] = _page(name, path)
    models, entries = _models(plan.artifact)
    site.update(models)
    site["samples.bin"] = _page("samples.bin", plan.images.tobytes())
    config = json.dumps(_config(plan, entries, has_server)).encode()
    return {**site, CONFIG: _page(CONFIG, config)}


def export(site: dict[str, Page], target: Path) -> None:
    """Writes the site into a new folder, for any web server.

    Raises:
      UserError: the folder exists and is not empty.
    """
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise UserError(f"{target} exists and is not an empty folder; name a new one")
    target.parent.mkdir(parents=True, exist_ok=True)
    with temporary_folder(target) as staged:
        for name, page in site.items():
            path = staged / name
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(page.read())
        # The system refuses it if the folder has been filled since.
        staged.rename(target)


def _page(name: str, content: bytes | Path) -> Page:
    return Page(content, _KINDS.get(Path(name).suffix, "application/octet-stream"))


def _models(artifact: Artifact) -> tuple[dict[str, Page], list[dict]]:
    """Returns the models by path, and what the page needs to know about each."""
    pages, entries = {}, []
    for index, (name, entry) in enumerate(sorted(artifact.files.items())):
        path = artifact.path(name)
        with damage_reported(path):
            converted = with_float_edges(path.read_bytes())
        url = f"models/{index}.tflite"
        pages[url] = _page(url, path if converted is None else converted)
        entries.append(
            {
                "name": name,
                "url": url,
                "sha256": entry["sha256"],
                "served_sha256": hashlib.sha256(pages[url].read()).hexdigest(),
                "bytes": entry["bytes"],
                "graph": entry["graph"],
                "quantization": entry["quantization"],
                "levels": input_levels(artifact, name).ravel().tolist(),
                "added": [] if converted is None else ["QUANTIZE", "DEQUANTIZE"],
                "softmax": ends_with_softmax(path),
            }
        )
    return pages, entries


def _config(plan: Plan, entries: list[dict], has_server: bool) -> dict:
    artifact = plan.artifact
    batch, height, width, channels = artifact.input_shape
    if height != width:
        raise UserError(f"{artifact.folder} is for images of {width}x{height} pixels, not squares")
    return {
        "name": artifact.name,
        "runtime": runtime.NAME,
        "labels": artifact.labels,
        "input": {
            "batch": batch,
            "size": height,
            "channels": channels,
            # Null: the whole image is scaled, whatever its shape.
            "resize": None if artifact.task == DETECTION else artifact.resize_size,
            "orientation": artifact.image_input.get("orientation", "exif"),
        },
        "decode": _decode(artifact),
        "files": entries,
        "shown": _shown(artifact),
        "samples": {
            "images": len(plan.images),
            "real": artifact.manifest["samples"] is not None,
            "labels": None if plan.labels is None else [int(label) for label in plan.labels],
        },
        "measure": {
            "files": list(plan.files),
            "accelerators": list(plan.accelerators),
            "threads": plan.threads,
            "warmup": plan.warmup,
            "runs": plan.runs,
            "cooldown": plan.cooldown,
            "sends": plan.sends,
            "starts": plan.starts,
        },
        "has_server": has_server,
    }


def _decode(artifact: Artifact) -> dict | None:
    """Returns how a detector's output becomes boxes; None for a classifier."""
    if artifact.task != DETECTION:
        return None
    return {**artifact.decoding.describe(), "candidates": CANDIDATES}


def _shown(artifact: Artifact) -> list[str]:
    """Returns the files to try side by side: the one for devices, and the usual conversion's."""
    best = artifact.default_file()
    kind = artifact.files[best]["quantization"]
    usual = [
        name
        for name, entry in sorted(artifact.files.items())
        if entry["graph"] == "canonical" and entry["quantization"] == kind and name != best
    ]
    return [best, *usual[:1]]
