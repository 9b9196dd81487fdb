"""C++ source of a firmware's data: the model, its constants and the golden image."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from common.detection.decoding import Decoding
from common.tflite.litert import dequantized
from converters.micro_target.detector_sources import golden_boxes, layout
from converters.micro_target.literals import cpp_float, cpp_string

# Numbers in one line of an array.
_COLUMNS = 24
_INCLUDE = '\n#include "detections.h"\n'
_CPP_TYPES = {"int8": "std::int8_t", "uint8": "std::uint8_t"}


@dataclass(frozen=True)
class FirmwareData:
    """The data in the sources of a firmware.

    Attributes:
      name: the network's name.
      file: the .tflite file's name.
      content: the .tflite file's content.
      labels: class names in the order of the scores.
      image: the golden image, uint8 [height, width, channels].
      scores: TFLite Micro's scores for it, int8 or uint8 [classes], or a detector's output [points,
        4 + classes].
      input_table: network input by channel and pixel value, int8 or uint8 [channels, 256].
      input_quantization, output_quantization: (scale, zero point).
      registrations: methods of the operator resolver.
      arena_bytes: the measured arena.
      margin_bytes: added to the measured arena.
      decoding: how a detector's output becomes boxes; None for a classifier.
    """

    name: str
    file: str
    content: bytes
    labels: Sequence[str]
    image: np.ndarray
    scores: np.ndarray
    input_table: np.ndarray
    input_quantization: tuple[float, int]
    output_quantization: tuple[float, int]
    registrations: Sequence[str]
    arena_bytes: int
    margin_bytes: int
    decoding: Decoding | None = None

    @property
    def real_scores(self) -> np.ndarray:
        """The scores as real numbers, as the firmware computes them."""
        return dequantized(self.scores, self.output_quantization)


def model_header(data: FirmwareData) -> str:
    """Returns `shufflenet_model.h`: constants, and the declarations of the arrays."""
    height, width, channels = data.image.shape
    return f"""{_comment(data)}
#ifndef SHUFFLENET_MODEL_H_
#define SHUFFLENET_MODEL_H_

#include <cstddef>
#include <cstdint>
{"" if data.decoding is None else _INCLUDE}
namespace shufflenet {{

constexpr int kHeight = {height};
constexpr int kWidth = {width};
constexpr int kChannels = {channels};
constexpr int kClasses = {len(data.labels)};

using InputType = {_CPP_TYPES[data.input_table.dtype.name]};
using OutputType = {_CPP_TYPES[data.scores.dtype.name]};

// Real value = (integer - zero point) * scale.
constexpr float kInputScale = {cpp_float(data.input_quantization[0])};
constexpr int kInputZeroPoint = {data.input_quantization[1]};
constexpr float kOutputScale = {cpp_float(data.output_quantization[0])};
constexpr int kOutputZeroPoint = {data.output_quantization[1]};
{"" if data.decoding is None else layout(data.decoding)}
// {data.arena_bytes} bytes, measured with portable kernels on a 64-bit host, and
// {data.margin_bytes} bytes for the buffers of optimized kernels.
constexpr std::size_t kArenaBytes = {data.arena_bytes + data.margin_bytes};

// The network input for each pixel value: preprocessing and quantization in one step.
extern const InputType kInputTable[kChannels][256];

extern const char* const kLabels[kClasses];

constexpr std::size_t kModelBytes = {len(data.content)};
extern const unsigned char kModel[kModelBytes];

}}  // namespace shufflenet

#endif  // SHUFFLENET_MODEL_H_
"""


def model_source(data: FirmwareData) -> str:
    """Returns `shufflenet_model.cpp`: the input's table, the labels and the model."""
    tables = ",\n".join(f"{{{_numbers(row)}}}" for row in data.input_table)
    labels = ",\n".join(f"    {cpp_string(label)}" for label in data.labels)
    return f"""{_comment(data)}
#include "shufflenet_model.h"

namespace shufflenet {{

const InputType kInputTable[kChannels][256] = {{
{tables}}};

const char* const kLabels[kClasses] = {{
{labels}}};

alignas(16) const unsigned char kModel[kModelBytes] = {{
{_numbers(np.frombuffer(data.content, np.uint8))}}};

}}  // namespace shufflenet
"""


def operators_header(data: FirmwareData) -> str:
    """Returns `shufflenet_operators.h`: the resolver and what is registered in it."""
    calls = " ||\n      ".join(f"resolver->{call}() != kTfLiteOk" for call in data.registrations)
    return f"""{_comment(data)}
#ifndef SHUFFLENET_OPERATORS_H_
#define SHUFFLENET_OPERATORS_H_

#include "tensorflow/lite/micro/micro_mutable_op_resolver.h"

namespace shufflenet {{

using Resolver = tflite::MicroMutableOpResolver<{len(data.registrations)}>;

// Only the operators of the model: the linker omits all others.
inline TfLiteStatus AddOperators(Resolver* resolver) {{
  if ({calls}) {{
    return kTfLiteError;
  }}
  return kTfLiteOk;
}}

}}  // namespace shufflenet

#endif  // SHUFFLENET_OPERATORS_H_
"""


def golden_source(data: FirmwareData) -> str:
    """Returns `golden.cpp`: an image and its scores, and a detector's boxes."""
    decoding = data.decoding
    size = "kClasses" if decoding is None else "kOutputs"
    return f"""{_comment(data)}
#include "golden.h"

namespace shufflenet {{

const std::uint8_t kGoldenImage[kHeight * kWidth * kChannels] = {{
{_numbers(data.image.ravel())}}};

const OutputType kGoldenScores[{size}] = {{
{_numbers(data.scores.ravel())}}};
{"" if decoding is None else golden_boxes(decoding, data.real_scores)}
}}  // namespace shufflenet
"""


def _comment(data: FirmwareData) -> str:
    digest = hashlib.sha256(data.content).hexdigest()
    return f"""// Written by shufflenet convert; do not edit.
// {data.name}, {data.file}
// sha256 {digest}"""


def _numbers(values: np.ndarray) -> str:
    texts = [str(value) for value in values.tolist()]
    lines = (texts[start : start + _COLUMNS] for start in range(0, len(texts), _COLUMNS))
    return ",\n".join(",".join(line) for line in lines)
