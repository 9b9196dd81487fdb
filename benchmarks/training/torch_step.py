"""Takes training steps of V2 in PyTorch, channels last.

Run by `edge.running.worker.PersistentWorker`.
"""

from collections.abc import Callable

import torch
from torch import nn

from edge.running.timing import pin
from edge.running.worker import serve_turns
from keras_shufflenet.shufflenet_v2 import VARIANTS

_UNITS_PER_STAGE = (4, 8, 4)


def make(request: dict) -> Callable[[], float]:
    """Returns a function that takes a step on a batch in memory and returns the loss.

    Args:
      request: as for `benchmarks.training.tensorflow_step`, without `graph`.
    """
    threads = request["threads"]
    pin(range(threads))
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    size, classes, batch = request["size"], request["classes"], request["batch_size"]
    last = torch.channels_last
    model = network(request["scale"], classes, request["small_images"]).to(memory_format=last)
    optimizer = torch.optim.SGD(
        model.parameters(),
        request["learning_rate"],
        momentum=request["momentum"],
        nesterov=True,
        weight_decay=request["weight_decay"],
    )
    images = torch.randn(batch, 3, size, size).to(memory_format=last)
    labels = torch.randint(0, classes, (batch,))

    def step() -> float:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(images), labels)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def network(scale: float, classes: int, small_images: bool) -> nn.Module:
    """Returns ShuffleNet V2 as in torchvision; for small images with our stem."""
    variant = VARIANTS[scale]
    layers = [*_conv(3, variant.stem, 3, 1 if small_images else 2), nn.ReLU(inplace=True)]
    if not small_images:
        layers.append(nn.MaxPool2d(3, 2, 1))
    channels = variant.stem
    for units, filters in zip(_UNITS_PER_STAGE, variant.stages, strict=True):
        for index in range(units):
            layers.append(_Unit(channels, filters, 2 if index == 0 else 1))
            channels = filters
    layers += [*_conv(channels, variant.head, 1), nn.ReLU(inplace=True)]
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(variant.head, classes)]
    return nn.Sequential(*layers)


class _Unit(nn.Module):
    """A unit, including its shuffle."""

    def __init__(self, channels: int, filters: int, stride: int):
        super().__init__()
        half = filters // 2
        incoming = channels if stride == 2 else half
        self.shortcut = None
        if stride == 2:
            self.shortcut = nn.Sequential(
                *_conv(channels, channels, 3, 2, channels),
                *_conv(channels, half, 1),
                nn.ReLU(inplace=True),
            )
        self.main = nn.Sequential(
            *_conv(incoming, half, 1),
            nn.ReLU(inplace=True),
            *_conv(half, half, 3, stride, half),
            *_conv(half, half, 1),
            nn.ReLU(inplace=True),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Returns both paths, concatenated and shuffled."""
        left, right = (x, x) if self.shortcut is not None else x.chunk(2, dim=1)
        left = left if self.shortcut is None else self.shortcut(left)
        y = torch.cat((left, self.main(right)), dim=1)
        batch, channels, height, width = y.shape
        y = y.view(batch, 2, channels // 2, height, width)
        return y.transpose(1, 2).contiguous().view(batch, channels, height, width)


def _conv(channels: int, filters: int, size: int, stride: int = 1, groups: int = 1) -> list:
    conv = nn.Conv2d(channels, filters, size, stride, size // 2, groups=groups, bias=False)
    return [conv, nn.BatchNorm2d(filters)]


if __name__ == "__main__":
    serve_turns(make)
