"""One step of a re-ID training, and the state between two steps.

A step is torchreid's (loss, gradients and update of its softmax engine) with optional additions:
the triplet loss, a policy for generated images, bfloat16. It depends on the seed, its number and
the tensors of the state only: dropout is seeded with (seed, number), and the learning rate is a
function of the number. So a state consists of these tensors and the number of steps.

Several processes can share a step (:mod:`reid_aug.runtime.distributed`). Each computes the outputs
of its part of the batch, the outputs of all are gathered, and every process computes the loss of
the whole batch, with its hardest pairs and weights. Batch norm uses the whole batch too. So several
processes train the same network as one.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from reid_aug.runtime.bfloat16 import require_right_bfloat16
from reid_aug.runtime.distributed import ProcessGroup
from reid_aug.runtime.optimizer_state import adam_tensors, restore_adam, under
from reid_aug.runtime.random_streams import ReidStream
from reid_aug.runtime.sync_batch_norm import share_norms
from reid_aug.stages.train_reid.losses import identity_loss, triplet_loss
from reid_aug.stages.train_reid.settings import TrainReidConfig


def check_precision(
    model: nn.Module, config: TrainReidConfig, device: torch.device, size: int
) -> None:
    """Check the network's layers in bfloat16, where a training on a CPU asks for it.

    Args:
        model: as that of :class:`ReidTrainer`, before it; nothing of it changes.
        size: images of a batch, of one rank.

    Raises:
        UserError: If a layer is computed wrong.
    """
    if not config.bf16 or device.type != "cpu":
        return
    random = torch.Generator().manual_seed(0)
    images = torch.randn(size, 3, config.height, config.width, generator=random)
    require_right_bfloat16(lambda: model(images), [model], device, "train_reid.bf16")


class ReidTrainer:
    """A network, its optimiser, and one step of them.

    Args:
        model: maps (B, 3, H, W) in training mode to logits, or to (logits, features) if there is a
            triplet loss. Logits are (B, K), or several such tensors, whose losses are averaged.
        group: the processes that train together; batches hold the part of this process.
    """

    def __init__(
        self,
        model: nn.Module,
        config: TrainReidConfig,
        seed: int,
        device: torch.device,
        group: ProcessGroup = ProcessGroup(),
    ) -> None:
        self.config, self.seed, self.device, self.group = config, seed, device, group
        share_norms(model, group)
        self.model = model.to(device)
        self.model.train()
        weights = [weight for weight in model.parameters() if weight.requires_grad]
        betas, decay = (0.9, config.beta2), config.weight_decay
        self.optimiser = torch.optim.Adam(weights, config.lr, betas, weight_decay=decay, fused=True)

    def step(self, batch: Mapping[str, Any], number: int) -> dict[str, Tensor]:
        """Train on a batch as step ``number``, counted from 0.

        Returns:
            The losses of the whole batch, the accuracy in per cent, the number of generated images.

        Args:
            batch: "img" (B, 3, H, W), "pid" (B,) classes, "is_generated" (B,) bool.
        """
        for parameters in self.optimiser.param_groups:
            parameters["lr"] = self.rate(number)
        images, labels, is_generated = (
            batch[key].to(self.device, non_blocking=True) for key in ("img", "pid", "is_generated")
        )
        self._seed(number)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.bf16):
            outputs = self.model(images)
        logits, features = self._parts(outputs)
        labels = self.group.gather(labels)
        is_generated = self.group.gather(is_generated.long()) > 0
        losses = self._losses(logits, features, labels, is_generated)
        self.optimiser.zero_grad(set_to_none=True)
        losses["loss"].backward()
        self.group.average_gradients(self.model.parameters())
        self.optimiser.step()
        hits = (logits[0].detach().argmax(1) == labels).float().mean()
        counts = {"acc": 100 * hits, "generated": is_generated.sum()}
        return {name: loss.detach() for name, loss in losses.items()} | counts

    def rate(self, number: int) -> float:
        """The learning rate of a step."""
        return self.config.lr * self.config.rate(number)

    def _seed(self, number: int) -> None:
        key = [self.seed, ReidStream.DROPOUT, number, self.group.rank]
        start = int(np.random.default_rng(key).integers(2**62))
        torch.default_generator.manual_seed(start)
        if self.device.type == "cuda":
            torch.cuda.manual_seed(start)

    def _parts(self, outputs: Any) -> tuple[Sequence[Tensor], Tensor | None]:
        """A list of logits, and the features if there is a triplet loss."""
        logits, features = outputs if self.config.triplet_weight else (outputs, None)
        several = [logits] if isinstance(logits, Tensor) else logits
        whole = None if features is None else self._whole(features)
        return [self._whole(one) for one in several], whole

    def _whole(self, output: Tensor) -> Tensor:
        """An output of all processes, in single precision; gradients flow back to each process."""
        output = output.float() if self.config.bf16 else output
        return self.group.stack(output).flatten(0, 1) if self.group.size > 1 else output

    def _losses(
        self,
        logits: Sequence[Tensor],
        features: Tensor | None,
        labels: Tensor,
        is_generated: Tensor,
    ) -> dict[str, Tensor]:
        config = self.config
        each = [identity_loss(one, labels, is_generated, config) for one in logits]
        identity = torch.stack(each).mean()
        if features is None:
            return {"loss": identity}
        takes_part = ~is_generated | config.generated_triplet
        triplet = triplet_loss(features, labels, takes_part, config.triplet_margin)
        total = identity + config.triplet_weight * triplet
        return {"loss": total, "identity": identity, "triplet": triplet}

    def state(self) -> dict[str, Tensor]:
        """Every tensor that the next step depends on."""
        weights = {f"model/{name}": tensor for name, tensor in self.model.state_dict().items()}
        memory = {f"adam/{name}": tensor for name, tensor in adam_tensors(self.optimiser).items()}
        return weights | memory

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Load the tensors of :meth:`state`."""
        self.model.load_state_dict(under(tensors, "model/"))
        restore_adam(self.optimiser, under(tensors, "adam/"))
