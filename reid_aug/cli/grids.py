"""Grids of trainings, and the tables of their results."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from reid_aug.cli.options import (
    device_option,
    dry_run_option,
    generator_option,
    say,
    say_dry_run,
    say_notes,
    stage_options,
)

if TYPE_CHECKING:
    from reid_aug.study.tasks import Task


@click.command()
@click.argument("grid", metavar="GRID")
@stage_options("recipe", "seed", "keep")
@generator_option
@click.option(
    "--workers",
    type=click.IntRange(1),
    metavar="N",
    help="The number of trainings that run at the same time.  [default: one per core]",
)
@click.option(
    "--ray",
    metavar="ADDRESS",
    help="The Ray cluster that trains: HOST:PORT, or auto.  [default: this machine]",
)
def benchmark(grid: str, **given: Any) -> None:
    """Run every cell of a grid, then print the table.

    GRID is the name of a grid of the package, or a TOML file. The same command continues an
    interrupted benchmark.
    """
    _benchmark(grid, **given)


@click.command()
@click.option("--out", metavar="DIR", help="The run folder, for all results.  [default: runs/demo]")
@device_option
@dry_run_option
def demo(**given: Any) -> None:
    """Run all stages on the built-in people.

    The same as: reid-aug benchmark demo
    """
    _benchmark(
        "demo",
        data=None,
        keypoints=None,
        settings=(),
        generator=None,
        workers=None,
        ray=None,
        **given,
    )


def _benchmark(
    name: str,
    data: str | None,
    out: str | None,
    device: str | None,
    keypoints: str | None,
    settings: tuple[str, ...],
    dry_run: bool,
    generator: str | None,
    workers: int | None,
    ray: str | None,
) -> None:
    from contextlib import closing

    from reid_aug.stages.recipe import parse_settings
    from reid_aug.stages.stage import open_stage_of
    from reid_aug.study import benchmark as module
    from reid_aug.study.cost import describe, describe_cells, describe_cost
    from reid_aug.study.grid import grid_recipe, load_grid

    grid = load_grid(name)
    recipe = grid_recipe(grid, parse_settings(settings))
    stage = open_stage_of(recipe, data, out or f"runs/{grid.name}", device, keypoints)
    if stage.is_demo:
        say(f"the built-in people: {stage.root}")
    say_notes(stage)
    tasks = module.plan_tasks(grid, stage, generator)
    with closing(module.open_pool(stage, ray, device, workers)) as pool:
        if dry_run:
            lines = [*describe(grid, tasks, stage, pool), *describe_cells(tasks)]
            lines += describe_cost(grid, tasks, stage, pool)
            return say_dry_run(stage, recipe.table(), *lines)
        failed = module.run(grid, tasks, stage, pool)
    stage.write_recipe()
    _show_table(stage.run.path, tasks, failed, device)
    return None


def _show_table(
    folder: Path,
    tasks: "Sequence[Task]",
    failed: "Sequence[Task]",
    device: str | None,
) -> None:
    from reid_aug.study.report import read_results, report

    done = {task.folder for task in tasks if task not in failed}
    results = [result for path in sorted(done) for result in read_results(path)]
    for task in failed:
        say(f"failed: {task.cell.name}; see {task.folder / 'output.txt'}")
    if results:
        click.echo(report(results, "terminal"))
        say(f"look at {_write_page(folder, None, device)}")
    say(f"the table of all results in this folder: reid-aug report {folder}")
    if failed:
        sys.exit(2)


@click.command()
@click.argument("run", metavar="RUN", type=click.Path(path_type=Path))
@click.option(
    "--format",
    "style",
    default="terminal",
    show_default=True,
    help="The format: terminal, markdown, csv, latex or html.",
)
@click.option(
    "--data",
    metavar="DIR",
    help="The data set, for the ranked lists of the page.  [default: the built-in people]",
)
@device_option
def report(run: Path, style: str, data: str | None, device: str | None) -> None:
    """Print the tables of a run folder, or write its page.

    The tables have the mean and the spread over seeds, the gain over ratio 0, and whether the gain
    may be noise. The page, report.html, also has curves, identities and ranked lists. A damaged
    result is reported and left out; the exit code is then 2.
    """
    from reid_aug.study.report import HTML, check_format, find_results
    from reid_aug.study.report import report as render

    check_format(style)
    results, faults = find_results(run)
    click.echo(_write_page(run, data, device) if style == HTML else render(results, style))
    for fault in faults:
        say(f"left out: {fault}")
    if faults:
        sys.exit(2)


def _write_page(run: Path, data: str | None, device: str | None) -> Path:
    from reid_aug.stages.recipe import RunFolder
    from reid_aug.stages.stage import choose_device, dataset_at_hand
    from reid_aug.study.report import find_results
    from reid_aug.study.report.page import write_report

    results, faults = find_results(run)
    known = {result.dataset_sha256 for result in results}
    dataset = dataset_at_hand(data, RunFolder(run), known)
    return write_report(results, run, faults, dataset, choose_device(device))
