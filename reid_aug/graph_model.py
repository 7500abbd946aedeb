"""TF.js graph models run by PyTorch: a network whose weights come with its graph.

Such a model is a JSON file, the graph and a list of weights, beside binary files with the weights.
It is what MoveNet is published as, in packages that need no account and no script to fetch. The
graph is data here: each node is one of two dozen operations, and an unknown one is refused. Nothing
in the file is run.

Tensors keep TensorFlow's layout, (B, H, W, C); convolutions see it as channels last, so nothing is
copied.
"""

import base64
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from reid_aug.errors import UserError

LARGEST = 512 * 1024**2  # bytes of JSON or of weights
STORED = {"float32": np.float32, "float16": np.float16, "int32": np.int32}
BROKEN = (AttributeError, IndexError, KeyError, RecursionError, TypeError, ValueError)
Value = Tensor | tuple[Tensor, ...]


class Attributes:
    """The attributes of a node, as TF.js writes them in JSON."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.values = values

    def integer(self, key: str, default: int = 0) -> int:
        """A number, as {"i": "3"}."""
        return int(self.values.get(key, {}).get("i", default))

    def integers(self, key: str, default: Sequence[int] = ()) -> list[int]:
        """A list of numbers, as {"list": {"i": ["1", "2"]}}."""
        return [int(v) for v in self.values.get(key, {}).get("list", {}).get("i", default)]

    def flag(self, key: str) -> bool:
        """A yes or no, as {"b": true}."""
        return bool(self.values.get(key, {}).get("b", False))

    def text(self, key: str) -> str:
        """A text, as {"s": "U0FNRQ=="}."""
        return _text(self.values[key]["s"])

    def texts(self, key: str) -> list[str]:
        """A list of texts."""
        return [_text(v) for v in self.values.get(key, {}).get("list", {}).get("s", [])]


def _text(encoded: str) -> str:
    return base64.b64decode(encoded).decode()


@dataclass(frozen=True, slots=True)
class Node:
    """One step of a graph; ``inputs`` are (name, which of its outputs)."""

    name: str
    operation: str
    inputs: tuple[tuple[str, int], ...]
    attributes: Attributes


def _conv(node: Node, x: Tensor, kernel: Tensor, bias: Tensor | None = None) -> Tensor:
    """A convolution with TensorFlow's padding, its bias and what is fused to it.

    ``kernel`` is in PyTorch's layout already (:func:`_planes_first`).
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


def _planes_first(node: Node, kernel: Tensor) -> Tensor:
    """(h, w, in, out) or, depthwise, (h, w, in, multiplier), to (out, in or 1, h, w)."""
    if _is_depthwise(node):
        return kernel.permute(2, 3, 0, 1).flatten(0, 1)[:, None].contiguous()
    return kernel.permute(3, 2, 0, 1).contiguous()


FUSED: dict[str, Callable[[Tensor], Tensor]] = {
    "BiasAdd": lambda x: x,  # given to the convolution
    "Relu": torch.relu,
    "Relu6": F.relu6,
}


def _same_padding(
    size: Sequence[int], kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int]
) -> list[int]:
    """Pixels to add (left, right, top, bottom) so that the output is size / stride, rounded up."""
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
    "_FusedConv2D": _conv,
    "Conv2D": _conv,
    "FusedDepthwiseConv2dNative": _conv,
    "DepthwiseConv2dNative": _conv,
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


class GraphModel:
    """A network read from ``path``, a TF.js ``.json`` file with its weights beside it.

    Raises:
        UserError: If a file is missing or damaged, or the graph has an unknown operation.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        try:
            graph = json.loads(_read(self.path))
            self.weights = _read_weights(graph["weightsManifest"], self.path)
            nodes = {node.name: node for node in map(_node, graph["modelTopology"]["node"])}
            self.input, self.size = _input(graph["modelTopology"]["node"])
            self.output = next(iter(graph["signature"]["outputs"])).split(":")[0]
            self.steps = _ordered(nodes, self.output, {self.input, *self.weights})
            convolutions = [node for node in self.steps if OPERATIONS.get(node.operation) is _conv]
            kernels = {node.inputs[1][0]: node for node in convolutions}
            self.weights |= {
                name: _planes_first(node, self.weights[name]) for name, node in kernels.items()
            }
        except BROKEN as error:
            raise self._refusal(f"{type(error).__name__} {error}") from None
        for node in self.steps:
            if node.operation not in OPERATIONS:
                raise self._refusal(f"the operation {node.operation}")

    @torch.inference_mode()
    def __call__(self, image: Tensor) -> Tensor:
        """Run the graph on one image, (1, H, W, 3) int64 in 0..255 for the size it was made for."""
        values: dict[str, Value] = {**self.weights, self.input: image}
        try:
            for node in self.steps:
                inputs = [_pick(values[name], place) for name, place in node.inputs]
                values[node.name] = OPERATIONS[node.operation](node, *inputs)
        except (*BROKEN, RuntimeError) as error:
            raise self._refusal(f"{node.name}: {str(error).splitlines()[0][:120]}") from None
        return _pick(values[self.output], 0)

    def _refusal(self, found: str) -> UserError:
        return UserError(
            f"{self.path}: must be a TF.js graph model that reid-aug knows, got {found}"
        )


def _pick(value: Value, place: int) -> Tensor:
    return value[place] if isinstance(value, tuple) else value


def _read(path: Path) -> bytes:
    if not path.is_file():
        raise UserError(f"{path} is missing; a TF.js model is a .json file and its .bin beside it")
    if path.stat().st_size > LARGEST:
        raise UserError(f"{path}: must be at most {LARGEST} bytes, got {path.stat().st_size}")
    return path.read_bytes()


def _node(raw: Mapping[str, Any]) -> Node:
    inputs = [name.split(":") for name in raw.get("input", []) if not name.startswith("^")]
    pairs = tuple((name, int(place[0]) if place else 0) for name, *place in inputs)
    return Node(raw["name"], raw["op"], pairs, Attributes(raw.get("attr", {})))


def _input(nodes: Sequence[Mapping[str, Any]]) -> tuple[str, tuple[int, int]]:
    """Name and (height, width) of the picture that the graph takes."""
    node = next((node for node in nodes if node["op"] == "Placeholder"), None)
    if node is None:
        raise ValueError("no Placeholder")
    _, height, width, _ = (int(side["size"]) for side in node["attr"]["shape"]["shape"]["dim"])
    return node["name"], (height, width)


def _ordered(nodes: Mapping[str, Node], output: str, known: set[str]) -> list[Node]:
    """The nodes that the output needs, each after its inputs."""
    order: list[Node] = []
    done, stack = set(known), [output]
    open_: set[str] = set()
    while stack:
        name = stack[-1]
        missing = [other for other, _ in nodes[name].inputs if other not in done]
        if name in done:
            stack.pop()
        elif not missing:
            order.append(nodes[stack.pop()])
            done.add(name)
        elif open_ & set(missing):
            raise ValueError(f"a circle at {name}")
        else:
            open_.add(name)
            stack += missing
    return order


def _read_weights(manifest: Sequence[Mapping[str, Any]], path: Path) -> dict[str, Tensor]:
    weights: dict[str, Tensor] = {}
    for group in manifest:
        names = [str(name) for name in group["paths"]]
        if any(name != Path(name).name for name in names):
            raise ValueError(f"weights in another folder, {names}")
        raw = b"".join(_read(path.with_name(name)) for name in names)
        place = 0
        for weight in group["weights"]:
            stored = weight.get("quantization", {}).get("dtype", weight["dtype"])
            if stored not in STORED:
                raise ValueError(f"weights of type {stored}")
            values = np.frombuffer(raw, STORED[stored], math.prod(weight["shape"]), place)
            place += values.nbytes
            kind = np.float32 if weight["dtype"] == "float32" else np.int64
            weights[weight["name"]] = torch.from_numpy(values.astype(kind)).reshape(weight["shape"])
    return weights
