"""Small TF.js graph models, written as the converter writes them."""

import base64
import json
from pathlib import Path

import numpy as np

TYPES = {"float32": "DT_FLOAT", "int32": "DT_INT32"}


def text(value: str) -> dict:
    return {"s": base64.b64encode(value.encode()).decode()}


def numbers(*values: int) -> dict:
    return {"list": {"i": [str(value) for value in values]}}


def node(name: str, operation: str, *inputs: str, **attributes: dict) -> dict:
    return {"name": name, "op": operation, "input": list(inputs), "attr": attributes}


def write_graph(
    path: Path,
    size: tuple[int, int],
    nodes: list[dict],
    weights: dict[str, np.ndarray],
    output: str,
    half: bool = False,
) -> Path:
    """Write a model that takes (1, *size, 3); with ``half``, its weights are stored as float16."""
    dims = [{"size": str(side)} for side in (1, *size, 3)]
    start = {"name": "input", "op": "Placeholder", "attr": {"shape": {"shape": {"dim": dims}}}}
    manifest, raw = [], b""
    for name, value in weights.items():
        kind = "float32" if value.dtype.kind == "f" else "int32"
        entry = {"name": name, "shape": list(value.shape), "dtype": kind}
        stored = kind
        if half and kind == "float32":
            stored = "float16"
            entry["quantization"] = {"dtype": stored, "original_dtype": kind}
        manifest.append(entry)
        raw += value.astype(stored).tobytes()
    constants = [{"name": name, "op": "Const"} for name in weights]
    path.with_suffix(".bin").write_bytes(raw)
    graph = {
        "format": "graph-model",
        "signature": {"outputs": {f"{output}:0": {"name": f"{output}:0"}}},
        "modelTopology": {"node": [start, *constants, *nodes]},
        "weightsManifest": [{"paths": [path.with_suffix(".bin").name], "weights": manifest}],
    }
    path.write_text(json.dumps(graph))
    return path


def write_movenet(path: Path, joints: np.ndarray, size: int = 32) -> Path:
    """A network that sees ``joints`` (17, 3; y, x, score in parts of the square) everywhere.

    Its score of the nose is that of the list plus the mean of the picture.
    """
    kernel = np.zeros((size, size, 3, 51), np.float32)
    kernel[..., 2] = 1 / (255 * 3 * size**2)
    nodes = [
        node("cast", "Cast", "input", DstT={"type": "DT_FLOAT"}),
        node(
            "conv", "_FusedConv2D", "cast", "kernel", "bias",
            strides=numbers(1, 1, 1, 1), padding=text("VALID"),
            fused_ops={"list": {"s": [text("BiasAdd")["s"]]}},
        ),
        node("output", "Reshape", "conv", "shape"),
    ]  # fmt: skip
    weights = {
        "kernel": kernel,
        "bias": joints.astype(np.float32).ravel(),
        "shape": np.array([1, 1, 17, 3], np.int32),
    }
    return write_graph(path, (size, size), nodes, weights, "output")
