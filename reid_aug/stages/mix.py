"""The mix of a command: which bank, ratio and mode apply when options are left out."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from reid_aug.bank import Bank
from reid_aug.bank.card import noted_generator
from reid_aug.bank.plan import IMPORTED
from reid_aug.bank.scores import needs_of_scores
from reid_aug.generator import DEMO, demo_generator
from reid_aug.mixing import (
    Mix,
    TooFewImagesError,
    effective_keep,
    parse_min_score,
    require_same_dataset,
)
from reid_aug.runtime.errors import UserError, nearest
from reid_aug.runtime.files import sha256

SIZE_KEYS = ("height", "width")

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
        UserError: If there is no such score, or if the bank is missing or belongs to another data
            set or kept set, has too few images, or lacks a score.
    """
    data, least = stage.recipe.data, parse_min_score(min_score)
    _check_names(least)
    if ratio is not None:
        effective_keep(ratio, mode or stage.recipe.synthesize.mode, data.keep)  # before a bank
    source = None if ratio == 0 else Bank(bank or stage.run.find_bank(data.keep))
    require_same_dataset(source, stage.dataset)
    if source and ratio is None:
        ratio, mode = source.attributes.ratio, mode or source.attributes.mode
    mode = mode or stage.recipe.synthesize.mode
    images, keep, keep_seed = stage.dataset.train, data.keep, data.keep_seed
    try:
        return Mix(images, source, ratio or 0.0, mode, keep, keep_seed, min_score=least)
    except TooFewImagesError as error:
        assert source is not None
        raise _with_settings(error, source, stage) from None


def _check_names(scores: Iterable[str]) -> None:
    """Refuse a score that neither this package nor an installed one declares."""
    for name in scores:
        if name not in (known := sorted(needs_of_scores())):
            raise UserError(
                f"--min-score: {name!r} is none of the scores {', '.join(known)}"
                f"{nearest(name, known)}"
            )


def _with_settings(error: TooFewImagesError, bank: Bank, stage: "Stage") -> UserError:
    """The error with everything in its remedy that the recipe in use does not say of the bank."""
    assert error.remedy is not None
    about, plan, recipe = bank.attributes, bank.plan.as_dict(), stage.recipe
    options: dict[str, str | Sequence[str]] = {**error.remedy.options}
    if plan["poses"] == IMPORTED:
        return UserError(f"{error.text}; import more images into another folder with --out")
    if about.seed != recipe.seed or "seed" in recipe.given:
        options["seed"] = str(about.seed)
    if checkpoint := _checkpoint_of(bank, stage.run.generator):
        options["generator"] = checkpoint
    now = {**asdict(recipe.data), **asdict(recipe.synthesize)}
    own = [
        f"{'data' if key in SIZE_KEYS else 'synthesize'}.{key}={value}"
        for key, value in plan.items()
        if key in now and now[key] != value
    ]
    kept = options.get("set", ())
    options["set"] = [*([kept] if isinstance(kept, str) else kept), *own]
    return UserError(error.text, replace(error.remedy, options=options))


def _checkpoint_of(bank: Bank, own: Path) -> str | None:
    """The generator of a bank, as ``--generator`` takes it.

    None where it is ``own``, which the command finds itself, or nothing is known of it.
    """
    wanted = bank.attributes.generator_sha256
    if wanted == sha256(demo_generator()):
        return DEMO
    if own.is_file() and sha256(own) == wanted:
        return None
    noted = noted_generator(bank.path)
    return str(noted) if noted and noted.is_file() and sha256(noted) == wanted else None
