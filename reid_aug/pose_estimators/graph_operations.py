"""The operations of a :mod:`~reid_aug.pose_estimators.graph_model`, as TensorFlow defines them.

Tensors keep TensorFlow's layout, (B, H, W, C). For convolutions this is PyTorch's channels-last
format, so no copy is needed. Kernels are converted to PyTorch's layout once, when the model is
read.
"""

import base64
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

Value = Tensor | tuple[Tensor, ...]


class Attributes:
    """The attributes of a node in the JSON form of TF.js."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.values = values

    def integer(self, key: str, default: int = 0) -> int:
        """The integer of the form {"i": "3"}."""
        return int(self.values.get(key, {}).get("i", default))

    def integers(self, key: str, default: Sequence[int] = ()) -> list[int]:
        """The integers of the form {"list": {"i": ["1", "2"]}}."""
        return [int(v) for v in self.values.get(key, {}).get("list", {}).get("i", default)]

    def flag(self, key: str) -> bool:
        """The boolean of the form {"b": true}; False if it is missing."""
        return bool(self.values.get(key, {}).get("b", False))

    def text(self, key: str) -> str:
        """The text of the form {"s": "U0FNRQ=="}, which is base64."""
        return _text(self.values[key]["s"])

    def texts(self, key: str) -> list[str]:
        """The texts of the form {"list": {"s": [...]}}."""
        return [_text(v) for v in self.values.get(key, {}).get("list", {}).get("s", [])]


def _text(encoded: str) -> str:
    return base64.b64decode(encoded).decode()


@dataclass(frozen=True, slots=True)
class Node:
    """One node of a graph."""

    name: str
    operation: str
    inputs: tuple[tuple[str, int], ...]  # (name of a node, index of its output)
    attributes: Attributes


def convolve(node: Node, x: Tensor, kernel: Tensor, bias: Tensor | None = None) -> Tensor:
    """A convolution with TensorFlow's padding, with bias and fused activations.

    ``kernel`` has PyTorch's layout (:func:`planes_first`).
    """
    strides = node.attributes.integers("strides")[1:3]
    dilations = node.attributes.integers("dilations", (1, 1, 1, 1))[1:3]
    planes, padding = x.permute(0, 3, 1, 2), [0, 0]
    if node.attributes.text("padding") == "SAME":
        left, right, top, bottom = _same_padding(
            planes.shape[2:], kernel.shape[2:], strides, dilations
        )
        if (left, top) == (right, bottom):
            padding = [top, left]
        else:
            planes = F.pad(planes, [left, right, top, bottom])
    groups = planes.shape[1] if _is_depthwise(node) else 1
    out = F.conv2d(planes, kernel, bias, strides, padding, dilations, groups)
    for name in node.attributes.texts("fused_ops"):
        out = FUSED[name](out)
    return out.permute(0, 2, 3, 1)


def _is_depthwise(node: Node) -> bool:
    return "Depthwise" in node.operation


def planes_first(node: Node, kernel: Tensor) -> Tensor:
    """Convert a kernel from TensorFlow's to PyTorch's layout.

    From (h, w, in, out) to (out, in, h, w); depthwise from (h, w, in, multiplier) to
    (in * multiplier, 1, h, w).
    """
    if _is_depthwise(node):
        return kernel.permute(2, 3, 0, 1).flatten(0, 1)[:, None].contiguous()
    return kernel.permute(3, 2, 0, 1).contiguous()


FUSED: dict[str, Callable[[Tensor], Tensor]] = {
    "BiasAdd": lambda x: x,  # the convolution adds the bias
    "Relu": torch.relu,
    "Relu6": F.relu6,
}


def _same_padding(
    size: Sequence[int], kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int]
) -> list[int]:
    """Padding (left, right, top, bottom) in pixels for an output of size / stride, rounded up."""
    padding: list[int] = []
    for axis in (1, 0):
        steps = math.ceil(size[axis] / strides[axis]) - 1
        reach = steps * strides[axis] + (kernel[axis] - 1) * dilations[axis] + 1
        missing = max(reach - size[axis], 0)
        padding += [missing // 2, missing - missing // 2]
    return padding


def _resize(node: Node, x: Tensor, size: Tensor) -> Tensor:
    aligned = node.attributes.flag("align_corners")
    if not aligned and not node.attributes.flag("half_pixel_centers"):
        raise ValueError("ResizeBilinear without half_pixel_centers")
    planes = x.permute(0, 3, 1, 2)
    out = F.interpolate(planes, size.tolist(), mode="bilinear", align_corners=aligned)
    return out.permute(0, 2, 3, 1)


def _squeeze(node: Node, x: Tensor) -> Tensor:
    places = node.attributes.integers("squeeze_dims")
    return x.squeeze(tuple(places)) if places else x.squeeze()


def _cast(node: Node, x: Tensor) -> Tensor:
    is_float = node.attributes.values["DstT"]["type"] == "DT_FLOAT"
    return x.to(torch.float32 if is_float else torch.int64)


def _unpack(node: Node, x: Tensor) -> tuple[Tensor, ...]:
    return torch.unbind(x, node.attributes.integer("axis"))


OPERATIONS: dict[str, Callable[..., Value]] = {
    "_FusedConv2D": convolve,
    "Conv2D": convolve,
    "FusedDepthwiseConv2dNative": convolve,
    "DepthwiseConv2dNative": convolve,
    "ResizeBilinear": _resize,
    "Squeeze": _squeeze,
    "Cast": _cast,
    "Unpack": _unpack,
    "Identity": lambda _, x: x,
    "AddV2": lambda _, a, b: a + b,
    "Sub": lambda _, a, b: a - b,
    "Mul": lambda _, a, b: a * b,
    "RealDiv": lambda _, a, b: a / b,
    "FloorDiv": lambda _, a, b: torch.div(a, b, rounding_mode="floor"),
    "SquaredDifference": lambda _, a, b: (a - b).square(),
    "Sqrt": lambda _, x: x.sqrt(),
    "Sigmoid": lambda _, x: x.sigmoid(),
    "ExpandDims": lambda _, x, axis: x.unsqueeze(int(axis)),
    "Reshape": lambda _, x, shape: x.reshape(shape.tolist()),
    "ConcatV2": lambda _, *parts: torch.cat(parts[:-1], int(parts[-1])),
    "Pack": lambda node, *parts: torch.stack(parts, node.attributes.integer("axis")),
    "ArgMax": lambda _, x, axis: x.argmax(int(axis)),
    "GatherNd": lambda _, x, places: x[tuple(places.unbind(-1))],
}
