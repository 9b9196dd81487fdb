"""Reads boxes from Pascal VOC's XML (http://host.robots.ox.ac.uk/pascal/VOC)."""

from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

from common.storage.readers import DamagedError, read_bytes, read_lines
from trainers.detection.data.annotations import Annotated, Annotations, Box

_REMEDY = "export it again"
_MAX_BYTES = 2**22
_SIZES = ("width", "height")
_CORNERS = ("xmin", "ymin", "xmax", "ymax")


def find(root: Path, split: str) -> Path | None:
    """Returns the list of a split's images, or its folder of XML files, or None."""
    listed = root / "ImageSets" / "Main" / f"{split}.txt"
    if listed.is_file():
        return listed
    folder = root / split
    return folder if folder.is_dir() and any(folder.glob("*.xml")) else None


def read(root: Path, split: str) -> Annotations:
    """Reads a split: ROOT/ImageSets/Main/SPLIT.txt with Annotations/*.xml, or ROOT/SPLIT/*.xml.

    Images are in ROOT/JPEGImages, or beside the XML. A damaged XML file is counted and left out.
    """
    found = find(root, split)
    if found.is_dir():
        files, folders = sorted(found.glob("*.xml")), [found]
    else:
        names = [line.split()[0] for line in read_lines(found, _REMEDY) if line.split()]
        files = [root / "Annotations" / f"{name}.xml" for name in names]
        folders = [root / "JPEGImages", root / "Annotations"]
    images, skipped = [], Counter()
    for file in files:
        try:
            images.append(_read_file(file, folders))
        except FileNotFoundError:
            skipped["image without an XML file"] += 1
        except DamagedError:
            skipped["damaged XML file"] += 1
    return Annotations(images, None, skipped)


def _read_file(path: Path, folders: list[Path]) -> Annotated:
    content = read_bytes(path, _REMEDY, _MAX_BYTES)
    try:
        # Entities could unpack to gigabytes, and no annotation needs them.
        if b"<!DOCTYPE" in content or b"<!ENTITY" in content:
            raise ValueError("it has a DOCTYPE")
        tree = ElementTree.fromstring(content)
        size = tree.find("size")
        width, height = (
            (0, 0) if size is None else (int(size.findtext(side, "0")) for side in _SIZES)
        )
        image = Annotated(_image(path, tree, folders), (width, height) if width else None)
        image.boxes.extend(_box(entry) for entry in tree.iter("object"))
    except (ElementTree.ParseError, ValueError, TypeError, LookupError) as error:
        raise DamagedError(path, str(error), _REMEDY) from error
    return image


def _image(path: Path, tree: ElementTree.Element, folders: list[Path]) -> str:
    # The name alone: tools write the path of the machine where they ran.
    written = (tree.findtext("filename") or "").replace("\\", "/")
    name = Path(written).name or f"{path.stem}.jpg"
    places = [folder / name for folder in folders]
    # Some tools leave the suffix out, or keep that of before a conversion.
    places += [folder / f"{path.stem}.jpg" for folder in folders]
    return str(next((place for place in places if place.is_file()), places[0]))


def _box(entry: ElementTree.Element) -> Box:
    corners = entry.find("bndbox")
    left, top, right, bottom = (float(corners.findtext(name, "nan")) for name in _CORNERS)
    name = (entry.findtext("name") or "").strip() or None
    # VOC counts pixels from 1, and the last one belongs to the box.
    corners = (left - 1, top - 1, right, bottom)
    return Box(name, corners, difficult=entry.findtext("difficult", "0").strip() == "1")
