"""Banks: check, score and show them, hand them on, take in those of others."""

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from reid_aug.cli.declared import declared_options
from reid_aug.cli.options import (
    min_score_option,
    mix_options,
    say,
    stage_of,
    stage_options,
)

if TYPE_CHECKING:
    from reid_aug.runtime.extensions import Declaration

bank_argument = click.argument("file", metavar="[BANK]", required=False)


@click.group()
def bank() -> None:
    """Check, score, show, export and import banks.

    Without BANK it is that of the run folder.
    """


@bank.command()
@bank_argument
@stage_options
def verify(file: str | None, dry_run: bool, **given: Any) -> None:
    """Check every promise and checksum of a bank, and say what it is.

    Prints errors; exit code 2 if there is one. With --data it checks sources and kept set too.
    """
    from reid_aug.bank import Bank
    from reid_aug.stages.bank.verify import verify_bank

    is_known = given["data"] is not None or file is None
    stage = stage_of(given) if is_known else None
    found = Bank(file or _own(stage))
    lines, faults = verify_bank(found, stage.dataset if stage else None)
    for line in (*lines, *(f"error: {fault}" for fault in faults)):
        click.echo(line)
    if faults:
        sys.exit(2)


def _scores() -> "tuple[Declaration, ...]":
    from reid_aug.bank.scores import bank_scores

    return bank_scores()


@bank.command(cls=declared_options(_scores))
@bank_argument
@stage_options
def score(file: str | None, dry_run: bool, weights: dict[str, str], **given: Any) -> None:
    """Score the images of a bank, for --min-score.

    sharpness and novelty need no weights. Every other score is computed if the option of its
    weights is given.
    """
    stage = stage_of(given)
    from reid_aug.bank import Bank
    from reid_aug.runtime.progress import track
    from reid_aug.stages.bank.score import score_bank

    opened = Bank(file or _own(stage))
    if dry_run:
        return say(f"dry run: would score {len(opened)} images of {opened.path}")
    paths = {option: Path(path) for option, path in weights.items()}
    show = partial(track, what="score")
    for name, values in score_bank(opened, stage.dataset, paths, stage.device, show).items():
        low, middle, high = sorted(values)[0], sorted(values)[len(values) // 2], max(values)
        say(f"{name}: {low:.3f} to {high:.3f}, median {middle:.3f}")
    return click.echo(opened.path)


@bank.command()
@bank_argument
@stage_options
@click.option("--by", metavar="SCORE", help="Best and worst by it.  [default: margin if there]")
def show(file: str | None, dry_run: bool, by: str | None, **given: Any) -> None:
    """Show a bank: a contact sheet, and a page with its best and worst images.

    The page, bank.html, holds its pictures itself. It lies in the run folder.
    """
    stage = stage_of(given)
    from reid_aug.bank import Bank
    from reid_aug.bank.contact_sheet import write_contact_sheet
    from reid_aug.data.dataset import kept
    from reid_aug.stages.bank.show import choose_score, write_bank_page

    opened = Bank(file or _own(stage))
    by, path = choose_score(opened, by), stage.run.path / "bank.html"
    if dry_run:
        say(f"dry run: would write {path} and {stage.run.contact_sheet}")
        return
    part, seed = opened.attributes["keep"], int(opened.attributes["keep_seed"])
    real = kept(stage.dataset.train, part, seed)
    write_bank_page(opened, real, path, by)
    write_contact_sheet(opened, real, stage.root, stage.run.contact_sheet)
    say(f"sorted by {by}" if by else "no scores; make them with: reid-aug bank score")
    click.echo(path)


@bank.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@stage_options
@mix_options
@min_score_option
@click.option("--bank", "file", metavar="FILE", help="Bank.  [default: the run folder's]")
@click.option("--mix", "with_real", is_flag=True, help="With the real images of the mix.")
def export(
    folder: Path,
    file: str | None,
    dry_run: bool,
    ratio: float | None,
    mode: str | None,
    min_score: tuple[str, ...],
    with_real: bool,
    **given: Any,
) -> None:
    """Write a bank to DIR as a data set in Market-1501 layout, with query and gallery.

    Without --ratio the whole bank. Generated images have "s9" in their names.
    """
    stage = stage_of(given)
    from reid_aug.bank import Bank
    from reid_aug.mixing import Mix, parse_min_score
    from reid_aug.runtime.progress import track
    from reid_aug.stages.bank.export import export_bank

    source, data = Bank(file or _own(stage)), stage.recipe.data
    if ratio is None:
        ratio, mode = source.attributes["ratio"], mode or source.attributes["mode"]
    mode, least = mode or stage.recipe.synthesize.mode, parse_min_score(min_score)
    mix = Mix(stage.dataset.train, source, ratio, mode, data.keep, data.keep_seed, least)
    say(f"{mix.generated} generated images{mix.note}")
    if dry_run:
        return
    count = export_bank(
        mix, stage.dataset, stage.poses, folder, with_real, lambda rows: track(rows, "export")
    )
    say(f"{count} training images")
    click.echo(folder)


@bank.command("import")
@click.argument("images", metavar="IMAGES", type=click.Path(path_type=Path))
@stage_options
@click.option("--csv", "table", metavar="FILE", help="file, pid, camid, source, target.")
@click.option("--name", default="imported", show_default=True, help="Generator, for tables.")
@click.option(
    "--trained-on", default="whole", show_default=True, help="kept, external or whole data set."
)
def import_(
    images: Path, dry_run: bool, table: str | None, name: str, trained_on: str, **given: Any
) -> None:
    """Make a bank of the generated images of others, in the folder IMAGES.

    Who they show is in their names (0002_c1s1_000451_03.jpg) or in a CSV.
    """
    stage = stage_of(given)
    from reid_aug.bank import Bank
    from reid_aug.bank.card import write_card
    from reid_aug.stages.bank import import_ as verb

    found = verb.read_csv(Path(table), images) if table else verb.read_names(images)
    say(f"{len(found)} images")
    if dry_run:
        return
    path, data = stage.run.bank, stage.recipe.data
    verb.import_bank(found, stage.dataset, stage.poses, data, path, name, trained_on)
    write_card(Bank(path), stage.root, {"method": name, "imported_from": str(table or images)})
    click.echo(path)


def _own(stage: Any) -> Path:
    return stage.run.find_bank(stage.recipe.data.keep)
