"""The mix of a command: which bank, ratio and mode apply when options are left out."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from reid_aug.bank import Bank
from reid_aug.mixing import Mix, parse_min_score, require_same_dataset

if TYPE_CHECKING:
    from reid_aug.stages.stage import Stage


def resolve_mix(
    stage: "Stage",
    ratio: float | None = None,
    mode: str | None = None,
    bank: Path | str | None = None,
    min_score: Iterable[str] = (),
) -> Mix:
    """The real images of the stage's data set, mixed with those of a bank.

    Args:
        ratio: None means the whole bank, 0 means no bank.
        mode: None means the mode of the bank if ``ratio`` is None too, else that of the recipe.
        bank: None means the bank of the run folder.
        min_score: the least scores of the rows that are used, as "NAME=VALUE".

    Raises:
        UserError: If the bank is missing or belongs to another data set or kept set, has too few
            images, or lacks a score.
    """
    data = stage.recipe.data
    source = None if ratio == 0 else Bank(bank or stage.run.find_bank(data.keep))
    require_same_dataset(source, stage.dataset)
    if source and ratio is None:
        ratio, mode = source.attributes.ratio, mode or source.attributes.mode
    mode, least = mode or stage.recipe.synthesize.mode, parse_min_score(min_score)
    images, keep, keep_seed = stage.dataset.train, data.keep, data.keep_seed
    return Mix(images, source, ratio or 0.0, mode, keep, keep_seed, min_score=least)
