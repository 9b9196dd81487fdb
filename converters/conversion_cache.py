"""Networks with random weights, converted once, for benchmarks and experiments to measure.

Each network is an artifact in the cache's folder; its name has a hash of the sources it depends on.
"""

import math
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from common.artifact_writer import (
    OutputTakenError,
    describe_tflite,
    staged_folder,
    write_labels,
    write_manifest,
)
from common.console.progress import Progress
from common.manifest import CLASSIFICATION
from converters.conversion import canonical
from converters.conversion.tflite import convert_fake_quant, convert_float
from converters.graph.deployment import deployment_graph
from converters.graph.emitter import emit
from converters.graph.operations import Graph
from converters.quantization.calibration import calibrate
from converters.quantization.fake_quantization import fake_quant_model
from converters.random_weights import calibration_images, random_network
from converters.source_digest import source_digest
from keras_shufflenet.complexity import complexity

# The end of a file's name, by quantization.
_SUFFIXES = {"none": "float32", "int8-ptq": "int8_ptq"}
QUANTIZATIONS = tuple(_SUFFIXES)


@dataclass(frozen=True)
class Network:
    """A network to convert.

    Attributes:
      name: unique in the cache, valid as a folder's name.
      build: returns the Keras model, with one input of four dimensions and an output (batch,
        classes); the seed is set before the call.
      sources: the files that define `build` and `rewrite`, as patterns relative to the repository:
        when these files change, the network is converted again.
      graphs: "canonical", and "deployment" for this project's networks; any other name is the
        caller's own for what `rewrite` returns.
      quantizations: some of `QUANTIZATIONS`.
      batch: images per inference; a rewritten graph only takes one.
      rewrite: returns the graph for every name but "canonical".
    """

    name: str
    build: Callable[[], keras.Model]
    sources: tuple[str, ...]
    graphs: tuple[str, ...] = ("canonical",)
    quantizations: tuple[str, ...] = QUANTIZATIONS
    batch: int = 1
    rewrite: Callable[[keras.Model], Graph] = deployment_graph


def file_name(graph: str, quantization: str) -> str:
    """Returns the name of a network's file, such as "canonical_int8_ptq.tflite"."""
    return f"{graph}_{_SUFFIXES[quantization]}.tflite"


def convert_all(networks: Sequence[Network], cache: Path) -> dict[str, Path]:
    """Returns the artifact of every network by name; converts those that the cache lacks.

    Args:
      networks: with different names.
      cache: folder of artifacts.

    Examples:
      >>> folders = convert_all([Network("v2", ShuffleNetV2, ("keras_shufflenet/*.py",))], cache)
    """
    folders: dict[str, Path] = {}
    with Progress("converting", len(networks), unit="network") as progress:
        for network in networks:
            folders[network.name] = convert(network, cache)
            progress.update(len(folders))
    return folders


def convert_graph(graph: Graph, quantization: str, images: np.ndarray) -> bytes:
    """Returns a graph as a .tflite file.

    Args:
      graph: as `deployment_graph` returns it.
      quantization: one of `QUANTIZATIONS`.
      images: preprocessed images for the int8 ranges, [images, height, width, channels].
    """
    if quantization == "none":
        return convert_float(emit(graph), quantization)
    return convert_fake_quant(fake_quant_model(graph, calibrate(graph, images)))


def convert(network: Network, cache: Path) -> Path:
    """Returns the artifact of one network; converts it unless the cache has it."""
    digest = "".join(source_digest(graph, network.sources)[:6] for graph in network.graphs)
    kinds = "-".join(_SUFFIXES[quantization] for quantization in network.quantizations)
    folder = cache / f"{network.name}_batch{network.batch}_{kinds}_{digest}"
    if folder.is_dir():
        return folder
    # Otherwise Keras would keep all of hundreds of networks in memory.
    keras.backend.clear_session()
    model = random_network(network.build)
    try:
        with staged_folder(folder) as temporary:
            _write(network, model, temporary)
    except OutputTakenError as error:
        # Another process has converted the same network at the same time.
        shutil.rmtree(error.kept)
    return folder


def _write(network: Network, model: keras.Model, folder: Path) -> None:
    images = calibration_images(model.input_shape)
    files = {}
    for graph in network.graphs:
        for quantization in network.quantizations:
            path = folder / file_name(graph, quantization)
            if graph == "canonical":
                content = canonical.convert(model, quantization, images, batch=network.batch)
            else:
                content = convert_graph(network.rewrite(model), quantization, images)
            path.write_bytes(content)
            entry = {"graph": graph, "quantization": quantization}
            files[path.name] = {**describe_tflite(path), **entry}
    classes = math.prod(model.output_shape[1:])
    fields = {
        "name": network.name,
        "model": _size(model),
        "training": {},
        "task": CLASSIFICATION,
        "inputs": [
            {
                "name": "image",
                "shape": [network.batch, *model.input_shape[1:]],
                "preprocessing": {"mode": "none", "scale": [1.0], "offset": [0.0]},
            }
        ],
        "outputs": [{"name": "logits", "shape": [network.batch, classes]}],
        "labels": write_labels(folder, [str(index) for index in range(classes)]),
        "samples": None,
        "files": files,
    }
    write_manifest(folder, fields)


def _size(model: keras.Model) -> dict[str, int | None]:
    try:
        counted = complexity(model)
    except ValueError:  # It has layers that only Keras can count.
        return {"macs": None, "parameters": model.count_params()}
    return {"macs": counted.macs, "parameters": counted.parameters}
