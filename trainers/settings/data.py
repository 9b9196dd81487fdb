"""Which images are trained on, and how they are read."""

import dataclasses
import re

from common.settings import Settings, setting

# The data set that is a folder of images.
FOLDER = "folder"
# An address of --data_service.
DATA_SERVICE = r"grpc://.+:\d+"
_DATASET = r"\w[\w./:,=+@-]*"
_SLICE = re.compile(r"[^\[\]]+\[(?P<start>\d+)(?P<unit>%?):(?P<end>\d+)(?P=unit)\].*")


def check_split(name: str, value: str) -> None:
    """Raises ValueError if a split has no name, or a slice whose end is not after its start."""
    if not value.strip():
        raise ValueError(f"{name} must be a split such as 'train' or 'train[:90%]', got {value!r}")
    for part in value.split("+"):
        found = _SLICE.fullmatch(part)
        if found and int(found["start"][:20]) >= int(found["end"][:20]):
            raise ValueError(
                f"{name} must have a slice whose end is after its start, got {value!r}"
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataConfig(Settings):
    """The images."""

    dataset: str = setting(
        dataclasses.MISSING,
        "'digits' (offline), 'folder' (images in DATA_DIR/SPLIT/CLASS/*.jpg, or without splits in "
        "DATA_DIR/CLASS/*.jpg) or a name in the catalogue of TensorFlow Datasets, such as cifar10.",
    )
    data_dir: str | None = setting(
        None,
        "Root of the image folder, or where TensorFlow Datasets keeps its data "
        "(default ~/tensorflow_datasets).",
    )
    train_split: str = setting("train", "Training images, such as 'train' or 'train[:90%]'.")
    eval_split: str = setting(
        "test",
        "Evaluation images, such as 'test' or 'train[90%:]'. If an image folder has none but the "
        "training's, a tenth of its images is held out.",
    )
    channels: int | None = setting(
        None,
        "Channels of the network's input: 3, or 1 for grey (default: 3 for an image folder, else "
        "the data set's own).",
        choices=(1, 3),
    )
    verify_images: bool = setting(
        True, "Decode each file of an image folder once, before training; skip unreadable files."
    )
    cache_mb: int = setting(
        512,
        "Keep a split in memory if it needs at most this many MiB (default 512): decoded if all "
        "images of a TensorFlow data set have the same size, or as files for an image folder. 0: "
        "read the images again in every epoch.",
        minimum=0,
    )
    data_service: str | None = setting(
        None,
        "Make the training batches in other processes: grpc://HOST:PORT of a shufflenet "
        "data-server, or 'local' to try it. The order of the images then differs between runs.",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not re.fullmatch(_DATASET, self.dataset):
            raise ValueError(f"dataset must be the name of a data set, got {self.dataset!r}")
        for name in ("train_split", "eval_split"):
            check_split(name, getattr(self, name))
        if self.dataset == FOLDER and not self.data_dir:
            raise ValueError("data_dir is missing; name the folder of your images")
        if self.data_service and not re.fullmatch(f"local|{DATA_SERVICE}", self.data_service):
            raise ValueError(
                f"data_service must be local or grpc://HOST:PORT, got {self.data_service!r}"
            )

    @property
    def place(self) -> str:
        """Where the images are: the folder, or the name of a TensorFlow data set."""
        return str(self.data_dir) if self.dataset == FOLDER else self.dataset

    @property
    def cache_bytes(self) -> int:
        """How much of a split may be kept in memory."""
        # Images in memory would be sent to the servers of a data service with the pipeline.
        return 0 if self.data_service else self.cache_mb * 2**20
