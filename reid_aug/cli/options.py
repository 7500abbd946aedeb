"""Options that several commands share, and the messages before and after their work."""

import functools
import json
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    import torch

    from reid_aug.stages.job import Job
    from reid_aug.stages.stage import Stage

Command = Callable[..., Any]


def options(*parts: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """Several options as one decorator, in the order given."""
    return lambda command: functools.reduce(lambda made, part: part(made), reversed(parts), command)


def fraction(text: str) -> float:
    """The number of a text, also in per cent.

    >>> fraction("50%"), fraction("0.5")
    (0.5, 0.5)
    """
    try:
        return float(text[:-1]) / 100 if text.endswith("%") else float(text)
    except ValueError:
        raise click.BadParameter(f"must be a number, as 0.5 or 50%, got {text!r}") from None


STAGE_OPTIONS = {
    "recipe": click.option(
        "--recipe",
        metavar="NAME|FILE",
        help="The recipe: one of the package, or a TOML file.  [default: demo]",
    ),
    "data": click.option(
        "--data",
        metavar="DIR|CSV",
        help="The data set: a folder in any layout that is read, or a manifest.  "
        "[default: the built-in people]",
    ),
    "out": click.option(
        "--out",
        metavar="DIR",
        help="The run folder, for all results.  [default: runs/NAME, the name of the folder of the "
        "data set, or of the recipe without --data]",
    ),
    "device": click.option(
        "--device",
        metavar="D",
        help="The device that computes: cpu, cuda or cuda:N.  [default: cuda if available]",
    ),
    "keypoints": click.option(
        "--keypoints",
        metavar="FILE",
        help="The keypoints of the data set.  [default: keypoints.csv of the run folder or DIR]",
    ),
    "settings": click.option(
        "--set",
        "settings",
        metavar="TABLE.KEY=VALUE",
        multiple=True,
        help="Set any key of the recipe; may be repeated.  [default: the recipe's values]",
    ),
    "dry_run": click.option(
        "--dry-run", is_flag=True, help="Print what the command would do and cost; write nothing."
    ),
    "seed": click.option(
        "--seed",
        type=int,
        metavar="N",
        help="The seed of all random numbers.  [default: the recipe's]",
    ),
    "keep": click.option(
        "--keep",
        type=fraction,
        metavar="P",
        help="The fraction of the real training images that is used, in (0, 1].  "
        "[default: the recipe's]",
    ),
}
device_option, dry_run_option = STAGE_OPTIONS["device"], STAGE_OPTIONS["dry_run"]


def stage_options(*unused: str) -> Callable[[Command], Command]:
    """The options of a command on a data set and a run folder.

    Args:
        unused: names of ``STAGE_OPTIONS`` that the command does not use. It does not have them, so
            giving one is an error.
    """
    return options(*(one for name, one in STAGE_OPTIONS.items() if name not in unused))


mix_options = options(
    click.option(
        "--ratio",
        type=fraction,
        metavar="R",
        help="In mode supplement, generated images per real image, 0 or more. In mode replace, the "
        "fraction of the real images that generated ones replace, in [0, 1).  [default: the whole "
        "bank, or the recipe's to make one]",
    ),
    click.option(
        "--mode",
        metavar="MODE",
        help="supplement (add generated images to the real ones) or replace.  [default: the "
        "bank's without --ratio, else the recipe's]",
    ),
)
min_score_option = click.option(
    "--min-score",
    metavar="NAME=VALUE",
    multiple=True,
    help="Use only generated images whose score NAME is VALUE or more; may be repeated.  "
    "[default: use all]",
)
generator_option = click.option(
    "--generator",
    metavar="FILE|demo",
    help="The checkpoint of the generator; demo is the one of the package.  "
    "[default: that of the run folder]",
)
bank_option = click.option(
    "--bank",
    metavar="FILE",
    help="The bank of generated images.  [default: that of the run folder]",
)


def stage_of(given: dict[str, Any], own: dict[str, Any] | None = None) -> "Stage":
    """The stage of a command's options; defaults that matter are reported on stderr.

    Args:
        given: the values of :func:`stage_options`.
        own: values of other options by their key in a recipe.
    """
    from reid_aug.stages.stage import open_stage

    keys = {"seed": given.pop("seed", None), "data.keep": given.pop("keep", None), **(own or {})}
    stage = open_stage(**given, options=keys)
    if stage.is_demo:
        say(f"no --data: the built-in people in {stage.root}")
    say_notes(stage)
    return stage


def stage_of_training(given: dict[str, Any], own: dict[str, Any] | None = None) -> "Stage":
    """As :func:`stage_of`, for a command that the recipe governs: its default is reported too."""
    stage = stage_of(given, own)
    if not stage.is_demo and not given["recipe"]:
        say(
            "no --recipe: recipe demo (small networks); for a study: --recipe "
            "market1501-small (CPU) or market1501 (GPU)"
        )
    return stage


def say_notes(stage: "Stage") -> None:
    """Print what a user must know of the files of the data set, as those that are ignored."""
    for note in stage.dataset.notes:
        say(note)


def perform(job: "Job", stage: "Stage", dry_run: bool, *tables: str) -> None:
    """Describe a job, then run it and print the path of its result; a dry run prints its cost.

    Args:
        tables: the tables of the recipe that the job uses, beside ``[data]``.
    """
    from reid_aug.runtime.progress import is_first_rank

    say(job.describe())
    if not dry_run:
        path = job.run()
        if is_first_rank():
            say(job.outcome())
            click.echo(path)
    elif is_first_rank():
        say_cost(job, stage, *tables)


def perform_alone(job: "Job", device: str | None, dry_run: bool) -> None:
    """As :func:`perform`, for a job without a recipe and a run folder.

    Args:
        device: the value of ``--device``.
    """
    from reid_aug.stages.stage import choose_device

    say(job.describe())
    if dry_run:
        click.echo(_forecast(job, choose_device(device)))
        return click.echo("dry run: nothing was written")
    path = job.run()
    say(job.outcome())
    return click.echo(path)


def say_cost(job: "Job", stage: "Stage", *tables: str) -> None:
    """Print the resolved recipe, the file that a job would write, and its cost.

    Args:
        tables: as for :func:`perform`.
    """
    say_dry_run(stage, tables, _forecast(job, stage.device))


def _forecast(job: "Job", device: "torch.device") -> str:
    """The file that a job would write and its cost, or that nothing is left to do."""
    if job.is_done():
        return f"nothing to do: {job.path} exists"
    return f"would write {job.path}: {job.cost(device).describe(device)}"


def say(text: str) -> None:
    """Print a line that is not a result to stderr; of several processes, only the first does."""
    from reid_aug.runtime.progress import is_first_rank

    if text and is_first_rank():
        click.echo(text, err=True)


def say_dry_run(stage: "Stage", tables: Collection[str], *lines: str) -> None:
    """Print the resolved recipe and what the command would do.

    Args:
        tables: the tables of the recipe that the command uses, beside ``[data]``.
    """
    used = {"name", "seed", "data", *tables, *(["people"] if stage.is_demo else [])}
    shown = {key: value for key, value in stage.recipe.table().items() if key in used}
    click.echo(json.dumps(shown, indent=1))
    for line in lines:
        click.echo(line)
    click.echo("dry run: no run folder was touched")
