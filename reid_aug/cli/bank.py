"""Banks: verify, score and show them; export them, and import generated images of others."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from reid_aug.cli.declared import declared_options
from reid_aug.cli.options import (
    bank_option,
    min_score_option,
    mix_options,
    perform,
    stage_of,
    stage_options,
)

if TYPE_CHECKING:
    from reid_aug.bank import Bank
    from reid_aug.data.dataset import Dataset
    from reid_aug.runtime.extensions import Declaration

file_type = click.Path(path_type=Path)


@click.group()
def bank() -> None:
    """Verify, score, show, export and import banks."""


@bank.command()
@bank_option
@stage_options("seed", "device", "keypoints", "dry_run")
def verify(bank: str | None, **given: Any) -> None:
    """Check the contents and checksums of a bank, and describe it.

    Prints errors; the exit code is 2 if there is one. With --data, source images and kept set are
    checked too; with --keep, that the bank is of that kept set.
    """
    from reid_aug.stages.bank.verify import verify_bank

    lines, faults = verify_bank(*_to_verify(bank, given))
    for line in (*lines, *(f"error: {fault}" for fault in faults)):
        click.echo(line)
    if faults:
        sys.exit(2)


def _to_verify(file: str | None, given: dict[str, Any]) -> "tuple[Bank, Dataset | None]":
    """The bank, and the data set where one is named or the bank is that of a run folder."""
    from reid_aug.bank import Bank
    from reid_aug.stages.bank.opening import check_kept_set, open_bank
    from reid_aug.stages.stage import recipe_of

    if file and given["data"] is None:
        bank, options = Bank(file), {"data.keep": given["keep"]}
        check_kept_set(bank, recipe_of(given["recipe"], given["settings"], options))
        return bank, None
    stage = stage_of(given)
    return open_bank(stage, file), stage.dataset


def _scores() -> "tuple[Declaration, ...]":
    from reid_aug.bank.scores import bank_scores

    return bank_scores()


@bank.command(cls=declared_options(_scores))
@bank_option
@stage_options("seed", "keypoints")
def score(bank: str | None, dry_run: bool, weights: dict[str, str], **given: Any) -> None:
    """Score every image of a bank, for --min-score.

    The scores sharpness and novelty need no weights. Every other score is computed if the option of
    its weights is given.
    """
    stage = stage_of(given)
    from reid_aug.stages.bank.score import prepare

    paths = {option: Path(path) for option, path in weights.items()}
    perform(prepare(stage, bank, paths), stage, dry_run)


@bank.command()
@bank_option
@stage_options("seed", "device", "keypoints")
@click.option(
    "--by",
    metavar="SCORE",
    help="The score that sorts the images.  [default: margin, identity, pose or sharpness, the "
    "first that the bank has]",
)
def show(bank: str | None, dry_run: bool, by: str | None, **given: Any) -> None:
    """Write a contact sheet and a page of a bank.

    Both are written into the run folder. The page, bank.html, includes its pictures.
    """
    stage = stage_of(given)
    from reid_aug.stages.bank.show import prepare

    perform(prepare(stage, bank, by), stage, dry_run)


@bank.command()
@click.argument("folder", metavar="DIR", type=file_type)
@stage_options("seed", "device")
@mix_options
@min_score_option
@bank_option
@click.option(
    "--mix", "with_real", is_flag=True, help="Write the real training images of the mix too."
)
@click.option(
    "--layout",
    metavar="NAME",
    default="market1501",
    show_default=True,
    help="The layout: market1501, or folders, a folder per identity as ImageFolder reads it.",
)
def export(
    folder: Path,
    bank: str | None,
    dry_run: bool,
    ratio: float | None,
    mode: str | None,
    min_score: tuple[str, ...],
    with_real: bool,
    layout: str,
    **given: Any,
) -> None:
    """Write a bank to DIR as a data set, with query and gallery.

    The layout is that of Market-1501, or one folder per identity. Without --ratio, the whole bank
    is written. The file names of generated images contain "s9".
    """
    stage = stage_of(given)
    from reid_aug.stages.bank.export import prepare

    job = prepare(stage, folder, ratio, mode, bank, min_score, with_real, layout)
    perform(job, stage, dry_run)


@bank.command("import")
@click.argument("images", metavar="IMAGES", type=file_type)
@stage_options("seed", "device")
@click.option(
    "--csv",
    "table",
    metavar="FILE",
    type=file_type,
    help="A table of the images with the columns file, pid, camid, source, target.  "
    "[default: read pid and camid from the file names]",
)
@click.option(
    "--name",
    default="imported",
    show_default=True,
    help="The name of the generator in tables.",
)
@click.option(
    "--trained-on",
    default="whole",
    show_default=True,
    help="The images that trained the generator: kept (the kept set only), whole (the data set) or "
    "external (other data).",
)
def import_(
    images: Path, dry_run: bool, table: Path | None, name: str, trained_on: str, **given: Any
) -> None:
    """Make a bank of a folder of images generated elsewhere.

    Pid and camid of an image come from its name or from a CSV. Names are those of Market-1501
    (0002_c1s1_000451_03.jpg) or those that PATN, PIDM, PCDMs, DG-Market or CamStyle give, also in
    subfolders, as those of Pose2ID.
    """
    stage = stage_of(given)
    from reid_aug.stages.bank.import_ import prepare

    perform(prepare(stage, images, table, name, trained_on), stage, dry_run)
