"""Who draws the rows of a plan: a generator, and two others to compare it with.

    generator   the PATN checkpoint
    copies      the baseline that needs no generator: the source mirrored, in other colours
    renderer    on the built-in people only: the picture that is the right answer

All have one interface, so a bank is planned, drawn, extended and described in one way. What an
method draws for a row depends on that row alone. Drawing has three steps, which overlap when a bank
is drawn (:mod:`reid_aug.bank.shards`): an method reads what rows need, paints, and finishes what it
painted.
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torchvision.transforms import functional as colours

from reid_aug.bank.plan import Draw
from reid_aug.data.dataset import Dataset, PersonImage, image_size, read_image, resize
from reid_aug.data.keypoints import NO_POSE, Pose
from reid_aug.data.provenance import leak_status, recorded_fingerprints
from reid_aug.generator import load_with_metadata, ready_to_generate, to_pixels, to_signed
from reid_aug.people import is_people, read_people
from reid_aug.runtime.errors import UserError
from reid_aug.runtime.files import sha256
from reid_aug.runtime.random_streams import BankStream

COPIES = 0.3  # the jitter of copies
HUE = 1 / 6  # of the circle of hues, either way, at jitter 1


@dataclass(frozen=True, slots=True)
class Scene:
    """What there is to draw from, and how.

    ``size`` is (height, width) of what is drawn, in pixels; ``jitter`` is how much a generator's
    drawings differ in light, as in :func:`relit`.
    """

    dataset: Dataset
    real: tuple[PersonImage, ...]
    poses: Mapping[str, Pose]
    size: tuple[int, int]
    seed: int
    jitter: float = 0.0


class Method(ABC):
    """What all methods are asked: who they are, what they know, and to draw.

    ``sha256`` identifies the method, ``data`` says what it knows of the data set (as
    ``generator_data`` in :mod:`reid_aug.data.provenance`), ``words`` are for people to read.

    Args:
        scene: what there is to draw from.
        cameras: whose camera is drawn, as in :func:`reid_aug.bank.plan.plan`.
        checkpoint: the generator, for the method who is one.
    """

    sha256: str
    data: str
    words: str

    def __init__(self, scene: Scene, cameras: str, checkpoint: Path | None) -> None:
        self.scene, self.cameras = scene, cameras
        self.device = torch.device("cpu")

    def to(self, device: torch.device) -> None:
        """Draw on ``device`` from now on, where the method computes on one."""
        self.device = device

    def row(self, draw: Draw) -> Draw:
        """A row of the plan, as this method takes it."""
        return draw

    def pose(self, image: PersonImage) -> Pose:
        """The key points of an image, in pixels of the drawn size."""
        pose = self.scene.poses.get(image.name, NO_POSE)
        return pose.resized(image_size(image.path), self.scene.size)

    def keypoints(self, draw: Draw) -> np.ndarray:
        """The pose that a row shows: (18, 2) float32 pixels, NaN unseen."""
        return self.pose(draw.target).xy

    def relit(self, images: np.ndarray, draws: Sequence[Draw], jitter: float) -> np.ndarray:
        """The drawings of some rows, each in a light of its own, (B, H, W, 3) uint8."""
        if not jitter:
            return images
        seeds = [[self.scene.seed, BankStream.JITTER, draw.source.pid, draw.seat] for draw in draws]
        rngs = map(np.random.default_rng, seeds)
        return np.stack([relit(*pair, jitter) for pair in zip(images, rngs, strict=True)])

    def draw(self, draws: Sequence[Draw]) -> np.ndarray:
        """Draw rows, all three steps: (B, H, W, 3) uint8."""
        return self.finish(self.paint(self.read(draws)), draws)

    @abstractmethod
    def read(self, draws: Sequence[Draw]) -> Any:
        """What painting these rows needs, from the disk; in a thread of its own."""

    def paint(self, material: Any) -> np.ndarray:
        """The step that keeps the device busy: (B, H, W, 3) uint8."""
        return material

    def finish(self, images: np.ndarray, draws: Sequence[Draw]) -> np.ndarray:
        """What is left to do to the painted rows, (B, H, W, 3) uint8; in a thread of its own."""
        return images


def relit(image: np.ndarray, rng: np.random.Generator, jitter: float) -> np.ndarray:
    """An image (H, W, 3) uint8 in another light.

    Brightness, contrast and saturation change by up to the part ``jitter``, the hue with them.
    """
    brightness, contrast, saturation = rng.uniform(1 - jitter, 1 + jitter, 3)
    tensor = torch.tensor(image).permute(2, 0, 1)
    tensor = colours.adjust_brightness(tensor, brightness)
    tensor = colours.adjust_contrast(tensor, contrast)
    tensor = colours.adjust_saturation(tensor, saturation)
    tensor = colours.adjust_hue(tensor, rng.uniform(-jitter, jitter) * HUE)
    return tensor.permute(1, 2, 0).numpy()


class GeneratorMethod(Method):
    """Reads what a row needs and lets the generator draw it."""

    def __init__(self, scene: Scene, cameras: str, checkpoint: Path | None) -> None:
        super().__init__(scene, cameras, checkpoint)
        if checkpoint is None:
            raise UserError("method generator needs a generator; name one with --generator FILE")
        self.generator, notes = load_with_metadata(checkpoint)
        if cameras == "target" and not self.generator.config.cameras:
            raise UserError(
                f"{checkpoint}: this generator is told no cameras, so it keeps the source's; draw "
                f"with synthesize.cameras source, or train one with generator.cameras above 0"
            )
        self.sha256 = sha256(checkpoint)
        self.data = leak_status(recorded_fingerprints(notes), scene.dataset, scene.real)
        self.words = f"generator {checkpoint}, trained on: {self.data}"
        if not notes.get("vgg_sha256"):
            self.words += ", perceptual loss off"
        if self.data == "whole":
            self.words += (
                " (it knows left-out training images, or nobody noted what it knows: not leak-free)"
            )

    def to(self, device: torch.device) -> None:
        super().to(device)
        ready_to_generate(self.generator, device)

    def read(self, draws: Sequence[Draw]) -> Any:
        """Pixels (B, H, W, 3), poses (2, B, 18, 2) and camids (B, 2) of sources and targets."""
        pixels = np.stack([read_image(draw.source.path, *self.scene.size) for draw in draws])
        xy = np.stack([[self.pose(d.source).xy for d in draws], [self.keypoints(d) for d in draws]])
        camids = np.array([[draw.source.camid, draw.camid] for draw in draws])
        return pixels, xy, camids

    @torch.inference_mode()
    def paint(self, material: Any) -> np.ndarray:
        pixels, xy, camids = (torch.from_numpy(part).to(self.device) for part in material)
        source, target = xy
        drawn = self.generator.repose(to_signed(pixels), source, target, camids)
        return to_pixels(drawn).cpu().numpy()

    def finish(self, images: np.ndarray, draws: Sequence[Draw]) -> np.ndarray:
        return self.relit(images, draws, self.scene.jitter)


class CopiesMethod(Method):
    """Mirrors the source and shifts its colours: what costs nothing, so a generator must beat it.

    The target of a row is its source. Random numbers come from the seed, the identity and its seat.
    """

    sha256 = hashlib.sha256(b"copies/1").hexdigest()
    data = "kept"
    words = "mirrored and colour-jittered copies of the kept images"

    def row(self, draw: Draw) -> Draw:
        return Draw(draw.source, draw.source, draw.source.camid, draw.seat)

    def keypoints(self, draw: Draw) -> np.ndarray:
        return self.pose(draw.source).mirrored(self.scene.size[1]).xy

    def read(self, draws: Sequence[Draw]) -> Any:
        size = self.scene.size
        return np.stack([read_image(draw.source.path, *size)[:, ::-1] for draw in draws])

    def finish(self, images: np.ndarray, draws: Sequence[Draw]) -> np.ndarray:
        return self.relit(images, draws, COPIES)


class RendererMethod(Method):
    """Photographs the built-in people in the target's pose: no method, but what one aims at.

    Each photograph has a piece of street and an exposure of its own: with those of its source, the
    background would tell the identity.
    """

    sha256 = hashlib.sha256(b"renderer/1").hexdigest()
    data = "whole"
    words = "true renders, which know what no generator can: a reference, not leak-free"

    def __init__(self, scene: Scene, cameras: str, checkpoint: Path | None) -> None:
        super().__init__(scene, cameras, checkpoint)
        root = scene.real[0].path.parents[1]
        if not is_people(root):
            raise UserError(
                f"{root}: method renderer draws the built-in people only; "
                f"choose method generator or copies"
            )
        self.people = read_people(root)

    def read(self, draws: Sequence[Draw]) -> Any:
        return draws

    def paint(self, material: Any) -> np.ndarray:
        return np.stack([self.render(draw) for draw in material])

    def render(self, draw: Draw) -> np.ndarray:
        """One row: (H, W, 3) uint8."""
        truth = self.people.truth(draw.source.name, draw.target.name, draw.camid)
        return resize(truth, *self.scene.size)


METHODS: dict[str, type[Method]] = {
    "generator": GeneratorMethod,
    "copies": CopiesMethod,
    "renderer": RendererMethod,
}


def check_method(method: str, cameras: str) -> None:
    """Raise a UserError unless there is such an method, who can draw under those cameras."""
    if method not in METHODS:
        raise UserError(f"method must be one of {', '.join(METHODS)}, got {method!r}")
    if method == "copies" and cameras != "source":
        raise UserError(f"cameras must be source for method copies, got {cameras!r}")
