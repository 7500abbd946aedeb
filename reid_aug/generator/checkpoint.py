"""The checkpoint: one safetensors file.

It holds the tensors, and in the metadata ``format``, ``config`` and whatever the caller notes
(recipe, seed, step, what it was trained on), each as JSON.
"""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from reid_aug.generator.config import GeneratorConfig
from reid_aug.generator.network import Generator
from reid_aug.runtime.errors import Remedy, UserError
from reid_aug.runtime.weights import read_tensors, write_tensors

FORMAT = "reid_aug.generator/1"


def save_generator(
    generator: Generator, path: Path | str, notes: Mapping[str, Any] | None = None
) -> None:
    """Write a checkpoint that says what it is; ``notes`` join its metadata as JSON."""
    head = {"format": FORMAT, "config": asdict(generator.config)}
    write_tensors(path, generator.state_dict(), {**(notes or {}), **head})


def load_generator(path: Path | str) -> Generator:
    """Read a checkpoint: the generator, in eval mode, on the CPU.

    Raises:
        UserError: If the file is missing or is no generator checkpoint of ours.
    """
    return load_with_metadata(path)[0]


def load_with_metadata(path: Path | str) -> tuple[Generator, dict[str, Any]]:
    """Read a checkpoint and what is noted in its metadata."""
    if not Path(path).is_file():
        raise UserError(f"{path} is missing", Remedy(("train-generator",)))
    tensors, notes = read_tensors(path)
    if notes.get("format") != FORMAT:
        raise UserError(
            f"{path}: must be a generator checkpoint ({FORMAT}), got {notes.get('format')!r}",
            Remedy(("generator", "import"), words="convert released weights with"),
        )
    try:
        config = GeneratorConfig(**notes["config"])
        _check_shapes(config, tensors)
    except (KeyError, TypeError, RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{path}: must hold a config and its tensors, got {reason}") from None
    generator = Generator(config)
    generator.load_state_dict(tensors)
    return generator.eval(), notes


def _check_shapes(config: GeneratorConfig, tensors: Mapping[str, Tensor]) -> None:
    """Raise a UserError unless these are the tensors of such a network.

    A few bytes can announce a network beyond any memory, so one that takes none is asked.
    """
    if config.blocks > len(tensors):
        raise UserError(f"{len(tensors)} tensors for {config.blocks} blocks")
    with torch.device("meta"):
        wanted = {name: tuple(t.shape) for name, t in Generator(config).state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    for name in sorted(wanted.keys() | found.keys()):
        if wanted.get(name) != found.get(name):
            shape, due = found.get(name, "missing"), wanted.get(name, "missing")
            raise UserError(f"{name} {shape}, where its config asks for {due}")
