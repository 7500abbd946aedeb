"""The bank that a command works on, and whether it is the one that the options describe."""

from pathlib import Path
from typing import TYPE_CHECKING

from reid_aug.bank import Bank
from reid_aug.runtime.errors import UserError

if TYPE_CHECKING:
    from reid_aug.stages.recipe import Recipe
    from reid_aug.stages.stage import Stage


def open_bank(stage: "Stage", file: Path | str | None = None) -> Bank:
    """The bank in ``file``, or that of the run folder if None.

    Raises:
        UserError: If it is missing or damaged, or of another kept set than the options name.
    """
    bank = Bank(file or stage.run.find_bank(stage.recipe.data.keep))
    check_kept_set(bank, stage.recipe)
    return bank


def check_kept_set(bank: Bank, recipe: "Recipe") -> None:
    """Raise a UserError if the recipe or an option names another kept set than the bank's.

    A bank of mode replace has the kept set 1 - ratio of the whole training set, keep 1.
    """
    about, data = bank.attributes, recipe.data
    whole = {1.0} if about.mode == "replace" else set()
    if "data.keep" in recipe.given and data.keep not in {about.keep, *whole}:
        raise UserError(
            f"{bank.path}: must be a bank of keep {data.keep:g}, got one of keep "
            f"{about.keep:g}; name its own with --keep {about.keep:g}, or another bank with "
            f"--bank FILE"
        )
    if "data.keep_seed" in recipe.given and data.keep_seed != about.keep_seed:
        raise UserError(
            f"{bank.path}: must be a bank of data.keep_seed {data.keep_seed}, got one of keep_seed "
            f"{about.keep_seed}; name another bank with --bank FILE"
        )
