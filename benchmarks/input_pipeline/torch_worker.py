"""Times PyTorch's DataLoader with torchvision's transforms; see `edge.running.worker.call`."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import torch
from torch.utils.data import DataLoader, RandomSampler

from benchmarks.input_pipeline.settings import Setting, rate
from edge.running import worker
from edge.running.timing import pin

# Operators of torchvision's own binary. If it cannot be loaded (such as a CUDA build next to a CPU
# build of PyTorch), torchvision's transforms need only the operators' names: they do not use them.
_OPERATORS = ("nms", "qnms")
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_ENDLESS = 1 << 40


def measure(request: dict) -> dict:
    """Returns `images_per_second` of the request's pipeline, on its cores."""
    pin(request["cores"])
    setting = Setting(**request["setting"])
    batches = _loader(setting, request["pipeline"], Path(request["folder"]), len(request["cores"]))
    return {"images_per_second": rate(batches, setting.batch_size, request["seconds"])}


def _loader(setting: Setting, pipeline: str, folder: Path, cores: int) -> DataLoader:
    _import_torchvision()
    from torchvision.datasets import ImageFolder

    make = {"PyTorch on Pillow": _pillow_transforms, "PyTorch on tensors": _tensor_transforms}
    data = ImageFolder(str(folder / "train"), transform=make[pipeline](setting))
    return DataLoader(
        data,
        setting.batch_size,
        sampler=RandomSampler(data, replacement=True, num_samples=_ENDLESS),
        num_workers=cores,
        persistent_workers=True,
    )


def _pillow_transforms(setting: Setting) -> Callable:
    """The transforms of torchvision's classic recipes."""
    from torchvision import transforms as t

    return t.Compose(
        [*_random(t, setting), t.ToTensor(), t.Normalize(_MEAN, _DEVIATION, inplace=True)]
    )


def _tensor_transforms(setting: Setting) -> Callable:
    """The transforms that torchvision recommends now: tensors are used right after decoding."""
    from torchvision.transforms import v2 as t

    last = [t.ToDtype(torch.float32, scale=True), t.Normalize(_MEAN, _DEVIATION, inplace=True)]
    return t.Compose([t.PILToTensor(), *_random(t, setting), *last])


def _random(t: ModuleType, setting: Setting) -> list:
    if setting.crop == "pad":
        crop = t.RandomCrop(setting.size, setting.padding, padding_mode="reflect")
    else:
        crop = t.RandomResizedCrop(setting.size, (setting.min_area, 1.0), antialias=True)
    steps = [crop, t.RandomHorizontalFlip()]
    if setting.color_jitter:
        steps.append(t.ColorJitter(*[setting.color_jitter] * 3))
    return steps


def _import_torchvision() -> None:
    try:
        import torchvision
    except RuntimeError:
        for name in _OPERATORS:
            torch.library.define(f"torchvision::{name}", "() -> ()")
        import torchvision  # noqa: F401


if __name__ == "__main__":
    worker.serve(measure)
