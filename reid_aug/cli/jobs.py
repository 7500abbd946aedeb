"""What commands do with the job of a stage: describe it in a dry run."""

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from reid_aug.cli.options import duration, say_dry_run

if TYPE_CHECKING:
    import torch

    from reid_aug.stages.stage import Stage


class CostedJob(Protocol):
    """The part of a stage's job that a dry run needs."""

    @property
    def path(self) -> Path:
        """The file that the job writes."""
        ...

    def cost(self, device: "torch.device") -> tuple[float, int]:
        """Estimated seconds on ``device``, and bytes on the disk."""
        ...


def say_job_dry_run(
    stage: "Stage", job: CostedJob, *lines: str, tables: Collection[str] = ()
) -> None:
    """Print the resolved recipe, ``lines``, the file that would be written, and its cost.

    Args:
        tables: the tables of the recipe that the job uses, beside ``[data]``.
    """
    seconds, size = job.cost(stage.device)
    cost = f"about {duration(seconds)} on {stage.device}, {size / 1e6:.1f} MB"
    say_dry_run(stage, tables, *lines, f"would write {job.path}: {cost}")
