"""What a trained re-ID network is evaluated with."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from reid_aug.cli.options import perform, say, say_cost, stage_of, stage_options

if TYPE_CHECKING:
    from reid_aug.stages.stage import Stage

model_argument = click.argument("model", metavar="MODEL", type=click.Path(path_type=Path))
run_option = click.option(
    "--out",
    metavar="DIR",
    help="The run folder, for all results.  [default: that of MODEL]",
)


@click.group()
def reid() -> None:
    """Evaluate trained re-ID networks, and show ranked lists.

    MODEL is the model.safetensors that train-reid wrote.
    """


@reid.command()
@model_argument
@run_option
@stage_options("out")
@click.option(
    "--rerank",
    is_flag=True,
    help="Add a row with k-reciprocal re-ranking to every row.  [default: no such row]",
)
@click.option(
    "--generator",
    metavar="FILE|demo",
    help="Add a row with features averaged over generated images.  [default: no such row]",
)
@click.option(
    "--poses",
    type=int,
    metavar="N",
    help="Number of generated images per image, with --generator.  [default: 8]",
)
def evaluate(model: Path, dry_run: bool, **given: Any) -> None:
    """Score a network on query and gallery, for example by mAP.

    With --generator, every image is generated in the same poses, and its feature is replaced by
    the mean of its own feature and theirs. Writes the AP of every query into the run folder.
    """
    own = {name: given.pop(name) for name in ("rerank", "generator", "poses")}
    stage = _stage_beside(model, given)
    from reid_aug.stages.evaluate_reid import prepare, table

    job = prepare(stage, model, **own)
    say(job.describe())
    if dry_run:
        return say_cost(job, stage, "synthesize")
    path = job.run()
    for line in table(job.results()):
        click.echo(line)
    return click.echo(path)


@reid.command()
@model_argument
@run_option
@stage_options("out", "seed", "keypoints")
@click.option(
    "--queries",
    metavar="CHOICE",
    default="worst",
    show_default=True,
    help="Queries to show by their AP: worst, best, or spread over the range.",
)
@click.option(
    "--count",
    type=click.IntRange(1, 100),
    default=10,
    show_default=True,
    help="Number of queries.",
)
@click.option(
    "--top",
    type=click.IntRange(1, 50),
    default=10,
    show_default=True,
    help="Number of gallery images per query.",
)
def rank(model: Path, dry_run: bool, queries: str, count: int, top: int, **given: Any) -> None:
    """Write a picture of queries and their nearest gallery images.

    A hit has a green frame, a miss a red one. The picture is written into the run folder.
    """
    stage = _stage_beside(model, given)
    from reid_aug.stages.evaluate_reid import prepare_ranking

    perform(prepare_ranking(stage, model, queries, count, top), stage, dry_run)


def _stage_beside(model: Path, given: dict[str, Any]) -> "Stage":
    """The stage of a command's options, by default with the run folder of the network."""
    from reid_aug.stages.recipe import RunFolder

    return stage_of({**given, "out": given["out"] or str(RunFolder.of_network(model).path)})
