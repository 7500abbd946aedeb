"""The checkpoint of a generator: one safetensors file.

The file holds the tensors. Its metadata holds ``format``, ``config`` and the entries that the
caller adds (recipe, seed, step, training images), each as JSON. The ``format`` tag selects the
class that reads the file (:mod:`reid_aug.generator.interface`).
"""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from importlib import metadata as installed
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar, overload

from reid_aug.generator.config import GeneratorConfig
from reid_aug.generator.interface import GeneratorNetwork
from reid_aug.generator.network import Generator
from reid_aug.runtime.errors import Remedy, UserError
from reid_aug.runtime.regular_files import require_regular
from reid_aug.runtime.weights import read_tensors, write_tensors

GENERATOR_FORMAT = "reid_aug.generator/1"
DEMO = "demo"  # the name of the generator that is part of the package
DEMO_ORIGIN = (
    "trained on 400 rendered people. The built-in data set holds none of them, but the same "
    "renderer made both, under the same six cameras"
)
GENERATOR_GROUP = "reid_aug.generators"  # entry points: format tag = class

Network = TypeVar("Network", bound=GeneratorNetwork)


def demo_generator() -> Path:
    """The demo generator, which is part of the package; trained on rendered people only."""
    return Path(str(resources.files("reid_aug.assets") / "demo_generator.safetensors"))


def save_generator(
    generator: Generator, path: Path | str, notes: Mapping[str, Any] | None = None
) -> None:
    """Write a checkpoint; the entries of ``notes`` are added to its metadata as JSON."""
    head = {"format": GENERATOR_FORMAT, "config": asdict(generator.config)}
    write_tensors(path, generator.state_dict(), {**(notes or {}), **head})


@contextmanager
def untrained_generator(config: GeneratorConfig, trained_on: str = "") -> Iterator[Path]:
    """A temporary checkpoint with random weights, to measure what a trained one would cost.

    Args:
        trained_on: the fingerprints that its metadata claims, as those of the later training.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "untrained.safetensors"
        save_generator(Generator(config), path, {"trained_on": trained_on})
        yield path


@overload
def load_generator(path: Path | str) -> GeneratorNetwork: ...
@overload
def load_generator(path: Path | str, kind: type[Network]) -> Network: ...
def load_generator(
    path: Path | str, kind: type[GeneratorNetwork] = GeneratorNetwork
) -> GeneratorNetwork:
    """Return the generator of a checkpoint, in eval mode, on the CPU.

    Args:
        kind: the class that the generator must be, for code that needs more than the interface.

    Raises:
        UserError: If the file is missing, is not a generator checkpoint of a known format, or holds
            a generator of another class than ``kind``.
    """
    return load_with_metadata(path, kind)[0]


@overload
def load_with_metadata(path: Path | str) -> tuple[GeneratorNetwork, dict[str, Any]]: ...
@overload
def load_with_metadata(path: Path | str, kind: type[Network]) -> tuple[Network, dict[str, Any]]: ...
def load_with_metadata(
    path: Path | str, kind: type[GeneratorNetwork] = GeneratorNetwork
) -> tuple[GeneratorNetwork, dict[str, Any]]:
    """Return the generator of a checkpoint, as :func:`load_generator` does, and its metadata."""
    require_regular(path, remedy=Remedy(("train-generator",)))
    tensors, metadata = read_tensors(path)
    network = _network_class(metadata.get("format"), path)
    if not issubclass(network, kind):
        raise UserError(
            f"{path}: must hold a generator of class {kind.__name__} for this command, got one of "
            f"class {network.__name__} (format {metadata['format']}); name another checkpoint"
        )
    try:
        generator = network.from_checkpoint(tensors, metadata)
    except (KeyError, TypeError, RuntimeError, ValueError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"{path}: must hold a config and its tensors, got {reason}") from None
    return generator.eval(), metadata


def _network_class(tag: object, path: Path | str) -> type[GeneratorNetwork]:
    """The class that reads checkpoints of format ``tag``: built in, or of an installed package."""
    if tag == GENERATOR_FORMAT:
        return Generator
    entries = installed.entry_points(group=GENERATOR_GROUP)
    found = [entry for entry in entries if entry.name == tag]
    if not found:
        known = ", ".join(sorted({GENERATOR_FORMAT, *(entry.name for entry in entries)}))
        raise UserError(
            f"{path}: must be a generator checkpoint of a known format ({known}), got {tag!r}; "
            f"install the package that reads this format, or convert released weights with: "
            f"reid-aug generator import"
        )
    if len({entry.value for entry in found}) > 1:
        values = " and ".join(sorted(entry.value for entry in found))
        raise UserError(
            f"{path}: format {tag} must have one class, got {values}; uninstall one of the packages"
        )
    return _loaded(found[0], path)


def _loaded(entry: installed.EntryPoint, path: Path | str) -> type[GeneratorNetwork]:
    """The class that an entry point names, imported."""
    rule = f"{path}: the entry point {entry.name} must be a subclass of GeneratorNetwork"
    try:
        network = entry.load()
    except (ImportError, AttributeError) as error:
        raise UserError(
            f"{rule}, got {type(error).__name__} ({error}); repair the package of {entry.value}"
        ) from None
    if not (isinstance(network, type) and issubclass(network, GeneratorNetwork)):
        raise UserError(f"{rule}, got {entry.value}; repair that package")
    return network
