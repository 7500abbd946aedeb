"""The shape of every stage: its ``prepare`` returns a job, which has the same methods everywhere.

``prepare`` reads and checks everything and resolves every default. It writes nothing.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

import torch

from reid_aug.stages.cost import Cost

if TYPE_CHECKING:
    from reid_aug.runtime.progress import tqdm

T = TypeVar("T")


class Progress(Protocol):
    """Shows how far an iteration is, as :func:`reid_aug.runtime.progress.track` does."""

    def __call__(
        self, items: Iterable[T], what: str, total: int | None = None, start: int = 0
    ) -> "tqdm[T]":
        """The items again, in a progress bar.

        Args:
            what: the title of the bar, as "train generator".
            total: number of items, where ``items`` has no length.
            start: number of items that were done before.
        """


class Job(ABC):
    """The work of a stage, ready to run.

    A job inherits from this class. :meth:`is_done` and :meth:`outcome` have a default.
    """

    @property
    @abstractmethod
    def path(self) -> Path:
        """The file or folder that :meth:`run` writes."""

    @abstractmethod
    def describe(self) -> str:
        """What the job does, as text; whether it is done already."""

    @abstractmethod
    def cost(self, device: torch.device) -> Cost:
        """Time and disk space of the whole job, measured on one step."""

    @abstractmethod
    def run(self, progress: Progress | None = None) -> Path:
        """Do the work, or the rest of it after an interruption; the path of the result.

        Args:
            progress: replaces the progress bar on stderr.

        Raises:
            UserError: If the work cannot be done in this run folder.
        """

    def is_done(self) -> bool:
        """Whether the result is known to exist already.

        Raises:
            UserError: If it is that of another job.
        """
        return False

    def outcome(self) -> str:
        """The result as text; "" if its path is all there is to report."""
        return ""
