"""What a target's device adds to an integer file: what its compiler makes of it, or firmware."""

from collections.abc import Callable
from pathlib import Path

from common.tflite import vela
from converters.conversion.config import ConversionConfig
from converters.edgetpu_target import pipeline
from converters.micro_target import firmware
from converters.source.network import Network, Samples

# Takes an integer file, its graph, and the network and samples that it was made and checked with;
# returns what a device adds to the file's entry in the manifest.
DeviceStep = Callable[[Path, str, Network, Samples], dict]


def device_step(config: ConversionConfig) -> DeviceStep:
    """Returns the step of a conversion's target.

    Raises:
      UserError: the target needs a compiler that is not there.
    """
    return _STEPS.get(config.target, _nothing)(config)


def _edgetpu(config: ConversionConfig) -> DeviceStep:
    compiler = pipeline.required_compiler(config.edgetpu)

    def step(path: Path, graph: str, *unused: object) -> dict:
        entry = pipeline.describe(path, compiler)
        # The canonical graph is the baseline: it shows what would not map.
        if config.edgetpu.require_full_mapping and graph == "deployment":
            pipeline.check_full_mapping(path.name, entry)
        return {"edgetpu": entry}

    return step


def _ethosu(config: ConversionConfig) -> DeviceStep:
    if config.accelerator is None:
        return _nothing(config)
    vela.vela_version()
    return lambda path, *unused: {"ethosu": vela.describe(path, config.accelerator)}


def _micro(config: ConversionConfig) -> DeviceStep:
    def step(path: Path, graph: str, network: Network, samples: Samples) -> dict:
        # The canonical graph is the baseline, to compare with, not to flash.
        if graph != "deployment":
            return {}
        if not network.is_image_classifier:
            return {"micro": firmware.not_written(path, "firmware is for classifiers of images")}
        (taken,) = network.inputs
        preprocessing = taken.describe()["preprocessing"]
        classifier = firmware.Classifier(
            name=network.name,
            labels=network.labels,
            scale=preprocessing["scale"],
            offset=preprocessing["offset"],
            image=taken.pixels(samples.arrays[0][0]),
        )
        return {"micro": firmware.describe(path, classifier)}

    return step


def _nothing(config: ConversionConfig) -> DeviceStep:
    return lambda *unused: {}


# The extra step for each target's files; the files of other targets need none.
_STEPS: dict[str, Callable[[ConversionConfig], DeviceStep]] = {
    "edgetpu": _edgetpu,
    "ethosu": _ethosu,
    "micro": _micro,
}
