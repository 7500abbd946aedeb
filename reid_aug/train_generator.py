"""Train a PATN generator on pairs of images of one person.

One step, as published: the generator draws the target pose and is judged by two discriminators (is
it the same person? is it in the pose?), by the distance to the true picture, and by the distance of
VGG features where weights for them are given; then each discriminator learns from the true picture
and from the drawn one, mixed with older drawings. Beyond the paper, the discriminators can join
late, which makes the steps before much cheaper, and a re-ID network can say whom it sees in a
drawing (:mod:`reid_aug.teacher`).

A step depends on the seed, its number and the networks alone: the pairs of step i, its dropout and
its draws from the image pools all start from (seed, i). So a training state is the tensors and the
step, and a killed run that is started again ends in the same weights, bit for bit on a CPU.

What it leaves behind, and where it goes on: :mod:`reid_aug.training_folder`.
"""

import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from reid_aug.adversary import GAN_LOSSES, Discriminator, ImagePool, Perceptual, gan_loss
from reid_aug.dataset import DataConfig, PersonImage, verify_images
from reid_aug.errors import UserError, require_at_least
from reid_aug.files import locked, sha256
from reid_aug.generator import (
    Generator,
    GeneratorConfig,
    initialise,
    save_generator,
    to_pixels,
    to_signed,
)
from reid_aug.pairs import CAMERAS, Batch, Pairs
from reid_aug.poses import Pose, heatmaps
from reid_aug.progress import track
from reid_aug.provenance import keypoints_sha256, names_sha256, seen_images
from reid_aug.reid_network import load_reid_network
from reid_aug.teacher import Teacher
from reid_aug.training_folder import TrainingFolder


@dataclass(frozen=True, slots=True)
class TrainGeneratorConfig:
    """Schedule and losses; the defaults are the published Market-1501 training.

    ``decay`` is the last part of the steps, over which the learning rate falls to 0, and it changes
    every ``lr_every`` steps (there: 200 of 700 "epochs" of 125 steps). ``vgg`` is the path of
    torchvision's VGG-19 weights; without it the perceptual term is off. ``cameras`` says which
    images of an identity pair: "any" two as published, or two of the "same" camera, so that a
    drawing keeps the look of its source's camera instead of the mean of all. ``flip`` mirrors half
    of the pairs, left and right joints swapped; ``ema`` averages the generator's weights with this
    memory. ``alone`` is the first part of the steps, in which the discriminators neither judge nor
    learn. ``teacher`` is the path of a re-ID network's ``model.safetensors``; without it that term
    is off. ``bf16`` computes in bfloat16 where that is safe.
    """

    steps: int = 87_500
    batch: int = 32
    lr: float = 2e-4
    decay: float = 200 / 700
    lr_every: int = 125
    gan: str = "bce"
    gan_weight: float = 5.0
    l1_weight: float = 10.0
    perceptual_weight: float = 10.0
    vgg: str = ""
    pool: int = 50
    cameras: str = "any"
    discriminator_width: int = 64
    discriminator_blocks: int = 3
    flip: bool = False
    ema: float = 0.0
    alone: float = 0.0
    teacher: str = ""
    teacher_weight: float = 1.0
    bf16: bool = False
    save_every: int = 2_500

    def __post_init__(self) -> None:
        whole = ("steps", "batch", "lr_every", "save_every", "discriminator_width")
        require_at_least(self, 1, *whole)
        weights = ("gan_weight", "l1_weight", "perceptual_weight", "teacher_weight")
        require_at_least(self, 0, "pool", *weights)
        if not 0 < self.lr < math.inf:
            raise UserError(f"lr must be above 0, got {self.lr}")
        if not 0 <= self.decay <= 1:
            raise UserError(f"decay must be a part of the steps in [0, 1], got {self.decay}")
        if not 0 <= self.alone <= 1:
            raise UserError(f"alone must be a part of the steps in [0, 1], got {self.alone}")
        if not 0 <= self.ema < 1:
            raise UserError(f"ema must be at least 0 and below 1, got {self.ema}")
        if self.cameras not in CAMERAS:
            raise UserError(f"cameras must be one of {', '.join(CAMERAS)}, got {self.cameras!r}")
        if self.gan not in GAN_LOSSES:
            raise UserError(f"gan must be one of {', '.join(GAN_LOSSES)}, got {self.gan!r}")

    @property
    def alone_steps(self) -> int:
        """How many steps are done without discriminators."""
        return round(self.alone * self.steps)

    def rate(self, step: int) -> float:
        """Learning rate at a step (counted from 0): constant, then falling to 0 in a line.

        The published schedule: in epoch t (from 1) of ``a`` constant and ``b`` falling ones,
        1 - max(0, t + 1 - a) / (b + 1).
        """
        epochs = math.ceil(self.steps / self.lr_every)
        falling = round(self.decay * epochs)
        late = step // self.lr_every + 2 - (epochs - falling)
        return self.lr * (1 - max(0, late) / (falling + 1)) if falling else self.lr


class Inputs(NamedTuple):
    """What the networks see of a batch: images in [-1, 1], key points, and the camids (B, 2)."""

    image: Tensor
    truth: Tensor
    source: Tensor
    target: Tensor
    cameras: Tensor

    def questions(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """What the generator is asked."""
        return self.image, self.source, self.target, self.cameras

    def conditions(self) -> dict[str, Tensor]:
        """What each discriminator compares a picture with: the source image, the target pose."""
        return {"appearance": self.image, "pose": heatmaps(self.target, *self.image.shape[-2:])}


class Trainer:
    """The generator, its judges, their optimisers and image pools, and one step of them.

    A generator that is alone to the end has no judges.
    """

    def __init__(
        self,
        network: GeneratorConfig,
        config: TrainGeneratorConfig,
        seed: int,
        device: torch.device,
    ) -> None:
        self.config, self.seed, self.device = config, seed, device
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            generator = Generator(network)
            initialise(generator)
            judge = (config.discriminator_width, config.discriminator_blocks)
            style = (network.norm, network.dropout)
            self.networks: dict[str, nn.Module] = {"generator": generator}
            if config.alone_steps < config.steps:
                self.networks["appearance"] = Discriminator(6, *judge, *style)
                self.networks["pose"] = Discriminator(3 + network.joints, *judge, *style)
        for module in self.networks.values():
            module.to(device).to(memory_format=torch.channels_last).train()
        self.optimisers = {name: self._optimiser(module) for name, module in self.networks.items()}
        self.pools = {name: ImagePool(config.pool) for name in self.networks if name != "generator"}
        self.comparisons: dict[str, nn.Module] = {}  # of a drawing with the true picture
        if config.vgg:
            self.comparisons["perceptual"] = Perceptual(config.vgg).to(device)
        if config.teacher:
            self.comparisons["teacher"] = Teacher(config.teacher).to(device)
        self.average = {k: v.clone() for k, v in generator.state_dict().items()}

    def _optimiser(self, module: nn.Module) -> torch.optim.Adam:
        rate, betas = self.config.lr, (0.5, 0.999)
        return torch.optim.Adam(module.parameters(), rate, betas, fused=True)

    @property
    def generator(self) -> Generator:
        """The network that draws."""
        module = self.networks["generator"]
        assert isinstance(module, Generator)
        return module

    def step(self, batch: Batch, number: int) -> dict[str, float]:
        """Train on ``batch`` as step ``number``; the losses, smaller is better."""
        inputs = self._inputs(batch)
        for optimiser in self.optimisers.values():
            for group in optimiser.param_groups:
                group["lr"] = self.config.rate(number)
        rng = np.random.default_rng([self.seed, 2, number])
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
            torch.manual_seed(int(np.random.default_rng([self.seed, 3, number]).integers(2**62)))
            judged = inputs.conditions() if number >= self.config.alone_steps else {}
            generated, losses = self._step_generator(inputs, judged)
            for name, condition in judged.items():
                truth = inputs.truth
                losses[name] = self._step_discriminator(name, generated, truth, condition, rng)
        self._update_average(number)
        return {name: loss.item() for name, loss in losses.items()}

    def _inputs(self, batch: Batch) -> Inputs:
        image, truth, *rest = batch.to(self.device)
        return Inputs(to_signed(image), to_signed(truth), *rest)

    def _step_generator(
        self, inputs: Inputs, judged: Mapping[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        truth = inputs.truth
        with self._precision():
            generated = self.generator.redraw(*inputs.questions()).float()
            losses = {"l1": F.l1_loss(generated, truth)}
            for name, condition in judged.items():
                self.networks[name].requires_grad_(False)  # its gradients would be thrown away
                logits = self.networks[name](torch.cat([generated, condition], 1)).float()
                losses[f"fool_{name}"] = gan_loss(logits, True, self.config.gan)
            for name, compare in self.comparisons.items():
                losses[name] = compare(generated, truth)
        self._descend("generator", self._total(losses))
        return generated.detach(), losses

    def _precision(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.bf16)

    def _total(self, losses: Mapping[str, Tensor]) -> Tensor:
        """The generator's losses, weighted; the discriminators share one weight."""
        config = self.config
        fooled = [loss for name, loss in losses.items() if name.startswith("fool_")]
        total = config.l1_weight * losses["l1"]
        for loss in fooled:
            total = total + config.gan_weight / len(fooled) * loss
        for name in self.comparisons:
            total = total + getattr(config, f"{name}_weight") * losses[name]
        return total

    def _step_discriminator(
        self,
        name: str,
        generated: Tensor,
        truth: Tensor,
        condition: Tensor,
        rng: np.random.Generator,
    ) -> Tensor:
        judge = self.networks[name].requires_grad_(True)
        drawn = self.pools[name].exchange(torch.cat([generated, condition], 1), rng)
        with self._precision():
            true_logits = judge(torch.cat([truth, condition], 1)).float()
            drawn_logits = judge(drawn).float()
        kind = self.config.gan
        loss = gan_loss(true_logits, True, kind) + gan_loss(drawn_logits, False, kind)
        loss = self.config.gan_weight * loss / 2
        self._descend(name, loss)
        return loss

    def _descend(self, name: str, loss: Tensor) -> None:
        self.optimisers[name].zero_grad(set_to_none=True)
        loss.backward()
        self.optimisers[name].step()

    def _update_average(self, number: int) -> None:
        memory = min(self.config.ema, (1 + number) / (10 + number))
        for name, value in self.generator.state_dict().items():
            if value.is_floating_point():
                self.average[name].lerp_(value, 1 - memory)
            else:
                self.average[name].copy_(value)

    def averaged(self) -> Generator:
        """The generator with its averaged weights, in eval mode."""
        generator = Generator(self.generator.config)
        generator.load_state_dict(self.average)
        return generator.to(self.device).to(memory_format=torch.channels_last).eval()

    @torch.no_grad()
    def draw(self, batch: Batch) -> np.ndarray:
        """What the averaged generator draws for ``batch``: (B, H, W, 3) uint8."""
        drawn = self.averaged().redraw(*self._inputs(batch).questions())
        return to_pixels(drawn).cpu().numpy()

    def state(self) -> dict[str, Tensor]:
        """Every tensor that the next step depends on."""
        tensors = {f"average/{key}": value for key, value in self.average.items()}
        for name, module in self.networks.items():
            tensors |= {f"{name}/{key}": value for key, value in module.state_dict().items()}
            for place, slots in self.optimisers[name].state_dict()["state"].items():
                tensors |= {f"{name}.adam/{place}/{key}": value for key, value in slots.items()}
        for name, pool in self.pools.items():
            tensors |= {f"{name}.pool/{i:04d}": image for i, image in enumerate(pool.images)}
        return tensors

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Take the tensors of :meth:`state` back."""
        tensors = {name: tensor.to(self.device) for name, tensor in tensors.items()}
        self.average = dict(_under(tensors, "average/"))
        for name, module in self.networks.items():
            module.load_state_dict(dict(_under(tensors, f"{name}/")))
            weights = list(module.parameters())
            slots: dict[int, dict[str, Tensor]] = {}
            for key, value in _under(tensors, f"{name}.adam/"):
                place, _, slot = key.partition("/")
                slots.setdefault(int(place), {})[slot] = _laid_out(value, weights[int(place)])
            state = self.optimisers[name].state_dict()
            self.optimisers[name].load_state_dict({**state, "state": slots})
        for name, pool in self.pools.items():
            pool.images = [image for _, image in sorted(_under(tensors, f"{name}.pool/"))]


def _laid_out(value: Tensor, weight: Tensor) -> Tensor:
    """``value`` in the memory order of its weight, which the fused step takes for granted."""
    return torch.empty_like(weight).copy_(value) if value.ndim else value


def _under(tensors: Mapping[str, Tensor], prefix: str) -> Iterator[tuple[str, Tensor]]:
    return ((k.removeprefix(prefix), v) for k, v in tensors.items() if k.startswith(prefix))


def pairs_of(
    real: Sequence[PersonImage],
    poses: Mapping[str, Pose],
    data: DataConfig,
    config: TrainGeneratorConfig,
    seed: int,
) -> Pairs:
    """The batches of this training, out of the kept set ``real``."""
    steps, batch = config.steps, config.batch
    return Pairs(real, poses, data, steps, batch, seed, config.cameras, config.flip)


def train_generator(
    pairs: Pairs,
    network: GeneratorConfig,
    config: TrainGeneratorConfig,
    folder: Path,
    notes: Mapping[str, Any],
    device: torch.device,
) -> Path:
    """Train, or go on with a training that was interrupted; the path of the checkpoint.

    Args:
        folder: the run folder.
        notes: what the checkpoint will say about itself. A training state with other notes belongs
            to another training and is refused.

    Raises:
        UserError: If the folder holds another training, an image does not decode, the training
            diverges, or another process is at work in the folder.
    """
    files = TrainingFolder(folder, notes)
    if files.is_finished():
        return files.result
    _check_cameras(pairs, network)
    trainer = Trainer(network, config, pairs.seed, device)
    start, state = files.newest_state()
    if state:
        trainer.restore(state)
    verify_images(pairs.images)
    loader = DataLoader(pairs, batch_size=None, sampler=range(start, config.steps))
    bar = track(loader, "train generator", config.steps, start)
    with locked(folder), files.open_log(start) as log, bar:
        for number, batch in enumerate(bar, start):
            losses = trainer.step(batch, number)
            if not all(map(math.isfinite, losses.values())):
                raise UserError(
                    f"the losses are no longer numbers at step {number + 1}; "
                    f"lower train_generator.lr, and choose another folder with --out"
                )
            line = {"step": number + 1, "lr": config.rate(number), **losses}
            log.write(json.dumps({key: round(value, 6) for key, value in line.items()}) + "\n")
            bar.set_postfix_str(f"l1 {losses['l1']:.3f}", refresh=False)
            if (number + 1) % config.save_every == 0 or number + 1 == config.steps:
                files.save_state(trainer.state(), number + 1)
                samples = pairs.samples()
                files.save_samples(samples, trainer.draw(samples), number + 1)
        curve = files.learning_curve(config.save_every)
        about = {**notes, "step": config.steps, "learning_curve": curve}
        save_generator(trainer.averaged(), files.result, about)
    return files.result


def _check_cameras(pairs: Pairs, network: GeneratorConfig) -> None:
    last = max(image.camid for image in pairs.images)
    if 0 < network.cameras < last:
        raise UserError(
            f"generator.cameras must be 0 (told none) or the largest camid, {last}, "
            f"got {network.cameras}; try --set generator.cameras={last}"
        )


def seconds_per_step(
    pairs: Pairs, network: GeneratorConfig, config: TrainGeneratorConfig, device: torch.device
) -> float:
    """Mean time of a training step with and without discriminators, each the second of two."""
    trainer = Trainer(network, config, pairs.seed, device)
    elapsed = {}
    for is_alone in sorted({number < config.alone_steps for number in (0, config.steps - 1)}):
        for _ in range(2):
            number = 0 if is_alone else config.steps - 1
            began = time.perf_counter()
            trainer.step(pairs[number], number)
            elapsed[is_alone] = time.perf_counter() - began
    alone = config.alone_steps / config.steps
    return alone * elapsed.get(True, 0.0) + (1 - alone) * elapsed.get(False, 0.0)


def training_notes(
    pairs: Pairs,
    network: GeneratorConfig,
    config: TrainGeneratorConfig,
    real: Sequence[PersonImage],
    poses: Mapping[str, Pose],
) -> dict[str, Any]:
    """What a checkpoint says about its training on the kept set ``real``.

    What the teacher has seen, the generator has seen; "" if nobody noted that.
    """
    files = {"vgg": Path(config.vgg).name, "teacher": Path(config.teacher).name}
    recipe = {
        "data": asdict(pairs.data),
        "generator": asdict(network),
        "train_generator": {**asdict(config), **files},
    }
    seen = seen_images(real)
    if config.teacher:
        taught = load_reid_network(config.teacher).seen
        seen = seen + taught if taught else ""
    return {
        "recipe": recipe,
        "seed": pairs.seed,
        "perceptual_term": bool(config.vgg),
        "teacher_sha256": sha256(config.teacher) if config.teacher else None,
        "kept_sha256": names_sha256(real),
        "keypoints_sha256": keypoints_sha256(real, poses),
        "seen": seen,
    }
