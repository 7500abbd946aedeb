"""What can be asked of a trained re-ID network."""

from pathlib import Path
from typing import Any

import click

from reid_aug.cli.options import duration, say, say_dry_run, stage_of, stage_options
from reid_aug.runtime.errors import UserError

model_argument = click.argument("model", metavar="MODEL", type=click.Path(path_type=Path))


@click.group()
def reid() -> None:
    """Evaluate a trained re-ID network, on any data set; look at its ranking.

    MODEL is the model.safetensors that train-reid left.
    """


@reid.command()
@model_argument
@stage_options
@click.option("--rerank", is_flag=True, help="A row with k-reciprocal re-ranking, too.")
@click.option("--generator", metavar="FILE|demo", help="A row with drawings of the test images.")
@click.option("--poses", type=int, metavar="N", help="GeneratedImages of an image.  [default: 8]")
def evaluate(
    model: Path, dry_run: bool, rerank: bool, generator: str | None, poses: int | None, **given: Any
) -> None:
    """Score a network on query and gallery: mAP, Rank-1, 5 and 10, mINP.

    With --generator every image is drawn in the same poses, and known by the mean of its feature
    and theirs. Writes every query's AP into the run folder.
    """
    stage = stage_of(given)
    from reid_aug.evaluation.centralisation import POSES, CentraliseConfig, PosedFeatures
    from reid_aug.stages import evaluate_reid as verb

    if poses is not None and not generator:
        raise UserError("--poses must be given with --generator FILE|demo, who draws them")
    recipe, posed_features = stage.recipe, None
    if generator:
        config = CentraliseConfig(POSES if poses is None else poses, recipe.synthesize.cameras)
        drawn = stage.dataset, stage.poses, recipe.data, config, recipe.seed, stage.device
        posed_features = PosedFeatures(stage.generator(generator), *drawn)
        say(posed_features.words)
    job = verb.Job(model, stage.dataset, recipe.data, stage.device, posed_features, rerank)
    path = stage.run.evaluation(verb.name_of(model, stage.root))
    say(job.words)
    if dry_run:
        cost = duration(verb.seconds_to_evaluate(job))
        return say_dry_run(recipe, f"would write {path}: about {cost} on {stage.device}")
    for line in verb.table(verb.evaluate_reid(job, path)):
        click.echo(line)
    click.echo(path)
    return None


@reid.command()
@model_argument
@stage_options
@click.option("--queries", default="worst", show_default=True, help="Or best, or spread, by AP.")
@click.option(
    "--count", type=click.IntRange(1, 100), default=10, show_default=True, help="Queries."
)
@click.option(
    "--top", type=click.IntRange(1, 50), default=10, show_default=True, help="ProcessGroup."
)
def rank(model: Path, dry_run: bool, queries: str, count: int, top: int, **given: Any) -> None:
    """Draw ranked lists: queries, and their nearest in the gallery.

    Green is a hit, red a miss. Writes one picture into the run folder.
    """
    stage = stage_of(given)
    from reid_aug.data.pictures import write_picture
    from reid_aug.evaluation.ranked_lists import check_choice, choose_queries, ranked_picture
    from reid_aug.stages import evaluate_reid as verb

    check_choice(queries)
    job = verb.Job(model, stage.dataset, stage.recipe.data, stage.device)
    path = stage.run.evaluation(f"{verb.name_of(model, stage.root)}-{queries}").with_suffix(".png")
    say(job.words)
    if dry_run:
        return say_dry_run(stage.recipe, f"would write {path}")
    distances, scores = job.ranking()
    chosen = choose_queries(scores.ap, queries, count)
    write_picture(path, ranked_picture(stage.dataset, distances, scores.ap, chosen, top))
    click.echo(path)
    return None
