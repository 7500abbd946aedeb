"""What can be asked of a generator, beside drawing a bank."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from reid_aug.cli.options import (
    duration,
    generator_option,
    options,
    say,
    say_dry_run,
    stage_of,
    stage_options,
)
from reid_aug.runtime.errors import UserError

if TYPE_CHECKING:
    from reid_aug.stages.user_study import Outcome


@click.group()
def generator() -> None:
    """Import a generator, look inside it, judge its drawings."""


WEIGHTS = ("movenet", "inception", "alexnet", "ssd", "reid")


@generator.command("import")
@click.argument("file", metavar="FILE")
@click.option("--appearance", metavar="FILE", help="latest_net_netD_PP.pth, to train on from.")
@click.option("--pose", metavar="FILE", help="latest_net_netD_PB.pth, to train on from.")
@click.option("--out", metavar="DIR", help="Run folder.  [default: runs/official]")
def import_(file: str, appearance: str | None, pose: str | None, out: str | None) -> None:
    """Convert weights that PATN's authors released to our checkpoint.

    FILE is latest_net_netG.pth, of Market-1501 or of DeepFashion. Nobody noted which images it has
    seen, so its results are not leak-free. Discriminators go beside it, for
    train_generator.start_appearance and start_pose.
    """
    from reid_aug.generator import import_checkpoint
    from reid_aug.generator.adversary import import_discriminator_checkpoint
    from reid_aug.stages.recipe import RunFolder

    path = RunFolder(Path(out or "runs/official")).generator
    for judge, released in (("appearance", appearance), ("pose", pose)):
        if released:
            import_discriminator_checkpoint(released, judge, path.with_stem(judge))
            say(f"discriminator of {judge}: {path.with_stem(judge)}")
    config = import_checkpoint(file, path)
    say(f"width {config.width}, {config.blocks} blocks, {config.norm} norm")
    click.echo(path)


@generator.command()
@click.argument("source", metavar="SOURCE")
@click.argument("target", metavar="TARGET")
@stage_options
@generator_option
def attention(source: str, target: str, dry_run: bool, generator: str | None, **given: Any) -> None:
    """Show what each block changes: its mask, from SOURCE to TARGET's pose.

    Both are file names of the data set. Writes one picture into the run folder.
    """
    stage = stage_of(given)
    from reid_aug.data.pictures import write_picture
    from reid_aug.generator import Generator, load_generator
    from reid_aug.generator.attention import attention_picture, read_end

    data, checkpoint = stage.recipe.data, stage.generator(generator)
    size = data.height, data.width
    ends = [read_end(stage.dataset, stage.poses, name, size) for name in (source, target)]
    path = stage.run.path / "attention" / f"{Path(source).stem}-{Path(target).stem}.png"
    if dry_run:
        return say_dry_run(stage.recipe, f"would write {path}")
    write_picture(path, attention_picture(load_generator(checkpoint, Generator), *ends))
    click.echo(path)
    return None


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
@click.option("--images", metavar="DIR", help="Metric these drawings instead.")
@click.option("--pairs", metavar="FILE", help="from,to.  [default: the published rule]")
@click.option("--count", type=click.IntRange(1), metavar="N", help="Pairs.  [default: 12000]")
@weight_options
def evaluate(
    dry_run: bool,
    generator: str | None,
    images: str | None,
    pairs: str | None,
    count: int | None,
    **given: Any,
) -> None:
    """Measure drawings under two protocols, patn and clean.

    Pairs are of the gallery, 12,000 by the published rule. What has no weights is listed as not
    measured. Writes quality.json into the run folder.
    """
    paths = {name: given.pop(name) for name in WEIGHTS}
    stage = stage_of(given)
    from reid_aug.image_quality import generated_images as drawings
    from reid_aug.runtime.progress import track
    from reid_aug.stages import evaluate_generator as verb

    if generator and images:
        raise UserError("--generator must not be given with --images, which were drawn already")
    listed, known = verb.choose_pairs(stage.dataset, stage.poses, pairs, count)
    drawn: drawings.GeneratedImages
    if images:
        drawn = drawings.ImagesOfFolder(Path(images), listed)
    else:
        checkpoint = stage.generator(generator)
        drawn = drawings.ImagesOfGenerator(checkpoint, stage.dataset, stage.device)
    weights = {name: path for name, path in paths.items() if path}
    if "reid" in weights:
        verb.refuse_tested(weights["reid"], stage.dataset)
    gallery = drawings.Gallery(known, stage.poses, stage.recipe.data)
    job = verb.Job(listed, gallery, drawn, weights)
    if dry_run:
        cost = duration(verb.seconds_to_measure(job, stage.device))
        would = f"would write {stage.run.path / verb.RESULT}: about {cost} on {stage.device}"
        return say_dry_run(stage.recipe, *job.describe(), would)
    path = verb.evaluate_generator(
        job, stage.run.path, stage.device, lambda starts: track(starts, "judge drawings")
    )
    for line in verb.table(verb.read_quality(path)):
        click.echo(line)
    click.echo(path)
    return None


@generator.command("user-study")
@stage_options
@click.option("--bank", metavar="FILE", help="Show its images.  [default: the run folder's]")
@click.option("--images", metavar="DIR", help="Show these drawings instead.")
@click.option("--count", default=50, show_default=True, help="Real crops, and generated ones.")
@click.option("--practice", default=5, show_default=True, help="More of either, not counted.")
@click.option("--seconds", default=1.0, show_default=True, help="How long each is shown.")
@click.option(
    "--answers",
    metavar="FILE",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Count what people answered.",
)
def user_study(
    dry_run: bool,
    bank: str | None,
    images: str | None,
    count: int,
    practice: int,
    seconds: float,
    answers: tuple[Path, ...],
    **given: Any,
) -> None:
    """Ask people which crops are real: a page, then R2G and G2R.

    Writes one self-contained page, and a key that stays with you. Whoever opens the page saves a
    file of answers; --answers FILE, once a person, counts them.
    """
    stage = stage_of(given)
    from reid_aug.bank import Bank
    from reid_aug.data.dataset import DISTRACTOR
    from reid_aug.stages import user_study as study

    if answers:
        return _say_outcome(
            study.count_answers(study.read_key(stage.run.path / study.KEY), answers)
        )
    config = study.UserStudyConfig(count, practice, seconds)
    recipe, seed = stage.recipe, stage.recipe.seed
    if images:
        size = recipe.data.height, recipe.data.width
        people = [image for image in stage.dataset.gallery if image.pid != DISTRACTOR]
        real, generated = study.crops_of_folder(people, Path(images), size, config.needed, seed)
    else:
        source = Bank(bank or stage.run.find_bank(recipe.data.keep))
        real, generated = study.crops_of_bank(stage.dataset.train, source, config.needed, seed)
    if dry_run:
        return say_dry_run(recipe, f"would write {stage.run.path / study.PAGE}")
    path = study.write_user_study(real, generated, config, stage.run.path, seed)
    say(f"{config.needed} real and {config.needed} generated crops; keep {study.KEY} to yourself")
    click.echo(path)
    return None


def _say_outcome(outcome: "Outcome") -> None:
    click.echo(f"people: {outcome.people}")
    for name, part, wrong, of in (
        ("R2G", outcome.r2g, outcome.real_as_generated, outcome.real),
        ("G2R", outcome.g2r, outcome.generated_as_real, outcome.generated),
    ):
        click.echo(f"{name}: {100 * part:.2f} % ({wrong} of {of})")
