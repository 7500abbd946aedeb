"""The method "generator": images from a generator checkpoint (PATN or another architecture)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from reid_aug.bank.methods.background import over_target
from reid_aug.bank.methods.base import Method, Scene
from reid_aug.bank.plan import PlannedRow
from reid_aug.data.provenance import LeakStatus, leak_status, recorded_fingerprints
from reid_aug.generator import load_with_metadata, ready_to_generate, to_pixels, to_signed
from reid_aug.runtime.errors import UserError
from reid_aug.runtime.files import sha256


class GeneratorMethod(Method):
    """Generates each row from its source, both poses and, if the generator uses them, cameras.

    Raises:
        UserError: If there is no checkpoint, it was trained on test images, or it is not
            camera-conditioned and ``cameras`` is "target".
    """

    name = "generator"
    label = "generator"
    needs_checkpoint = True
    uses_jitter = True
    moves_cameras = True
    uses_background = True

    def __init__(self, scene: Scene, cameras: str, checkpoint: Path | None) -> None:
        super().__init__(scene, cameras, checkpoint)
        if checkpoint is None:
            raise UserError(f"method {self.name} needs a generator; name one with --generator FILE")
        self.generator, metadata = load_with_metadata(checkpoint)
        if cameras == "target" and not self.generator.config.cameras:
            raise UserError(
                f"{checkpoint}: the generator must be camera-conditioned for synthesize.cameras "
                f"target, got generator.cameras 0; generate with synthesize.cameras source, or "
                f"train a generator with generator.cameras above 0"
            )
        if self.generator.config.cameras and not scene.dataset.has_cameras:
            raise UserError(
                f"{checkpoint}: the generator must not be camera-conditioned for images without "
                f"camera labels, got generator.cameras {self.generator.config.cameras}"
            )
        self.sha256 = sha256(checkpoint)
        self.trained_on = recorded_fingerprints(metadata)
        self.generator_data = leak_status(self.trained_on, scene.dataset, scene.real)
        status = LeakStatus.read(self.generator_data)
        self.description = f"generator {checkpoint}, trained on: {status.explained}"
        if not metadata.get("vgg_sha256"):
            self.description += ", perceptual loss off"

    def to(self, device: torch.device) -> None:
        super().to(device)
        ready_to_generate(self.generator, device)

    def read(self, rows: Sequence[PlannedRow]) -> Any:
        """Pixels (B, H, W, 3), poses (2, B, 18, 2) and camids (B, 2) of sources and targets.

        With the background of the target, the pixels of the targets too, (B, H, W, 3).
        """
        camids = np.array([[row.source.camid, row.camid] for row in rows])
        scenes = [self.targets(rows)] if self.scene.background == "target" else []
        return self.sources(rows), self.poses(rows), camids, *scenes

    @torch.inference_mode()
    def compute(self, material: Any) -> np.ndarray:
        moved = (torch.from_numpy(part).to(self.device) for part in material)
        pixels, (source, target), camids, *scenes = moved
        generated = self.generator.repose(to_signed(pixels), source, target, camids)
        for scene in scenes:
            generated = over_target(generated.float(), to_signed(scene), target)
        return to_pixels(generated).cpu().numpy()

    def finish(self, images: np.ndarray, rows: Sequence[PlannedRow]) -> np.ndarray:
        return self.relit(images, rows, self.scene.jitter)
