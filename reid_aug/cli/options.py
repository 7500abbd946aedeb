"""What the commands share: options, and what they say before and after their work."""

import functools
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from reid_aug.stages.recipe import Recipe
    from reid_aug.stages.stage import Stage

Command = Callable[..., Any]


def options(*parts: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """Several options as one decorator, in the order given."""
    return lambda command: functools.reduce(lambda made, part: part(made), reversed(parts), command)


run_options = options(
    click.option("--data", metavar="DIR", help="Data set in Market-1501 layout."),
    click.option("--out", metavar="DIR", help="Run folder.  [default: runs/NAME]"),
    click.option("--device", metavar="D", help="cpu, cuda or cuda:N.  [default: cuda if there]"),
    click.option("--keypoints", metavar="FILE", help="Key points.  [default: DATA/keypoints.csv]"),
    click.option(
        "--set", "settings", metavar="TABLE.KEY=VALUE", multiple=True, help="Any key of the recipe."
    ),
    click.option("--dry-run", is_flag=True, help="Say what would be done, and what it costs."),
)
stage_options = options(
    click.option("--recipe", metavar="NAME|FILE", help="Recipe.  [default: demo]"),
    run_options,
    click.option("--seed", type=int, metavar="N", help="Seed of all that is drawn."),
    click.option("--keep", type=float, metavar="P", help="Part of the real images that is kept."),
)
mix_options = options(
    click.option(
        "--ratio",
        type=float,
        metavar="R",
        help="Generated images a real one; in replace, the part.",
    ),
    click.option("--mode", metavar="MODE", help="supplement (add) or replace."),
)
min_score_option = click.option(
    "--min-score",
    metavar="NAME=VALUE",
    multiple=True,
    help="Use rows with this score or more only.",
)
generator_option = click.option(
    "--generator", metavar="FILE|demo", help="Generator.  [default: the run folder's]"
)


def stage_of(given: dict[str, Any], own: dict[str, Any] | None = None) -> "Stage":
    """The stage of a command's options; says on stderr what was taken for granted."""
    from reid_aug.stages.stage import open_stage

    keys = {"seed": given.pop("seed"), "data.keep": given.pop("keep"), **(own or {})}
    stage = open_stage(**given, options=keys)
    if stage.is_demo:
        say(f"no --data: the built-in people in {stage.root}")
    elif not given["recipe"]:
        say("no --recipe: recipe demo (small networks); for a study: --recipe market1501")
    return stage


def say(text: str) -> None:
    """Tell the user something that is no result: on stderr, once if several ranks would say it."""
    from reid_aug.stages.stage import is_first_rank

    if text and is_first_rank():
        click.echo(text, err=True)


def say_dry_run(recipe: "Recipe", *lines: str) -> None:
    """End a dry run: the resolved recipe, and what would be done."""
    click.echo(json.dumps(recipe.table(), indent=1))
    for line in lines:
        click.echo(line)
    click.echo("dry run: no run folder was touched")


def write_recipe(stage: "Stage") -> None:
    """Leave the resolved recipe in the run folder."""
    from reid_aug.runtime.files import write_json

    write_json(stage.run.recipe, stage.recipe.table())


def duration(seconds: float) -> str:
    """A time as people say it.

    >>> duration(90), duration(600), duration(9000)
    ('90 s', '10 min', '2.5 h')
    """
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
