"""The command line: read files, call the verb, write files.

Heavy modules are imported inside the commands, so that ``--help`` answers at once. A ``UserError``
becomes one line on stderr and exit code 2; anything else that is raised is a fault of ours and
shows its traceback.
"""

import functools
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from reid_aug import __version__
from reid_aug.errors import UserError

if TYPE_CHECKING:
    from reid_aug.recipe import Recipe
    from reid_aug.stage import Stage
    from reid_aug.tasks import Task

Command = Callable[..., Any]


class OneLine(click.Group):
    """A group whose errors are one line: what is wrong, and exit code 2."""

    def main(self, args: Sequence[str] | None = None, **extra: Any) -> Any:  # type: ignore[override]
        """Run, and turn what a user can mend into one line."""
        extra["standalone_mode"] = False
        try:
            sys.exit(super().main(args, **extra) or 0)
        except UserError as error:
            _stop(str(error), 2)
        except click.exceptions.NoArgsIsHelpError as error:
            error.show()
            sys.exit(2)
        except click.UsageError as error:
            help_ = f"{error.ctx.command_path} --help" if error.ctx else "reid-aug --help"
            _stop(f"{error.format_message().rstrip('.')}; see {help_}", 2)
        except click.ClickException as error:
            _stop(error.format_message(), 2)
        except (click.Abort, KeyboardInterrupt):
            _stop(
                "stopped; the same command goes on from what was saved, if anything was",
                130,
            )
        except OSError as error:
            _stop(f"{error.filename or 'a file'}: {error.strerror or error}", 2)


def _stop(text: str, code: int) -> None:
    click.echo(f"error: {' '.join(text.split())}", err=True)
    sys.exit(code)


@click.group(cls=OneLine, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="reid-aug")
def main() -> None:
    """More training data for person re-identification, and whether it helps.

    Without --recipe and --data every command works on the built-in people with the generator that
    ships, so these run on a fresh machine:

    \b
        reid-aug demo
        reid-aug synthesize --ratio 0.5
        reid-aug train-reid --backbone resnet50

    With your own images (Market-1501 layout, key points beside them):

    \b
        reid-aug check DIR
        reid-aug train-generator --recipe market1501 --data DIR
        reid-aug synthesize --recipe market1501 --data DIR --ratio 1
        reid-aug train-reid --recipe market1501 --data DIR --ratio 0
        reid-aug train-reid --recipe market1501 --data DIR --ratio 1
        reid-aug report runs/market1501
    """  # noqa: D301 (click's mark for "do not re-wrap" is this control character)


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
generator_option = click.option(
    "--generator", metavar="FILE|demo", help="Generator.  [default: the run folder's]"
)


def _open(given: dict[str, Any], own: dict[str, Any] | None = None) -> "Stage":
    """The stage of a command's options; says on stderr what was taken for granted."""
    from reid_aug.stage import open_stage

    keys = {"seed": given.pop("seed"), "data.keep": given.pop("keep"), **(own or {})}
    stage = open_stage(**given, options=keys)
    if stage.is_demo:
        _say(f"no --data: the built-in people in {stage.root}")
    elif not given["recipe"]:
        _say("no --recipe: recipe demo (small networks); for a study: --recipe market1501")
    return stage


def _say(text: str) -> None:
    click.echo(text, err=True)


def _dry_run(recipe: "Recipe", *lines: str) -> None:
    click.echo(json.dumps(recipe.table(), indent=1))
    for line in lines:
        click.echo(line)
    click.echo("dry run: no run folder was touched")


def _write_recipe(stage: "Stage") -> None:
    from reid_aug.files import write_json

    write_json(stage.run.recipe, stage.recipe.table())


def _time(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


@main.command()
@click.argument("root", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--identities", default=60, show_default=True, help="To train on.")
@click.option("--test-identities", default=60, show_default=True, help="To test with.")
@click.option("--first", default=1, show_default=True, help="pid of the first.")
@click.option("--seed", default=0, show_default=True, help="Of people and cameras.")
def people(root: Path, identities: int, test_identities: int, first: int, seed: int) -> None:
    """Write the built-in people to DIR, with true key points."""
    from reid_aug.people import PeopleConfig, write_people
    from reid_aug.progress import track

    config = PeopleConfig(identities, test_identities, first, seed)
    write_people(root, config, lambda items, total: track(items, "draw the people", total))
    click.echo(root)


@main.command()
@click.argument("data", metavar="DATA")
@click.option("--keypoints", metavar="FILE", help="Key points.  [default: DATA/keypoints.csv]")
@click.option("--strict", is_flag=True, help="Warnings count as errors.")
def check(data: str, keypoints: str | None, strict: bool) -> None:
    """Count and check a data set and its key points.

    Prints errors and warnings; exit code 2 if there is an error.
    """
    from reid_aug.check import check_dataset
    from reid_aug.progress import track

    counts, faults = check_dataset(data, keypoints, lambda files: track(files, "check images"))
    for line in (*counts, *map(str, faults)):
        click.echo(line)
    if any(fault.is_error or strict for fault in faults):
        sys.exit(2)


@main.command("train-generator")
@stage_options
def train_generator(dry_run: bool, **given: Any) -> None:
    """Train a PATN generator on the kept images.

    Goes on where it was stopped.
    """
    stage = _open(given)
    from reid_aug import train_generator as verb
    from reid_aug.dataset import kept

    recipe, config, network = stage.recipe, stage.recipe.train_generator, stage.recipe.generator
    real = kept(stage.dataset.train, recipe.data.keep, recipe.data.keep_seed)
    pairs = verb.pairs_of(real, stage.poses, recipe.data, config, recipe.seed)
    _say(f"{pairs.count} training pairs out of {len(pairs.images)} of {len(real)} kept images")
    if dry_run:
        cost = _time(config.steps * verb.seconds_per_step(pairs, network, config, stage.device))
        return _dry_run(
            recipe, f"would write {stage.run.generator}: about {cost} on {stage.device}"
        )
    if not config.vgg:
        _say("no train_generator.vgg: the perceptual loss is off")
    notes = verb.training_notes(pairs, network, config, real, stage.poses)
    folder = stage.run.path
    path = verb.train_generator(pairs, network, config, folder, notes, stage.device)
    _write_recipe(stage)
    click.echo(path)
    return None


@main.command()
@stage_options
@mix_options
@generator_option
def synthesize(
    dry_run: bool, ratio: float | None, mode: str | None, generator: str | None, **given: Any
) -> None:
    """Draw the bank: every kept identity again, in other poses.

    Sources and poses are of the kept images. A larger ratio extends the bank that is there.
    """
    stage = _open(given, {"synthesize.ratio": ratio, "synthesize.mode": mode})
    from reid_aug import synthesize as verb
    from reid_aug.bank import Bank
    from reid_aug.contact_sheet import write_contact_sheet

    recipe = stage.recipe
    config, data, seed = recipe.synthesize, recipe.data, recipe.seed
    if generator and config.artist != "generator":
        raise UserError(f"--generator must not be given for artist {config.artist}, who needs none")
    checkpoint = stage.generator(generator) if config.artist == "generator" else None
    job = verb.prepare(stage.dataset, stage.poses, checkpoint, config, data, seed)
    _say(verb.describe(job))
    if dry_run:
        cost = verb.describe_cost(job, stage.device)
        return _dry_run(recipe, f"would write {stage.run.bank}: {cost}")
    path = verb.synthesize(job, stage.run.path, stage.device)
    _write_recipe(stage)
    write_contact_sheet(Bank(path), job.real, stage.root, stage.run.contact_sheet)
    _say(f"{len(Bank(path))} images; look at {stage.run.contact_sheet}")
    click.echo(path)
    return None


@main.command("train-reid")
@stage_options
@mix_options
@click.option("--backbone", metavar="NAME", help="Network, as resnet50 or inception_v2.")
@click.option("--bank", metavar="FILE", help="Bank.  [default: the run folder's]")
def train_reid(
    dry_run: bool,
    ratio: float | None,
    mode: str | None,
    backbone: str | None,
    bank: str | None,
    **given: Any,
) -> None:
    """Train a re-ID network on a mix, and evaluate it.

    Without --ratio the whole bank is used; --ratio 0 is the baseline.
    """
    own = {"train_reid.backbone": backbone, "synthesize.ratio": ratio}
    if ratio is not None:
        own["synthesize.mode"] = mode
    stage = _open(given, own)
    from reid_aug import reid_folder
    from reid_aug import train_reid as verb
    from reid_aug.bank import Bank
    from reid_aug.mixing import Mix

    config, data, seed = stage.recipe.train_reid, stage.recipe.data, stage.recipe.seed
    source = None if ratio == 0 else Bank(bank or stage.run.find_bank(data.keep))
    if source and ratio is None:
        ratio, mode = source.attributes["ratio"], mode or source.attributes["mode"]
    mode = mode or stage.recipe.synthesize.mode
    mix = Mix(stage.dataset.train, source, ratio or 0.0, mode, data.keep, data.keep_seed)
    name = reid_folder.cell_name(config.backbone, mix.mode, mix.ratio, mix.keep, seed)
    cell = stage.run.cell(name)
    _say(f"{len(mix.real)} real and {mix.generated} generated images{mix.note}")
    if dry_run:
        cost = _time(verb.seconds_per_step(mix, config, stage.device) * config.steps)
        return _dry_run(stage.recipe, f"would write {cell / 'result.json'}: about {cost}")
    if not reid_folder.finished(cell, verb.experiment(mix, stage.dataset, config, seed)):
        verb.train_reid(mix, stage.dataset, config, cell, seed, stage.device)
        _write_recipe(stage)
    _say(reid_folder.describe(cell / "result.json"))
    click.echo(cell / "result.json")
    return None


@main.command()
@click.argument("grid", metavar="GRID")
@run_options
@generator_option
@click.option(
    "--workers", type=click.IntRange(1), metavar="N", help="Trainings at once.  [default: a core]"
)
def benchmark(grid: str, **given: Any) -> None:
    """Run every cell of a grid, then print the table.

    GRID is the name of one that ships, or a TOML file. Goes on where it was stopped.
    """
    _benchmark(grid, **given)


@main.command()
@click.option("--out", metavar="DIR", help="Run folder.  [default: runs/demo]")
@click.option("--device", metavar="D", help="cpu, cuda or cuda:N.  [default: cuda if there]")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and what it costs.")
def demo(**given: Any) -> None:
    """The whole story on the built-in people, to the table.

    The same as: reid-aug benchmark demo
    """
    _benchmark(
        "demo", data=None, keypoints=None, settings=(), generator=None, workers=None, **given
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
) -> None:
    from reid_aug import benchmark as module
    from reid_aug.grid import grid_recipe, load_grid
    from reid_aug.recipe import parse_settings
    from reid_aug.stage import open_stage_of

    grid = load_grid(name)
    recipe = grid_recipe(grid, parse_settings(settings))
    stage = open_stage_of(recipe, data, out or f"runs/{grid.name}", device, keypoints)
    if stage.is_demo:
        _say(f"the built-in people: {stage.root}")
    tasks = module.plan_tasks(grid, stage, generator, workers)
    if dry_run:
        return _dry_run(recipe, *module.describe(tasks, stage), module.describe_cost(tasks, stage))
    failed = module.run(grid, tasks, stage)
    _write_recipe(stage)
    _show_table(stage.run.path, tasks, failed)
    return None


def _show_table(folder: Path, tasks: "Sequence[Task]", failed: "Sequence[Task]") -> None:
    from reid_aug.report import read_results, report

    done = {task.folder for task in tasks if task not in failed}
    results = [result for path in sorted(done) for result in read_results(path)]
    for task in failed:
        _say(f"failed: {task.cell.name}; see {task.folder / 'output.txt'}")
    if results:
        click.echo(report(results, "terminal"))
    _say(f"the table of all that is in this folder: reid-aug report {folder}")
    if failed:
        sys.exit(2)


@main.command()
@click.argument("run", metavar="RUN", type=click.Path(path_type=Path))
@click.option(
    "--format", "style", default="terminal", show_default=True, help="Or markdown, csv, latex."
)
def report(run: Path, style: str) -> None:
    """Print the table of a run folder.

    Mean and spread over seeds, gain over ratio 0, and whether that is noise.
    """
    from reid_aug.report import read_results
    from reid_aug.report import report as draw

    click.echo(draw(read_results(run), style))


if __name__ == "__main__":
    main()
