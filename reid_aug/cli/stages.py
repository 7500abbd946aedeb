"""The stages: a data set in, files of a run folder out."""

import functools
import json
import sys
from pathlib import Path
from typing import Any

import click

from reid_aug.cli.options import (
    bank_option,
    generator_option,
    min_score_option,
    mix_options,
    perform,
    say,
    stage_of_training,
    stage_options,
)


@click.command()
@click.argument("root", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "--identities",
    metavar="N",
    default=60,
    show_default=True,
    help="The number of identities in the training set.",
)
@click.option(
    "--test-identities",
    metavar="N",
    default=60,
    show_default=True,
    help="The number of identities in query and gallery.",
)
@click.option(
    "--first", metavar="PID", default=1, show_default=True, help="The pid of the first identity."
)
@click.option(
    "--seed",
    metavar="N",
    default=0,
    show_default=True,
    help="The seed of the appearance of people and cameras.",
)
def people(root: Path, identities: int, test_identities: int, first: int, seed: int) -> None:
    """Write the built-in people and their keypoints to DIR."""
    from reid_aug.people import PeopleConfig, write_people
    from reid_aug.runtime.progress import track

    config = PeopleConfig(identities, test_identities, first, seed)
    write_people(root, config, lambda items, total: track(items, "draw the people", total))
    click.echo(root)


@click.command()
@click.argument("source", metavar="SOURCE", type=click.Path(path_type=Path))
@click.argument("root", metavar="DIR", type=click.Path(path_type=Path))
def deepfashion(source: Path, root: Path) -> None:
    """Write DeepFashion to DIR in Market-1501 layout.

    SOURCE holds the In-shop images of DeepFashion, and the lists that the authors of PATN
    published (fasion-resize-annotation-train.csv, ...).
    """
    from reid_aug.data.formats.deepfashion import write_deepfashion
    from reid_aug.runtime.progress import track

    counts = write_deepfashion(source, root, lambda names: track(names, "write images"))
    say(", ".join(f"{count} images in {name}" for name, count in counts.items()))
    click.echo(root)


@click.command()
@click.argument("data", metavar="DATA", type=click.Path(path_type=Path))
@click.argument("root", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "--keypoints",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="The keypoints of the data set.  [default: DATA/keypoints.csv, if it is there]",
)
def convert(data: Path, root: Path, keypoints: Path | None) -> None:
    """Write a data set to DIR in Market-1501 layout.

    DATA is a folder in any layout that is read, or a manifest CSV (path,pid,camid,split). The
    keypoints are written too. The same command continues a conversion that was interrupted. A
    folder of CUHK03 in .mat files is converted by its new protocol, and one of DeepFashion with the
    lists of PATN as by reid-aug deepfashion.
    """
    from reid_aug.data.formats.writing import convert_dataset
    from reid_aug.runtime.progress import track

    shown = functools.partial(track, what="write images")
    for line in convert_dataset(data, root, keypoints, shown):
        say(line)
    click.echo(root)


@click.command()
@click.argument("data", metavar="DATA")
@click.option(
    "--keypoints",
    metavar="FILE",
    help="The keypoints of the data set.  [default: DATA/keypoints.csv]",
)
@click.option("--strict", is_flag=True, help="Treat warnings as errors.")
@click.option(
    "--picture",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write a PNG of some images with their poses.",
)
@click.option("--json", "as_json", is_flag=True, help="Print counts and faults as JSON.")
@click.option(
    "--fix",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write a manifest CSV of the images that are usable, and FILE-left-out.csv with the "
    "reasons for the others.",
)
def check(
    data: str,
    keypoints: str | None,
    strict: bool,
    picture: Path | None,
    as_json: bool,
    fix: Path | None,
) -> None:
    """Check the images and keypoints of a data set.

    DATA is a data set in any layout that is read, or a manifest CSV (path,pid,camid,split). Prints
    errors and warnings. The exit code is 2 if there is an error.
    """
    from reid_aug.data.check import check_dataset
    from reid_aug.runtime.progress import track

    report = check_dataset(data, keypoints, lambda files: track(files, "check images"), picture)
    text = "\n".join([*report.lines, *map(str, report.faults)])
    click.echo(json.dumps(report.record(), indent=1) if as_json else text)
    if picture:
        say(f"picture: {picture}")
    if fix:
        say(report.write_usable(fix))
    if any(fault.is_error or strict for fault in report.faults):
        sys.exit(2)


@click.command("train-generator")
@stage_options()
def train_generator(dry_run: bool, **given: Any) -> None:
    """Train a PATN generator on the kept images.

    The same command continues a training that was interrupted. The processes of torchrun share
    every batch.
    """
    stage = stage_of_training(given)
    from reid_aug.stages import train_generator as module

    perform(module.prepare(stage), stage, dry_run, "generator", "train_generator")


@click.command()
@stage_options()
@mix_options
@generator_option
def synthesize(
    dry_run: bool, ratio: float | None, mode: str | None, generator: str | None, **given: Any
) -> None:
    """Generate the bank: every kept identity in other poses.

    Source images and target poses come from the kept images. A larger ratio extends an existing
    bank. The processes of torchrun share the work, and so do several machines that run the same
    command on one file system.
    """
    stage = stage_of_training(given)
    from reid_aug.stages.synthesize import generator_or_stand_in, prepare

    with generator_or_stand_in(stage, generator, dry_run) as chosen:
        job = prepare(stage, ratio, mode, chosen)
        perform(job, job.stage, dry_run, "synthesize")


@click.command("train-reid")
@stage_options("keypoints")
@mix_options
@click.option(
    "--backbone",
    metavar="NAME",
    help="The re-ID network, as resnet50, inception_v2 or timm:vit_small_patch16_224.  "
    "[default: the recipe's]",
)
@click.option(
    "--preset",
    metavar="NAME",
    help="A named set of training settings: plain (softmax baseline) or strong (bag of tricks).  "
    "[default: the recipe's]",
)
@bank_option
@min_score_option
def train_reid(
    dry_run: bool,
    ratio: float | None,
    mode: str | None,
    backbone: str | None,
    preset: str | None,
    bank: str | None,
    min_score: tuple[str, ...],
    **given: Any,
) -> None:
    """Train a re-ID network on real and generated images.

    The network is then evaluated on query and gallery. Without --ratio, the whole bank is used;
    --ratio 0 is the baseline. The same command continues a training that was interrupted. The
    processes of torchrun share every batch.
    """
    stage = stage_of_training(given, {"train_reid.backbone": backbone, "train_reid.preset": preset})
    from reid_aug.stages import train_reid as module

    prepare = module.prepare_estimate if dry_run else module.prepare
    job = prepare(stage, ratio, mode, bank, min_score)
    perform(job, job.stage, dry_run, "synthesize", "train_reid")
