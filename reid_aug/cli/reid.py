"""What a trained re-ID network is evaluated with."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from reid_aug.cli.options import (
    device_option,
    dry_run_option,
    perform,
    perform_alone,
    say,
    say_cost,
    stage_of,
    stage_options,
)

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
    """Evaluate trained re-ID networks, and export them.

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
@click.option(
    "--generated",
    metavar="FOLDER",
    type=click.Path(path_type=Path),
    help="As --generator, with images that another generator made of query and gallery images.  "
    "[default: no such row]",
)
@click.option(
    "--trained-on",
    metavar="IMAGES",
    help="With --generated, the images that trained that generator: kept, whole or external, as in "
    "bank import.  [default: whole]",
)
def evaluate(model: Path, dry_run: bool, **given: Any) -> None:
    """Score a network on query and gallery, for example by mAP.

    With --generator, every image is generated in the same poses, and its feature is replaced by
    the mean of its own feature and theirs. --generated does so with the files of a folder, each
    named after its query or gallery image. Writes the AP of every query into the run folder.
    """
    names = ("rerank", "generator", "poses", "generated", "trained_on")
    own = {name: given.pop(name) for name in names}
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


@reid.command()
@model_argument
@click.argument("images", metavar="FOLDER|DATA", type=click.Path(path_type=Path))
@click.option(
    "--to",
    "file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    required=True,
    help="The file to write: .npz (NumPy), or .parquet, which needs pyarrow.",
)
@device_option
@dry_run_option
def features(model: Path, images: Path, file: Path, device: str | None, dry_run: bool) -> None:
    """Write the features of a folder or data set.

    The file has one row per image: the feature, the file name, and pid and camid where they are
    known. Of a data set, train, query and gallery are rows.
    """
    from reid_aug.stages.extract_features import prepare

    perform_alone(prepare(model, images, file, device), device, dry_run)


@reid.command()
@model_argument
@click.option(
    "--onnx",
    "file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    required=True,
    help="The file to write, .onnx.",
)
@click.option(
    "--normalisation",
    metavar="WHERE",
    default="inside",
    show_default=True,
    help="inside: the network takes RGB in [0, 1]; outside: it takes RGB that the program has "
    "normalised with the mean and standard deviation of ImageNet.",
)
@dry_run_option
def export(model: Path, file: Path, normalisation: str, dry_run: bool) -> None:
    """Write a network as ONNX, for programs without PyTorch.

    onnxruntime must compute the features of PyTorch within 1e-4 of the largest feature, for batches
    of two sizes; otherwise no file is written.
    """
    from reid_aug.stages.export_reid import prepare

    perform_alone(prepare(model, file, normalisation), "cpu", dry_run)


def _stage_beside(model: Path, given: dict[str, Any]) -> "Stage":
    """The stage of a command's options, by default with the run folder of the network."""
    from reid_aug.stages.recipe import RunFolder

    return stage_of({**given, "out": given["out"] or str(RunFolder.of_network(model).path)})
