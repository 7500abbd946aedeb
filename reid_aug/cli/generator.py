"""What a generator offers besides the synthesis of a bank."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from reid_aug.cli.declared import declared_options
from reid_aug.cli.options import (
    bank_option,
    generator_option,
    options,
    perform,
    say,
    say_cost,
    say_dry_run,
    stage_of,
    stage_options,
)

if TYPE_CHECKING:
    from reid_aug.generator import Generator
    from reid_aug.runtime.extensions import Declaration


@click.group()
def generator() -> None:
    """Import, evaluate and apply generators."""


@generator.command("import")
@click.argument("file", metavar="FILE")
@click.option(
    "--appearance",
    metavar="FILE",
    help="Also import the appearance discriminator, latest_net_netD_PP.pth.  [default: none]",
)
@click.option(
    "--pose",
    metavar="FILE",
    help="Also import the pose discriminator, latest_net_netD_PB.pth.  [default: none]",
)
@click.option("--out", metavar="DIR", help="Run folder.  [default: runs/official]")
def import_(file: str, appearance: str | None, pose: str | None, out: str | None) -> None:
    """Convert the weights of PATN's authors to a checkpoint.

    FILE is latest_net_netG.pth, of Market-1501 or of DeepFashion. The images that trained it are
    not recorded, so its results are not leak-free. Discriminators are written beside it, for
    train_generator.start_appearance and train_generator.start_pose.
    """
    from reid_aug.generator import import_checkpoint
    from reid_aug.generator.adversary import import_discriminator_checkpoint
    from reid_aug.stages.recipe import RunFolder

    path = RunFolder(Path(out or "runs/official")).generator
    for kind, released in (("appearance", appearance), ("pose", pose)):
        if released:
            import_discriminator_checkpoint(released, kind, path.with_stem(kind))
            say(f"discriminator of {kind}: {path.with_stem(kind)}")
    config = import_checkpoint(file, path)
    say(f"width {config.width}, {config.blocks} blocks, {config.norm} norm")
    click.echo(path)


@generator.command()
@click.argument("source", metavar="SOURCE")
@click.argument("target", metavar="TARGET")
@stage_options("seed", "keep", "device")
@generator_option
def attention(source: str, target: str, dry_run: bool, generator: str | None, **given: Any) -> None:
    """Write a picture of the attention of every block.

    SOURCE, in the pose of TARGET, is generated. Both are file names of the data set. The mask of a
    block marks the regions that the block changes. The picture is written into the run folder.
    """
    stage = stage_of(given)
    from reid_aug.data.pictures import write_picture
    from reid_aug.generator.attention import attention_picture, read_end

    data, checkpoint = stage.recipe.data, stage.generator(generator)
    inputs = stage.dataset, stage.poses
    ends = [read_end(*inputs, name, (data.height, data.width)) for name in (source, target)]
    path = stage.run.path / "attention" / f"{Path(source).stem}-{Path(target).stem}.png"
    if dry_run:
        return say_dry_run(stage, [], f"would write {path}")
    write_picture(path, attention_picture(_trained(checkpoint), *ends))
    return click.echo(path)


def _trained(checkpoint: Path) -> "Generator":
    """The network of a checkpoint; one without a record of its training is reported."""
    from reid_aug.generator import Generator, load_with_metadata

    network, metadata = load_with_metadata(checkpoint, Generator)
    if not metadata.keys() & {"step", "imported"}:
        say(f"{checkpoint} records no training: its masks are those of random weights")
    return network


person_options = options(
    click.option(
        "--camera",
        type=click.IntRange(1),
        metavar="N",
        help="The camera of SOURCE, for a camera-conditioned generator.  [default: that of its "
        "file name]",
    ),
    click.option(
        "--estimator",
        metavar="NAME",
        default="movenet",
        show_default=True,
        help="Pose estimator for images without keypoints: movenet or rtmpose.",
    ),
    click.option(
        "--weights",
        metavar="FILE",
        help="Weights of the pose estimator.  [default: estimate nothing]",
    ),
)


@generator.command()
@click.argument("source", metavar="SOURCE")
@click.argument("poses", metavar="POSE...", nargs=-1, required=True)
@stage_options("seed", "keep")
@generator_option
@person_options
def pose(source: str, poses: tuple[str, ...], dry_run: bool, **given: Any) -> None:
    """Write a picture of one person in any poses.

    SOURCE is an image file, or the file name of an image of the data set. A POSE is a name of the
    pose library (walk/3/front, or walk/3 for all directions), a name in the keypoint file, or an
    image file. The picture is written into the run folder.
    """
    own = {name: given.pop(name) for name in ("generator", "camera", "estimator", "weights")}
    stage = stage_of(given)
    from reid_aug.stages.pose import prepare

    return perform(prepare(stage, source, poses, **own), stage, dry_run)


@generator.command()
@click.argument("source", metavar="SOURCE")
@stage_options("seed", "keep")
@generator_option
@person_options
@click.option("--frames", default=64, show_default=True, metavar="N", help="Frames of the turn.")
@click.option("--zoom", default=2, show_default=True, metavar="N", help="Enlargement of a crop.")
def walk(source: str, dry_run: bool, frames: int, zoom: int, **given: Any) -> None:
    """Write an animated walk of one person around the circle.

    SOURCE is an image file, or the file name of an image of the data set. A contact sheet is
    written beside the animation, both into the run folder.
    """
    own = {name: given.pop(name) for name in ("generator", "camera", "estimator", "weights")}
    stage = stage_of(given)
    from reid_aug.stages.walk import WalkConfig, prepare

    return perform(prepare(stage, source, WalkConfig(frames, zoom), **own), stage, dry_run)


def _metrics() -> "tuple[Declaration, ...]":
    from reid_aug.image_quality.declarations import metrics

    return metrics()


@generator.command(cls=declared_options(_metrics))
@stage_options("seed", "keep")
@generator_option
@click.option(
    "--images",
    metavar="DIR",
    help="Folder of generated images to measure, instead of a generator.  [default: none]",
)
@click.option(
    "--pairs",
    metavar="FILE",
    help="CSV of the pairs, with the columns from and to.  [default: the published rule]",
)
@click.option(
    "--count",
    type=click.IntRange(1),
    metavar="N",
    help="Number of pairs.  [default: 12000, or all of --pairs]",
)
def evaluate(dry_run: bool, weights: dict[str, str], **given: Any) -> None:
    """Measure the quality of generated images.

    Two protocols are reported: patn, as published, and clean. The pairs are of the gallery, 12,000
    by the published rule. A metric without its weights is listed as not measured. Writes
    quality.json into the run folder.
    """
    own = {name: given.pop(name) for name in ("generator", "images", "pairs", "count")}
    stage = stage_of(given)
    from reid_aug.stages.evaluate_generator import prepare, read_quality, table

    job = prepare(stage, **own, weights=weights)
    say(job.describe())
    if dry_run:
        return say_cost(job, stage)
    path = job.run()
    for line in table(read_quality(path)):
        click.echo(line)
    return click.echo(path)


@generator.command("user-study")
@stage_options("device", "keypoints")
@bank_option
@click.option(
    "--images",
    metavar="DIR",
    help="Folder of generated images, instead of a bank.  [default: none]",
)
@click.option(
    "--count",
    default=50,
    show_default=True,
    help="Number of real crops, and of generated crops, that are counted.",
)
@click.option(
    "--practice",
    default=5,
    show_default=True,
    help="Number of real crops, and of generated crops, for practice.",
)
@click.option(
    "--seconds", default=1.0, show_default=True, help="Time for which a crop is shown, in seconds."
)
@click.option(
    "--answers",
    metavar="FILE",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Count this file of answers; once per person.  [default: make a study]",
)
def user_study(
    dry_run: bool, bank: str | None, images: str | None, answers: tuple[Path, ...], **given: Any
) -> None:
    """Measure how often people take generated crops for real.

    The rates R2G and G2R are those of the paper. Writes one self-contained page and a key, which
    must not be handed out. The page saves the answers of a participant as a file. --answers FILE,
    once per person, counts them.
    """
    size = [given.pop(name) for name in ("count", "practice", "seconds")]
    stage = stage_of(given)
    from reid_aug.stages.user_study import UserStudyConfig, outcome, prepare

    if answers:
        return click.echo(outcome(stage.run.path, answers).describe())
    job = prepare(stage, UserStudyConfig(*size), bank, images)
    return perform(job, stage, dry_run)
