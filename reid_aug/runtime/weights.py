"""Reading and writing tensors; no other module opens a weight file.

The files of this package are safetensors with JSON values in their metadata. Other ``.pth`` files
are read with ``torch.load(weights_only=True)``, which creates only tensors. NumPy numbers and
arrays, which torchreid stores beside the weights, and the arguments of a command line are accepted
too. A file that contains other objects is refused, because unpickling them runs code.

The tensors are those of the file, of its entry ``state_dict``, or of its one entry that holds
tensors, as ``model`` of fast-reid.
"""

import argparse
import codecs
import hashlib
import json
import pickle
import re
import struct
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy._core.multiarray import _reconstruct as numpy_array
from numpy._core.multiarray import scalar as numpy_scalar
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from reid_aug.runtime.errors import UserError
from reid_aug.runtime.files import committed
from reid_aug.runtime.json_toml import parse_json
from reid_aug.runtime.records import Table
from reid_aug.runtime.regular_files import require_regular

LARGEST_FILE = 4 * 1024**3  # bytes; ViT-sized re-ID networks stay well below
DAMAGED_WEIGHTS = (  # raised by torch.load for damaged files of the old and the new format
    AssertionError, AttributeError, EOFError, IndexError, KeyError, OverflowError, RuntimeError,
    TypeError, ValueError, OSError, struct.error,
)  # fmt: skip
KINDS_OF_NUMBERS = (
    "bool_", "float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "str_",
)  # fmt: skip
NUMBERS: list[Any] = [  # what a pickled NumPy number consists of, under its old and its new name
    np.dtype, np.ndarray, codecs.encode, Counter, argparse.Namespace,
    *((np.dtype(getattr(np, name)).__class__) for name in KINDS_OF_NUMBERS),
    *((numpy_scalar, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")),
    *((numpy_array, f"numpy.{core}.multiarray._reconstruct") for core in ("core", "_core")),
]  # fmt: skip
REFUSED_NAME = re.compile(r"GLOBAL ([\w.]+)")  # in the message of torch
OTHER_KINDS = {  # what a file is that is given in place of a safetensors file, by its first bytes
    b"\x89HDF\r\n\x1a\n": "an HDF5 file, as a bank is",
    b"PK\x03\x04": "a zip archive, as torch.save writes",
    b"\x80\x02": "a pickle, as torch.save wrote before version 1.6",
}
PREFIXES = ("module.", "_orig_mod.")  # added by DataParallel and torch.compile


def read_weights(path: Path | str) -> dict[str, Tensor]:
    """Read a state dict from ``.safetensors``, or from a ``.pth`` file that holds tensors only.

    A wrapping key ``state_dict`` and the prefixes of DataParallel and torch.compile are removed.

    Raises:
        UserError: If the file is missing, larger than 4 GiB, damaged, or would run code.
    """
    return read_checkpoint(path)[0]


def read_checkpoint(path: Path | str) -> tuple[dict[str, Tensor], list[str]]:
    """As :func:`read_weights`; also the names of the entries beside ``state_dict``."""
    path = _checked(path)
    if path.suffix == ".safetensors":
        return read_tensors(path)[0], []
    try:
        with torch.serialization.safe_globals(NUMBERS):
            state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        named = REFUSED_NAME.search(str(error))
        raise UserError(
            f"{path}: must be a PyTorch weight file of tensors only, got another kind of file or a "
            f"pickle that would run code{f' ({named[1]})' if named else ''}; save the state_dict() "
            f"of the network again"
        ) from None
    except DAMAGED_WEIGHTS as error:
        raise UserError(
            f"{path}: must be a PyTorch weight file, got {_line(error)}; use an intact copy"
        ) from None
    tensors, others = _state_of(state, path)
    return {_bare(name): tensor for name, tensor in tensors.items()}, others


def _state_of(state: Any, path: Path) -> tuple[Mapping[str, Tensor], list[str]]:
    """The tensors of a checkpoint, and the names of its other entries."""
    if not isinstance(state, Mapping):
        raise UserError(f"{path}: must hold a state dict of tensors, got {type(state).__name__}")
    if _is_state(state):
        return state, []
    found = [str(key) for key, value in state.items() if _is_state(value) and len(value)]
    if "state_dict" in state:
        found = [key for key in found if key == "state_dict"]
    if len(found) != 1:
        got = f"several, {', '.join(found)}" if found else f"only {', '.join(map(str, state))}"
        raise UserError(f"{path}: must hold a state dict of tensors, got {got[:200]}")
    return state[found[0]], sorted(str(key) for key in state if str(key) != found[0])


def _is_state(state: Any) -> bool:
    return isinstance(state, Mapping) and all(
        isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in state.items()
    )


def read_tensors(path: Path | str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read a safetensors file: its tensors, and its metadata with each value decoded from JSON.

    A metadata value that is not JSON stays a string.

    Raises:
        UserError: If the file is missing, larger than 4 GiB, or damaged.
    """
    path = _checked(path)
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return tensors, {k: _decode(v) for k, v in (file.metadata() or {}).items()}
    except (SafetensorError, OSError) as error:
        with path.open("rb") as file:
            start = file.read(8)
        for signature, kind in OTHER_KINDS.items():
            if start.startswith(signature):
                raise UserError(
                    f"{path}: must be a safetensors file, got {kind}; give the .safetensors file"
                ) from None
        raise UserError(
            f"{path}: must be a safetensors file, got {_line(error)}; use an intact copy"
        ) from None


def write_tensors(
    path: Path | str, tensors: Mapping[str, Tensor], notes: Mapping[str, Any]
) -> None:
    """Write tensors atomically, with the values of ``notes`` as JSON in the metadata."""
    whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    content = save(whole)
    length = int.from_bytes(content[:8], "little")
    # safetensors writes metadata in random order; sorted here, equal content gives equal bytes
    metadata = {key: json.dumps(value) for key, value in sorted(notes.items())}
    own = parse_json(content[8 : 8 + length].decode(), str(path))
    header = json.dumps({"__metadata__": metadata, **own}).encode()
    header += b" " * (-len(header) % 8)
    with committed(path) as part, part.open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        file.write(memoryview(content)[8 + length :])


def tensors_sha256(tensors: Mapping[str, Tensor]) -> str:
    """A hash of the names, types, shapes and values of tensors."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        values = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        digest.update(values.numpy().data)
    return digest.hexdigest()


def check_tensors(tensors: Mapping[str, Tensor], metadata: Table) -> None:
    """Raise a UserError unless the tensors of a file have the hash in its metadata."""
    if metadata.text("tensors_sha256") != tensors_sha256(tensors):
        raise metadata.refused("tensors_sha256", "the hash of its tensors, which were damaged")


@contextmanager
def fitting(path: Path | str, what: str, remedy: str) -> Iterator[None]:
    """Turn what torch raises for tensors that do not fit into a network into a UserError."""
    try:
        yield
    except UserError:
        raise
    except (LookupError, AttributeError, RuntimeError, TypeError, ValueError) as error:
        raise UserError(
            f"{path}: must hold the tensors of {what}, got others ({_line(error)}); {remedy}"
        ) from None


def _checked(path: Path | str) -> Path:
    require_regular(path, LARGEST_FILE, "give the path of a weight file that exists")
    return Path(path)


def _bare(name: str) -> str:
    while name.startswith(PREFIXES):
        name = name.partition(".")[2]
    return name


def _decode(text: str) -> Any:
    try:
        return parse_json(text, "metadata")
    except UserError:
        return text


def _line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:120]
