"""TF.js graph models, executed with PyTorch.

Such a model is a JSON file with the graph and a list of the weights, and binary files with the
weights in the same folder. MoveNet is published in this format, in packages that can be downloaded
without an account or a script. The graph is treated as data: each node is one of two dozen
operations, and an unknown operation is an error. No code of the file is executed.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from reid_aug.pose_estimators.graph_operations import (
    OPERATIONS,
    Attributes,
    Node,
    Value,
    convolve,
    planes_first,
)
from reid_aug.runtime.errors import UserError
from reid_aug.runtime.json_toml import read_json
from reid_aug.runtime.regular_files import read_bytes

LARGEST_GRAPH = 512 * 1024**2  # bytes of JSON or of weights
ABOUT = "a TF.js model is a .json file and .bin files in one folder"
INPUT_SIDES = range(1, 2049)  # pixels of the input
STORED = {"float32": np.float32, "float16": np.float16, "int32": np.int32}
BROKEN = (AttributeError, IndexError, KeyError, RecursionError, TypeError, ValueError)


class GraphModel:
    """A network read from ``path``, a TF.js ``.json`` file with its weights beside it.

    Raises:
        UserError: If a file is missing or damaged, or the graph has an unknown operation.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        try:
            graph = read_json(self.path, "a TF.js graph model", ABOUT, LARGEST_GRAPH)
            self.weights = _read_weights(graph["weightsManifest"], self.path)
            nodes = {node.name: node for node in map(_node, graph["modelTopology"]["node"])}
            self.input, self.size = _input(graph["modelTopology"]["node"])
            self.output = next(iter(graph["signature"]["outputs"])).split(":")[0]
            self.steps = _ordered(nodes, self.output, {self.input, *self.weights})
            convolutions = [
                node for node in self.steps if OPERATIONS.get(node.operation) is convolve
            ]
            kernels = {node.inputs[1][0]: node for node in convolutions}
            self.weights |= {
                name: planes_first(node, self.weights[name]) for name, node in kernels.items()
            }
        except UserError:
            raise
        except Exception as error:  # a foreign structure decides what fails while it is read
            raise self._refusal(f"{type(error).__name__} {error}") from None
        for node in self.steps:
            if node.operation not in OPERATIONS:
                raise self._refusal(f"the operation {node.operation}")

    @torch.inference_mode()
    def __call__(self, image: Tensor) -> Tensor:
        """Run the graph on one image (1, H, W, 3) int64 in [0, 255]; (H, W) must be ``size``."""
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
            f"{self.path}: the file must be a TF.js graph model of supported operations, "
            f"got {found}; use MoveNet's published model.json"
        )


def _pick(value: Value, place: int) -> Tensor:
    return value[place] if isinstance(value, tuple) else value


def _node(raw: Mapping[str, Any]) -> Node:
    inputs = [name.split(":") for name in raw.get("input", []) if not name.startswith("^")]
    pairs = tuple((name, int(place[0]) if place else 0) for name, *place in inputs)
    return Node(raw["name"], raw["op"], pairs, Attributes(raw.get("attr", {})))


def _input(nodes: Sequence[Mapping[str, Any]]) -> tuple[str, tuple[int, int]]:
    """Name and (height, width) of the input image of the graph."""
    node = next((node for node in nodes if node["op"] == "Placeholder"), None)
    if node is None:
        raise ValueError("no Placeholder")
    _, height, width, _ = (int(side["size"]) for side in node["attr"]["shape"]["shape"]["dim"])
    if not (height in INPUT_SIDES and width in INPUT_SIDES):
        raise ValueError(f"an input of {height} x {width} pixels")
    return node["name"], (height, width)


def _ordered(nodes: Mapping[str, Node], output: str, known: set[str]) -> list[Node]:
    """The nodes on which the output depends, each after its inputs."""
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
            raise ValueError(f"a cycle at {name}")
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
        raw = b"".join(read_bytes(path.with_name(name), LARGEST_GRAPH, ABOUT) for name in names)
        place = 0
        for weight in group["weights"]:
            stored = weight.get("quantization", {}).get("dtype", weight["dtype"])
            if stored not in STORED:
                raise ValueError(f"weights of type {stored}")
            shape = weight["shape"]
            is_whole = all(type(length) is int and length >= 0 for length in shape)
            if not is_whole or math.prod(shape) > len(raw):
                raise ValueError(f"weights of shape {shape!r:.80}")
            values = np.frombuffer(raw, STORED[stored], math.prod(shape), place)
            place += values.nbytes
            kind = np.float32 if weight["dtype"] == "float32" else np.int64
            weights[weight["name"]] = torch.from_numpy(values.astype(kind)).reshape(shape)
    return weights
