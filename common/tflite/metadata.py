"""TFLite metadata: what a `.tflite` file says of its input and its classes, for phones' libraries.

MediaPipe and Android's tools read it: how pixels become the input, and the class names, which are
in a zip archive that is appended to the file. Interpreters skip both. The format is that of
TensorFlow's metadata_schema.fbs (https://ai.google.dev/edge/litert/models/metadata).
"""

import io
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from common.tflite import flatbuffer

LABELS = "labels.txt"
_FIELD, _IDENTIFIER, _PARSER = b"TFLITE_METADATA", b"M001", "1.0.0"
# The schema's numbers of the members of its unions and enumerations.
_IMAGE, _NORMALIZATION, _AXIS_LABELS = 2, 1, 2
_COLOR_SPACES = {3: 1, 1: 2}  # by the number of channels: RGB, GRAYSCALE
# A fixed time, so that the same model gives the same file.
_TIME = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class Description:
    """What a classifier's file says of itself.

    Attributes:
      name: the network's name.
      labels: class names, in the order of the outputs.
      shape: (height, width, channels) of an image.
      scale, offset: network input = pixel * scale + offset, one number or one per channel.
    """

    name: str
    labels: Sequence[str]
    shape: tuple[int, int, int]
    scale: Sequence[float]
    offset: Sequence[float]


def add_metadata(content: bytes, description: Description) -> bytes:
    """Returns a `.tflite` file with metadata and, in an appended zip archive, its class names.

    Args:
      content: a file without metadata.
      description: of its classifier.

    Examples:
      >>> path.write_bytes(add_metadata(path.read_bytes(), description))
    """
    model = flatbuffer.unpack(content)
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(_pack(description), np.uint8)
    entry = schema.MetadataT()
    entry.name, entry.buffer = _FIELD, len(model.buffers)
    model.buffers.append(buffer)
    model.metadata = [*(model.metadata or ()), entry]
    return _append_labels(flatbuffer.pack(model), description.labels)


def _append_labels(content: bytes, labels: Sequence[str]) -> bytes:
    file = io.BytesIO(content)
    # Not compressed: MediaPipe maps the archive's files into memory.
    with zipfile.ZipFile(file, "a", zipfile.ZIP_STORED) as archive:
        text = "".join(f"{label}\n" for label in labels)
        archive.writestr(zipfile.ZipInfo(LABELS, _TIME), text.encode())
    return file.getvalue()


def _pack(description: Description) -> bytes:
    """Returns the schema's ModelMetadata."""
    table = _Tables(flatbuffers.Builder())
    labels = table.write({0: table.text(LABELS), 2: ("Int8", _AXIS_LABELS)})
    image = table.write(
        {
            0: table.text("image"),
            3: _content(table, description.shape),
            4: _units(table, description),
        }
    )
    output = table.write({0: table.text("logits"), 6: table.tables([labels])})
    subgraph = table.write({2: table.tables([image]), 3: table.tables([output])})
    root = table.write(
        {0: table.text(description.name), 3: table.tables([subgraph]), 7: table.text(_PARSER)}
    )
    table.builder.Finish(root, _IDENTIFIER)
    return bytes(table.builder.Output())


def _content(table: "_Tables", shape: tuple[int, int, int]) -> int:
    height, width, channels = shape
    size = table.write({0: ("Uint32", width), 1: ("Uint32", height)})
    image = table.write({0: ("Int8", _COLOR_SPACES.get(channels, 0)), 1: size})
    return table.write({0: ("Uint8", _IMAGE), 1: image})


def _units(table: "_Tables", description: Description) -> int:
    """Returns the normalization as the schema has it: (pixel - mean) / deviation."""
    scale, offset = np.broadcast_arrays(description.scale, description.offset)
    mean, deviation = table.floats(-offset / scale), table.floats(1 / scale)
    options = table.write({0: mean, 1: deviation})
    return table.tables([table.write({0: ("Uint8", _NORMALIZATION), 1: options})])


class _Tables:
    """Writes a flatbuffer's tables, each after the ones that it refers to."""

    def __init__(self, builder: flatbuffers.Builder):
        self.builder = builder

    def text(self, value: str) -> int:
        return self.builder.CreateString(value)

    def floats(self, values: np.ndarray) -> int:
        return self.builder.CreateNumpyVector(np.float32(values))

    def tables(self, places: Sequence[int]) -> int:
        self.builder.StartVector(4, len(places), 4)
        for place in reversed(places):
            self.builder.PrependUOffsetTRelative(place)
        return self.builder.EndVector()

    def write(self, fields: dict[int, int | tuple[str, int]]) -> int:
        """Writes a table: by the field's number, a place, or a number's type and value."""
        self.builder.StartObject(max(fields) + 1)
        for slot, value in fields.items():
            if isinstance(value, tuple):
                kind, number = value
                prepend: Callable = getattr(self.builder, f"Prepend{kind}Slot")
                prepend(slot, number, 0)
            else:
                self.builder.PrependUOffsetTRelativeSlot(slot, value, 0)
        return self.builder.EndObject()
