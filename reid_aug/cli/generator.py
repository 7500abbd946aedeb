"""What can be asked of a generator, beside drawing a bank."""

import json
from pathlib import Path
from typing import Any

import click

from reid_aug.cli.options import (
    generator_option,
    options,
    say,
    say_dry_run,
    stage_of,
    stage_options,
)
from reid_aug.errors import UserError


@click.group()
def generator() -> None:
    """Judge a generator's drawings."""


weight_options = options(
    click.option("--movenet", metavar="FILE", help="MoveNet's weights, for PCKh."),
    click.option("--inception", metavar="FILE", help="torch-fidelity's, for IS and FID."),
    click.option("--alexnet", metavar="FILE", help="torchvision's, for LPIPS."),
    click.option("--ssd", metavar="FILE", help="torchvision's ssd300_vgg16, for DS."),
    click.option("--reid", metavar="FILE", help="A model of train-reid, for identity."),
)


@generator.command()
@stage_options
@generator_option
@click.option("--images", metavar="DIR", help="Judge these drawings instead.")
@click.option("--pairs", metavar="FILE", help="from,to.  [default: the published rule]")
@click.option("--count", type=click.IntRange(1), metavar="N", help="Pairs.  [default: 12000]")
@weight_options
def evaluate(
    dry_run: bool,
    generator: str | None,
    images: str | None,
    pairs: str | None,
    count: int | None,
    movenet: str | None,
    inception: str | None,
    alexnet: str | None,
    ssd: str | None,
    reid: str | None,
    **given: Any,
) -> None:
    """Measure drawings under two protocols, patn and clean.

    Pairs are of the gallery, 12,000 by the published rule. What has no weights is listed as not
    measured. Writes quality.json into the run folder.
    """
    stage = stage_of(given)
    from reid_aug import evaluate_generator as verb
    from reid_aug.progress import track

    if generator and images:
        raise UserError("--generator must not be given with --images, which were drawn already")
    named = {
        "movenet": movenet,
        "inception": inception,
        "alexnet": alexnet,
        "ssd": ssd,
        "reid": reid,
    }
    weights = {name: path for name, path in named.items() if path}
    listed, known = verb.choose_pairs(stage.dataset, stage.poses, pairs, count)
    drawings: verb.Drawings
    if images:
        drawings = verb.FolderDrawings(Path(images), listed)
    else:
        checkpoint = stage.generator(generator)
        drawings = verb.GeneratorDrawings(checkpoint, stage.dataset, stage.device)
    job = verb.Job(listed, verb.Gallery(known, stage.poses, stage.recipe.data), drawings, weights)
    about = json.dumps(job.about(), indent=1)
    if dry_run:
        lines = [f"{name}: {reason}" for name, reason in job.missing().items()]
        return say_dry_run(
            stage.recipe, about, *lines, f"would write {stage.run.path / verb.RESULT}"
        )
    say(f"{len(listed)} pairs; weights for: {', '.join(weights) or 'none'}")
    path = verb.evaluate_generator(
        job, stage.run.path, stage.device, lambda starts: track(starts, "judge drawings")
    )
    for line in verb.table(verb.read_quality(path)):
        click.echo(line)
    click.echo(path)
    return None
