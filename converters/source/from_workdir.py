"""A workdir, the folder of a training, as the source of a conversion."""

from pathlib import Path

from common.cli import UserError
from common.manifest import CLASSIFICATION
from converters.source.from_model import describe_size
from converters.source.network import Input, Network, Samples
from converters.workdir import TrainedModel, calibration_inputs, load_trained, split_images
from trainers.settings import WIDTHS

# The training's settings that the network was built with.
_NETWORK_FIELDS = ("model", "scale", *WIDTHS, "groups", "padding", "small_images")


def network_of_workdir(workdir: Path, data_dir: str | None = None) -> Network:
    """Returns a training's network, with its data.

    Args:
      workdir: a training's, or one made by hand.
      data_dir: where the data is, if it has moved since the training.

    Raises:
      UserError: the workdir cannot be used.

    Examples:
      >>> network_of_workdir(Path("work")).labels
      ('cat', 'dog')
    """
    trained = load_trained(workdir, data_dir)
    config = trained.config
    return Network(
        name=_name(trained),
        model=trained.model,
        inputs=(
            Input(
                "image",
                tuple(trained.model.input_shape[1:]),
                config.images.preprocessing,
                _photograph(trained),
            ),
        ),
        outputs=("logits",),
        calibration=lambda count: (calibration_inputs(trained, count),),
        evaluation=lambda count: _evaluation(trained, count),
        task=CLASSIFICATION,
        labels=tuple(trained.labels),
        description={
            "model": {
                **{name: getattr(config.network, name) for name in _NETWORK_FIELDS},
                **describe_size(trained.model),
            },
            "training": config.to_flat(),
        },
    )


def _evaluation(trained: TrainedModel, count: int) -> Samples:
    data = trained.config.data
    # Shuffled, because a folder's files are in the order of their classes.
    images, labels = split_images(trained, data.eval_split, count)
    if not len(images):
        raise UserError(f"split {data.eval_split!r} of {data.dataset} has no images to check with")
    return Samples((images,), labels)


def _name(trained: TrainedModel) -> str:
    config = trained.config.network
    if config.is_file:
        return Path(config.model).stem
    groups = "" if config.groups is None else f"_g{config.groups}"
    # Such as shufflenet_v2_stem8_stage16-32-64_head128.
    widths = "".join(
        f"_{name.removesuffix('_channels')}{str(width).replace(',', '-')}"
        for name, width in config.widths.items()
    )
    scale = "" if config.stage_channels else f"_{config.scale}x"
    return f"{config.model}{scale}{groups}{widths}"


def _photograph(trained: TrainedModel) -> dict:
    """Returns how a photograph becomes the network's image (docs/artifact.md)."""
    images = trained.config.images
    return {
        "channels": ["grey"] if trained.model.input_shape[-1] == 1 else ["red", "green", "blue"],
        "orientation": "exif",
        # As `trainers.data.images.crops.center_crop` does it.
        "resize": {"shorter_side": images.resize_size, "filter": "triangle", "antialias": True},
        "crop": "center",
        "crop_share": images.crop_share,
    }
