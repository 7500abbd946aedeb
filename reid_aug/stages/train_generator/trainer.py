"""The generator, its discriminators, and one training step of them.

One step, as published: the generator generates an image in the target pose. Its losses are those of
two discriminators (is it the same person? is it in the pose?), the distance to the true image, and
the distance of VGG features if their weights are given. Then each discriminator is trained on the
true image and on a generated one, which may come from a pool of older generated images. Beyond the
paper, the discriminators can start late, which makes the steps before much cheaper, and there is an
identity loss (:mod:`reid_aug.stages.train_generator.identity_model`).

A step depends on the seed, its number and the networks only: its dropout and its choice from the
image pools are seeded with (seed, number). So the state of a training consists of tensors and a
step number. On a CPU in single precision, the 3x3 convolutions and their gradients are those of
:mod:`reid_aug.generator.winograd`; with bfloat16 and torch.compile they are PyTorch's.

Several processes can share a step (:mod:`reid_aug.runtime.distributed`). Each computes its part of
the batch, and gradients are averaged, so all have the same weights at every step. The pools hold
generated images of all processes and are the same everywhere. Three things differ per process:
dropout, which is also seeded with the rank; batch norm, which uses the part of the process unless
it is synchronised; and the scale of the feature maps of the identity model.
"""

import contextlib
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reid_aug.data.keypoints import heatmaps
from reid_aug.generator import (
    Generator,
    GeneratorConfig,
    initialise,
    ready_to_train,
    to_pixels,
    to_signed,
)
from reid_aug.generator.adversary import (
    Discriminator,
    ImagePool,
    Perceptual,
    gan_loss,
    initialise_discriminator,
)
from reid_aug.runtime.bfloat16 import require_right_bfloat16
from reid_aug.runtime.distributed import ProcessGroup
from reid_aug.runtime.errors import UserError
from reid_aug.runtime.optimizer_state import adam_tensors, restore_adam, under
from reid_aug.runtime.random_streams import GeneratorStream
from reid_aug.runtime.sync_batch_norm import share_norms
from reid_aug.stages.train_generator.identity_model import IdentityModel
from reid_aug.stages.train_generator.pairs import PairBatch
from reid_aug.stages.train_generator.settings import TrainGeneratorConfig
from reid_aug.stages.train_generator.starting_weights import start_from


class Inputs(NamedTuple):
    """A batch as the networks take it: images in [-1, 1], keypoints, and the camids (B, 2)."""

    image: Tensor
    truth: Tensor
    source: Tensor
    target: Tensor
    cameras: Tensor

    def of_generator(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The inputs of the generator."""
        return self.image, self.source, self.target, self.cameras

    def conditions(self, sigma: float) -> dict[str, Tensor]:
        """The condition of each discriminator: the source image, and the target pose."""
        height, width = self.image.shape[-2:]
        pose = heatmaps(self.target, height, width, sigma)
        return {"appearance": self.image, "pose": pose}


class Trainer:
    """The generator, its discriminators, their optimisers and image pools, and one step of them.

    With ``discriminator_start`` = 1 there are no discriminators.
    """

    def __init__(
        self,
        network: GeneratorConfig,
        config: TrainGeneratorConfig,
        seed: int,
        device: torch.device,
        group: ProcessGroup = ProcessGroup(),
    ) -> None:
        self.config, self.seed, self.device, self.group = config, seed, device, group
        self.networks = build_networks(network, config, seed)
        start_from(self.networks, config)
        if config.compile:
            check_compiler(device)
        for module in self.networks.values():
            if config.sync_batch_norm:
                share_norms(module, group)
            module.to(device).to(memory_format=torch.channels_last).train()
            if config.compile:
                module.compile()
        if device.type == "cpu" and not (config.bf16 or config.compile):
            ready_to_train(self.networks.values())
        self.optimisers = {name: self._optimiser(module) for name, module in self.networks.items()}
        self.pools = {name: ImagePool(config.pool) for name in self.networks if name != "generator"}
        self.comparisons: dict[str, nn.Module] = {}  # of a generated with the true image
        if config.vgg:
            self.comparisons["perceptual"] = Perceptual(config.vgg).to(device)
        if config.identity_model:
            self.comparisons["identity"] = IdentityModel(config.identity_model).to(device)
        self.average = {k: v.clone() for k, v in self.generator.state_dict().items()}

    def _optimiser(self, module: nn.Module) -> torch.optim.Adam:
        rate, betas = self.config.lr, (0.5, 0.999)
        return torch.optim.Adam(module.parameters(), rate, betas, fused=True)

    def check_precision(self, height: int, width: int) -> None:
        """Check the networks' layers in bfloat16, where a training on a CPU asks for it.

        Nothing of the training changes. With shared batch norm all ranks must call it.

        Args:
            height: of the images, in pixels.
            width: of the images, in pixels.

        Raises:
            UserError: If a layer is computed wrong.
        """
        if not self.config.bf16 or self.device.type != "cpu":
            return
        inputs = _noise(self.config.batch // self.group.size, height, width)
        modules = [*self.networks.values(), *self.comparisons.values()]

        def run() -> None:
            """One pass of every network, not compiled."""
            is_compiled, eager = self.config.compile, torch.compiler.set_stance
            with eager("force_eager") if is_compiled else contextlib.nullcontext():
                drawn = self.generator.repose(*inputs.of_generator())
                for name, condition in inputs.conditions(self.generator.config.sigma).items():
                    if name in self.networks:
                        self.networks[name](torch.cat([drawn, condition], 1))
                for compare in self.comparisons.values():
                    compare(drawn, inputs.truth)

        require_right_bfloat16(run, modules, self.device, "train_generator.bf16")

    @property
    def generator(self) -> Generator:
        """The generator."""
        module = self.networks["generator"]
        assert isinstance(module, Generator)
        return module

    def step(self, batch: PairBatch, number: int) -> dict[str, float]:
        """Train on this process's part of a batch as step ``number``.

        Returns:
            The losses, as means over the processes; smaller is better.
        """
        inputs = self._inputs(batch)
        for optimiser in self.optimisers.values():
            for parameters in optimiser.param_groups:
                parameters["lr"] = self.config.rate(number)
        rng = np.random.default_rng([self.seed, GeneratorStream.IMAGE_POOLS, number])
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
            torch.manual_seed(self._dropout_seed(number))
            sigma = self.generator.config.sigma
            conditions_of = (
                inputs.conditions(sigma)
                if number >= self.config.steps_before_discriminators
                else {}
            )
            generated, losses = self._step_generator(inputs, conditions_of)
            for name, condition in conditions_of.items():
                truth = inputs.truth
                losses[name] = self._step_discriminator(name, generated, truth, condition, rng)
        self._update_average(number)
        return self.group.average(losses)

    def _dropout_seed(self, number: int) -> int:
        start = [self.seed, GeneratorStream.DROPOUT, number, self.group.rank]
        return int(np.random.default_rng(start).integers(2**62))

    def _inputs(self, batch: PairBatch) -> Inputs:
        image, truth, *rest = batch.to(self.device)
        return Inputs(to_signed(image), to_signed(truth), *rest)

    def _step_generator(
        self, inputs: Inputs, conditions_of: Mapping[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        truth = inputs.truth
        with self._precision():
            generated = self.generator.repose(*inputs.of_generator()).float()
            losses = {"l1": F.l1_loss(generated, truth)}
            for name, condition in conditions_of.items():
                self.networks[name].requires_grad_(
                    False
                )  # the generator's step needs no gradients of its weights
                logits = self.networks[name](torch.cat([generated, condition], 1)).float()
                losses[f"fool_{name}"] = gan_loss(logits, True, self.config.gan)
            for name, compare in self.comparisons.items():
                losses[name] = compare(generated, truth)
        self._descend("generator", self._total(losses))
        return generated.detach(), losses

    def _precision(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.bf16)

    def _total(self, losses: Mapping[str, Tensor]) -> Tensor:
        """The weighted sum of the generator's losses; the discriminators share one weight."""
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
        discriminator = self.networks[name].requires_grad_(True)
        stacks = self.group.gather(torch.cat([generated, condition], 1))
        pooled = self.pools[name].exchange(stacks, rng)[self.group.part_of(len(stacks))]
        with self._precision():
            true_logits = discriminator(torch.cat([truth, condition], 1)).float()
            generated_logits = discriminator(pooled).float()
        kind = self.config.gan
        loss = gan_loss(true_logits, True, kind) + gan_loss(generated_logits, False, kind)
        loss = self.config.gan_weight * loss / 2
        self._descend(name, loss)
        return loss

    def _descend(self, name: str, loss: Tensor) -> None:
        self.optimisers[name].zero_grad(set_to_none=True)
        loss.backward()
        self.group.average_gradients(self.networks[name].parameters())
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
    def generate(self, batch: PairBatch) -> np.ndarray:
        """The images that the averaged generator makes of ``batch``: (B, H, W, 3) uint8."""
        generated = self.averaged().repose(*self._inputs(batch).of_generator())
        return to_pixels(generated).cpu().numpy()

    def state(self) -> dict[str, Tensor]:
        """Every tensor that the next step depends on."""
        tensors = {f"average/{key}": value for key, value in self.average.items()}
        for name, module in self.networks.items():
            tensors |= {f"{name}/{key}": value for key, value in module.state_dict().items()}
            memory = adam_tensors(self.optimisers[name])
            tensors |= {f"{name}.adam/{key}": value for key, value in memory.items()}
        for name, pool in self.pools.items():
            tensors |= {f"{name}.pool/{i:04d}": image for i, image in enumerate(pool.images)}
        return tensors

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Load the tensors of :meth:`state`."""
        tensors = {name: tensor.to(self.device) for name, tensor in tensors.items()}
        self.average = under(tensors, "average/")
        for name, module in self.networks.items():
            module.load_state_dict(under(tensors, f"{name}/"))
            restore_adam(self.optimisers[name], under(tensors, f"{name}.adam/"))
        for name, pool in self.pools.items():
            pool.images = [image for _, image in sorted(under(tensors, f"{name}.pool/").items())]


def _noise(size: int, height: int, width: int) -> Inputs:
    """Random pairs, on the CPU; images (size, 3, height, width)."""
    random = torch.Generator().manual_seed(0)
    image, truth = (
        to_signed(torch.randint(256, (size, height, width, 3), generator=random).byte())
        for _ in range(2)
    )
    scale = torch.tensor([width, height])
    source, target = (torch.rand(size, 18, 2, generator=random) * scale for _ in range(2))
    return Inputs(image, truth, source, target, torch.ones(size, 2, dtype=torch.int64))


def build_networks(
    network: GeneratorConfig, config: TrainGeneratorConfig, seed: int
) -> dict[str, nn.Module]:
    """The generator and its discriminators with random weights from the seed."""
    discriminator = (
        config.discriminator_width,
        config.discriminator_blocks,
        network.norm,
        network.dropout,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        generator = Generator(network)
        initialise(generator)
        if config.steps_before_discriminators == config.steps:
            return {"generator": generator}
        appearance, pose = (
            Discriminator(6, *discriminator),
            Discriminator(3 + network.joints, *discriminator),
        )
        initialise_discriminator(appearance)
        initialise_discriminator(pose)
        return {"generator": generator, "appearance": appearance, "pose": pose}


def check_compiler(device: torch.device) -> None:
    """Compile a small function, before anything is written.

    Raises:
        UserError: If torch.compile does not work on this machine.
    """
    torch.compiler.reset()
    try:
        torch.compile(torch.relu)(torch.ones(8, device=device))
    except Exception as error:  # the compiler's backends each raise errors of their own
        lines = str(error).strip().splitlines()
        reason = lines[0] if lines else type(error).__name__
        raise UserError(
            f"train_generator.compile needs a compiler for {device.type} (g++, or Triton and gcc), "
            f"and torch.compile failed ({reason[:120]}); install one or leave the key false"
        ) from None
