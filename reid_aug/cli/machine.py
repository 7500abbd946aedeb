"""The machine: what it is (``--version --json``), and what it can do (``doctor``)."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from reid_aug import __version__
from reid_aug.cli.options import device_option

AS_JSON = "reid_aug.as_json"  # key of the context


def version_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options ``--version`` and ``--json`` of the whole program."""
    # eager options are processed first, so that --version knows whether --json is given
    as_json = click.option(
        "--json",
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=_note_json,
        help="With --version: also versions, devices, threads and CPU features, as JSON.",
    )
    version = click.option(
        "--version",
        is_flag=True,
        expose_value=False,
        callback=_show_version,
        help="Show the version and exit.",
    )
    return version(as_json(command))


def _note_json(context: click.Context, _: click.Parameter, is_given: bool) -> None:
    context.meta[AS_JSON] = is_given


def _show_version(context: click.Context, _: click.Parameter, is_given: bool) -> None:
    if not is_given:
        if context.meta[AS_JSON]:
            raise click.UsageError("--json must be given with --version", context)
        return
    if context.meta[AS_JSON]:
        from reid_aug.runtime.machine import describe_machine

        click.echo(json.dumps(describe_machine(), indent=1))
    else:
        click.echo(f"reid-aug, version {__version__}")
    context.exit()


@click.command()
@click.option(
    "--recipe",
    metavar="NAME|FILE",
    default="demo",
    show_default=True,
    help="The recipe whose networks are computed in bfloat16.",
)
@click.option(
    "--out",
    metavar="DIR",
    type=click.Path(path_type=Path),
    default="runs",
    show_default=True,
    help="The run folder; its disk is checked.",
)
@device_option
def doctor(recipe: str, out: Path, device: str | None) -> None:
    """Check this machine, and print the remedy of each problem.

    Checks processor and GPUs, bfloat16, free space and file locks of a run folder, and optional
    packages. The exit code is 2 if there is an error. Nothing is written.
    """
    from reid_aug.stages.doctor import Level, examine
    from reid_aug.stages.recipe import load_recipe

    levels = []
    for finding in examine(load_recipe(recipe), device, out):
        click.echo(finding)
        levels.append(finding.level)
    if Level.ERROR in levels:
        sys.exit(2)
