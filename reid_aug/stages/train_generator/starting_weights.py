"""The starting weights of a training, if they are not random: generator and discriminators.

A generator comes from a ``generator.safetensors``, which was trained here or imported; "demo" names
the one of the package. A
discriminator comes from a file that ``reid-aug generator import`` made of released weights, or from
a training state (``training/00087500.safetensors``), which holds both discriminators.

The images that trained these networks count as training images of the new generator.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from reid_aug.data.provenance import recorded_fingerprints
from reid_aug.generator import DEMO, Generator, demo_generator, load_with_metadata
from reid_aug.generator.adversary import read_discriminator
from reid_aug.runtime.errors import Remedy, UserError
from reid_aug.runtime.files import sha256
from reid_aug.runtime.optimizer_state import under
from reid_aug.runtime.weights import read_tensors
from reid_aug.stages.train_generator.folder import STATE_FORMAT as STATE
from reid_aug.stages.train_generator.settings import TrainGeneratorConfig


def start_from(networks: Mapping[str, nn.Module], config: TrainGeneratorConfig) -> None:
    """Load the starting weights of a training into its networks, if there are any.

    Raises:
        UserError: If a file is missing, or its network has another shape.
    """
    if config.start:
        generator = networks["generator"]
        assert isinstance(generator, Generator)
        _start_generator(generator, _file_of(config.start))
    for discriminator, path in _discriminators(config):
        if discriminator not in networks:
            raise UserError(
                f"start_{discriminator} must not be given with discriminator_start = 1, which has "
                f"no discriminators"
            )
        _start_discriminator(networks[discriminator], discriminator, path)


def fingerprints_before(config: TrainGeneratorConfig) -> list[str]:
    """The fingerprints of the training images of each starting network; "" if unknown."""
    before = [_read_generator(_file_of(config.start))[1]] if config.start else []
    before += [
        read_discriminator_of(path, discriminator)[1]
        for discriminator, path in _discriminators(config)
    ]
    return [recorded_fingerprints(metadata) for metadata in before]


def starting_files(config: TrainGeneratorConfig) -> dict[str, str]:
    """The SHA-256 of every file of starting weights, by its key in the recipe."""
    given = {"start": _file_of(config.start)} if config.start else {}
    given |= {f"start_{discriminator}": path for discriminator, path in _discriminators(config)}
    return {key: sha256(path) for key, path in given.items()}


def read_discriminator_of(
    path: str, discriminator: str
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and the metadata of a discriminator, from a checkpoint or a training state.

    Raises:
        UserError: If the file is missing, or holds no such discriminator.
    """
    if Path(path).suffix == ".safetensors":
        tensors, metadata = read_tensors(path)
        if metadata.get("format") == STATE:
            if not (own := under(tensors, f"{discriminator}/")):
                raise UserError(
                    f"{path}: must hold a discriminator of {discriminator}, got the state of a "
                    f"training without discriminators"
                )
            return own, metadata.get("notes", {})
    return read_discriminator(path, discriminator)


def _discriminators(config: TrainGeneratorConfig) -> Iterator[tuple[str, str]]:
    pairs = (("appearance", config.start_appearance), ("pose", config.start_pose))
    return ((discriminator, path) for discriminator, path in pairs if path)


def _read_generator(path: str) -> tuple[Generator, dict[str, Any]]:
    if Path(path).suffix != ".safetensors":
        raise UserError(
            f"{path}: train_generator.start must be a generator.safetensors",
            Remedy(("generator", "import", str(path)), words="convert released weights with"),
        )
    return load_with_metadata(path, Generator)


def _file_of(start: str) -> str:
    """The file of the starting generator; "demo" names the one of the package."""
    return str(demo_generator()) if start == DEMO else start


def _start_generator(generator: Generator, path: str) -> None:
    given = _read_generator(path)[0]
    wanted, found = asdict(generator.config), asdict(given.config)
    for key in wanted:
        if wanted[key] != found[key] and key != "dropout":  # dropout has no weights
            value = str(found[key]).lower() if isinstance(found[key], bool) else found[key]
            raise UserError(
                f"{path}: train_generator.start must be a generator of this recipe, whose "
                f"{key} is {wanted[key]}, got {found[key]}; try --set generator.{key}={value}, or "
                f"start from random weights with --set train_generator.start="
            )
    generator.load_state_dict(given.state_dict())


def _start_discriminator(network: nn.Module, discriminator: str, path: str) -> None:
    tensors, _ = read_discriminator_of(path, discriminator)
    wanted = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    for name in sorted(wanted.keys() | found.keys()):
        if wanted.get(name) != found.get(name):
            raise UserError(
                f"{path}: train_generator.start_{discriminator} must be a discriminator of this "
                f"recipe, whose {name} is of shape {wanted.get(name)}, got {found.get(name)}; it "
                f"depends on discriminator_width, discriminator_blocks and generator.norm"
            )
    network.load_state_dict(tensors)
