"""C++ source of a firmware's data: the model, its constants and the golden image."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

# Numbers in one line of an array.
_COLUMNS = 24
_CPP_TYPES = {"int8": "std::int8_t", "uint8": "std::uint8_t"}
_ESCAPES = {ord('"'): '\\"', ord("\\"): "\\\\"}


@dataclass(frozen=True)
class FirmwareData:
    """The data in the sources of a firmware.

    Attributes:
      name: the network's name.
      file: the .tflite file's name.
      content: the .tflite file's content.
      labels: class names in the order of the scores.
      image: the golden image, uint8 [height, width, channels].
      scores: TFLite Micro's scores for it, int8 or uint8 [classes].
      input_table: network input by channel and pixel value, int8 or uint8 [channels, 256].
      input_quantization, output_quantization: (scale, zero point).
      registrations: methods of the operator resolver.
      arena_bytes: the measured arena.
      margin_bytes: added to the measured arena.
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


def model_header(data: FirmwareData) -> str:
    """Returns `shufflenet_model.h`: constants, and the declarations of the arrays."""
    height, width, channels = data.image.shape
    return f"""{_comment(data)}
#ifndef SHUFFLENET_MODEL_H_
#define SHUFFLENET_MODEL_H_

#include <cstddef>
#include <cstdint>

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
    """Returns `golden.cpp`: an image and its scores."""
    return f"""{_comment(data)}
#include "golden.h"

namespace shufflenet {{

const std::uint8_t kGoldenImage[kHeight * kWidth * kChannels] = {{
{_numbers(data.image.ravel())}}};

const OutputType kGoldenScores[kClasses] = {{
{_numbers(data.scores)}}};

}}  // namespace shufflenet
"""


def cpp_float(value: float) -> str:
    """Returns a float32 as an exact C++ literal: nine digits distinguish every float32.

    Examples:
      >>> cpp_float(0.5)
      '0.5f'
    """
    text = f"{np.float32(value):.9g}"
    return f"{text}f" if set(text) & set(".e") else f"{text}.0f"


def cpp_string(text: str) -> str:
    """Returns a text as a C++ string literal of its UTF-8 bytes.

    Bytes that are not printable ASCII are escaped as three octal digits, because any character can
    follow those, unlike hexadecimal digits. "?" is escaped as well: two begin a trigraph.

    Examples:
      >>> cpp_string('a"b')
      '"a\\\\"b"'
    """
    escaped = "".join(
        _ESCAPES.get(byte) or (chr(byte) if 32 <= byte < 127 and byte != 63 else f"\\{byte:03o}")
        for byte in text.encode()
    )
    return f'"{escaped}"'


def _comment(data: FirmwareData) -> str:
    digest = hashlib.sha256(data.content).hexdigest()
    return f"""// Written by shufflenet convert; do not edit.
// {data.name}, {data.file}
// sha256 {digest}"""


def _numbers(values: np.ndarray) -> str:
    texts = [str(value) for value in values.tolist()]
    lines = (texts[start : start + _COLUMNS] for start in range(0, len(texts), _COLUMNS))
    return ",\n".join(",".join(line) for line in lines)
