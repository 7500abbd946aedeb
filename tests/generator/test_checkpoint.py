"""The class that reads a checkpoint, selected by the format tag."""

from dataclasses import dataclass
from importlib import metadata

import numpy as np
import pytest
import torch

from reid_aug.generator import (
    Generator,
    GeneratorConfig,
    GeneratorNetwork,
    generate,
    load_generator,
    load_with_metadata,
    ready_to_generate,
    save_generator,
)
from reid_aug.runtime.errors import UserError
from reid_aug.runtime.weights import write_tensors

TAG = "acme.flow/1"


@dataclass(frozen=True)
class FlowConfig:
    """The configuration of a generator of another package."""

    cameras: int


class FlowGenerator(GeneratorNetwork):
    """Shift the source image by the movement of the neck, and multiply it by a learned gain."""

    def __init__(self, config: FlowConfig) -> None:
        super().__init__()
        self.config, self.gain = config, torch.nn.Parameter(torch.zeros(1))
        self.dropout = torch.nn.Dropout(0.5)

    @property
    def step(self):
        return 2

    @classmethod
    def from_checkpoint(cls, tensors, metadata):
        generator = cls(FlowConfig(metadata["cameras"]))
        generator.load_state_dict(tensors)
        return generator

    def repose(self, image, source, target, cameras=None):
        moves = (target - source)[:, 1].round().int().tolist()
        pairs = zip(image, moves, strict=True)
        moved = torch.stack([one.roll((dy, dx), (1, 2)) for one, (dx, dy) in pairs])
        gain = self.gain if cameras is None else self.gain * cameras[:, 1, None, None, None]
        return self.dropout(moved * gain)


class Unrelated(torch.nn.Module):
    """A class that does not implement the interface."""


def entry(value: str, name: str = TAG) -> metadata.EntryPoint:
    return metadata.EntryPoint(name, f"{__name__}:{value}", "reid_aug.generators")


@pytest.fixture
def install(monkeypatch):
    """Install packages with these entry points of the group ``reid_aug.generators``."""

    def install(*entries):
        def entry_points(group):
            assert group == "reid_aug.generators"
            return metadata.EntryPoints(entries)

        monkeypatch.setattr(metadata, "entry_points", entry_points)

    return install


@pytest.fixture
def checkpoint(tmp_path):
    """Return a function that writes a checkpoint of the other package."""

    def write(cameras=0, tag=TAG, **tensors):
        path = tmp_path / "flow.safetensors"
        tensors = tensors or {"gain": torch.tensor([0.5])}
        write_tensors(path, tensors, {"format": tag, "cameras": cameras, "trained_on": "abc"})
        return path

    return write


def batch():
    images = np.random.default_rng(0).integers(256, size=(2, 8, 6, 3), dtype=np.uint8)
    source = np.full((2, 18, 2), 2, np.float32)
    return images, source, source + np.float32([1, 3])


def test_a_generator_of_another_package_is_loaded_and_generates(install, checkpoint):
    install(entry("FlowGenerator"))

    generator, notes = load_with_metadata(checkpoint())
    generated = generate(ready_to_generate(generator, torch.device("cpu")), *batch())

    assert isinstance(generator, FlowGenerator)
    assert not generator.training
    assert notes["trained_on"] == "abc"
    moved = np.roll(batch()[0], (3, 1), (1, 2)).astype(float)
    assert np.abs(generated - (moved - 127.5) / 2 - 127.5).max() <= 0.5


def test_a_generator_of_another_package_gets_its_cameras(install, checkpoint):
    install(entry("FlowGenerator"))
    generator, ones = load_generator(checkpoint(cameras=2)), np.ones(2, int)

    plain, doubled = (generate(generator, *batch(), ones, camids) for camids in (ones, 2 * ones))

    assert np.array_equal(doubled, np.roll(batch()[0], (3, 1), (1, 2)))
    assert not np.array_equal(plain, doubled)
    with pytest.raises(UserError, match="must be given for a camera-conditioned generator"):
        generate(generator, *batch())


def test_the_step_of_another_network_is_checked(install, checkpoint):
    install(entry("FlowGenerator"))
    images, *poses = batch()

    with pytest.raises(UserError, match="multiples of 2, got 7x6"):
        generate(load_generator(checkpoint()), images[:, :7], *poses)


def test_the_built_in_format_is_read_by_the_built_in_class(install, tmp_path):
    install(entry("FlowGenerator", "reid_aug.generator/1"))
    save_generator(Generator(GeneratorConfig(width=4, blocks=1)), tmp_path / "g.safetensors")

    assert type(load_generator(tmp_path / "g.safetensors")) is Generator


def test_an_unknown_format_is_refused_with_the_known_ones(install, checkpoint):
    install(entry("FlowGenerator"))

    with pytest.raises(UserError, match=r"flow\.safetensors: must be a generator checkpoint") as e:
        load_generator(checkpoint(tag="acme.flow/2"))

    assert "(acme.flow/1, reid_aug.generator/1), got 'acme.flow/2'" in str(e.value)
    assert "\n" not in str(e.value)


@pytest.mark.parametrize("tag", [None, 1, ["acme.flow/1"], {}], ids=str)
def test_a_format_that_is_not_text_is_refused(install, checkpoint, tag):
    install(entry("FlowGenerator"))

    with pytest.raises(UserError, match="must be a generator checkpoint of a known format"):
        load_generator(checkpoint(tag=tag))


def test_a_checkpoint_that_does_not_fit_its_class_is_refused_in_one_sentence(install, checkpoint):
    install(entry("FlowGenerator"))

    with pytest.raises(UserError, match=r"flow\.safetensors: must hold a config and its") as e:
        load_generator(checkpoint(other=torch.zeros(1)))

    assert "\n" not in str(e.value)


def test_code_for_the_built_in_network_refuses_another(install, checkpoint):
    install(entry("FlowGenerator"))

    with pytest.raises(UserError, match=r"of class Generator .*, got one of class FlowGenerator"):
        load_generator(checkpoint(), Generator)


@pytest.mark.parametrize(
    ("value", "found"),
    [("Missing", "AttributeError"), ("Unrelated", "Unrelated"), ("TAG", "TAG")],
)
def test_an_entry_point_that_is_no_generator_is_refused(install, checkpoint, value, found):
    install(entry(value))

    with pytest.raises(UserError, match=f"must be a subclass of GeneratorNetwork, got .*{found}"):
        load_generator(checkpoint())


def test_an_entry_point_that_cannot_be_imported_is_refused(install, checkpoint):
    install(metadata.EntryPoint(TAG, "no_such_package:Generator", "reid_aug.generators"))

    with pytest.raises(UserError, match=r"got ModuleNotFoundError .*repair the package of no_such"):
        load_generator(checkpoint())


def test_two_classes_of_one_format_are_refused(install, checkpoint):
    install(entry("FlowGenerator"), entry("Unrelated"))

    with pytest.raises(
        UserError, match=r"must have one class, got .*FlowGenerator and .*Unrelated"
    ):
        load_generator(checkpoint())
