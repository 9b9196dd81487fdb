"""What an ONNX file says of its input and its classes: `metadata_props`, texts by name."""

import json

import onnx

from common.tflite.metadata import Description

_COLORS = {1: "grey", 3: "RGB"}


def add_metadata(content: bytes, description: Description) -> bytes:
    """Returns an ONNX file that says how pixels become its input, and what its classes are.

    Args:
      content: a file that `converters.onnx_target.export` wrote.
      description: of its classifier.

    Examples:
      >>> path.write_bytes(add_metadata(path.read_bytes(), description))
      >>> session.get_modelmeta().custom_metadata_map["scale"]
      '[0.00784313725490196]'
    """
    model = onnx.ModelProto.FromString(content)
    kept = {each.key: each.value for each in model.metadata_props}
    described = {
        "name": description.name,
        "labels": json.dumps(list(description.labels), ensure_ascii=False),
        "scale": json.dumps(list(description.scale)),
        "offset": json.dumps(list(description.offset)),
        "colors": _COLORS[description.shape[-1]],
    }
    onnx.helper.set_model_props(model, {**kept, **described})
    model.doc_string = (
        f"{description.name}: input = pixel (0 to 255) * scale + offset; output = logits of the "
        "labels; scale, offset and labels are in metadata_props"
    )
    return model.SerializeToString()
