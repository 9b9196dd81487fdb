"""ImageNet (ILSVRC 2012), whose archives must be downloaded by hand.

TFDS prepares it as `imagenet2012` with the splits train (1,281,167 images) and validation (50,000).
"""

from collections.abc import Sequence
from pathlib import Path

from common.cli import UserError
from trainers.data import catalogue
from trainers.data.sources import Source
from trainers.settings import DataConfig

NAME = "imagenet2012"
# File name and size in bytes (from TFDS's checksums) of the archive of each split.
ARCHIVES = {
    "train": ("ILSVRC2012_img_train.tar", 147_897_477_120),
    "validation": ("ILSVRC2012_img_val.tar", 6_744_924_160),
}
_PAGE = "https://image-net.org/download-images"


def open_splits(config: DataConfig, splits: Sequence[str]) -> list[Source]:
    """Opens splits of ImageNet; prepares it from its archives first if needed.

    Raises:
      UserError: as in `catalogue.open_splits` and `check_archives`.
    """
    return catalogue.open_splits(config, splits, check_archives)


def check_archives(data_dir: Path, split: str) -> None:
    """Checks that no archive of ImageNet is missing or incomplete before it is prepared.

    TFDS would prepare only the existing archive, and would never add the other split.

    Args:
      data_dir: where TFDS keeps its data.
      split: the split to prepare; for validation alone, its own archive is enough.

    Raises:
      UserError: an archive is missing or incomplete; the message says which one to put where.
    """
    folder = data_dir / "downloads" / "manual"
    needed = ["validation"] if split.startswith("validation") else list(ARCHIVES)
    states = [_state(folder, *ARCHIVES[name]) for name in needed]
    if any(states):
        wanted = " and ".join(
            f"{ARCHIVES[name][0]} ({ARCHIVES[name][1]:,} bytes{', ' * bool(state)}{state})"
            for name, state in zip(needed, states, strict=True)
        )
        raise UserError(
            f"{NAME} is not prepared in {data_dir}: put {wanted} from {_PAGE}, after registering "
            f"there, into {folder} and run the same command again; it then prepares the data set "
            "once, which takes hours and as much disk space again"
        )


def _state(folder: Path, name: str, size: int) -> str:
    """Returns what is wrong with an archive, or an empty text."""
    if not (folder / name).is_file():
        return "missing"
    found = (folder / name).stat().st_size
    return "" if found == size else f"but the file has {found:,}: download it again"
