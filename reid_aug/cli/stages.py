"""The stages: a data set in, files of a run folder out."""

import sys
from pathlib import Path
from typing import Any

import click

from reid_aug.cli.options import (
    duration,
    generator_option,
    min_score_option,
    mix_options,
    say,
    say_dry_run,
    stage_of,
    stage_options,
    write_recipe,
)
from reid_aug.runtime.errors import UserError


@click.command()
@click.argument("root", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--identities", default=60, show_default=True, help="To train on.")
@click.option("--test-identities", default=60, show_default=True, help="To test with.")
@click.option("--first", default=1, show_default=True, help="pid of the first.")
@click.option("--seed", default=0, show_default=True, help="Of people and cameras.")
def people(root: Path, identities: int, test_identities: int, first: int, seed: int) -> None:
    """Write the built-in people to DIR, with true key points."""
    from reid_aug.people import PeopleConfig, write_people
    from reid_aug.runtime.progress import track

    config = PeopleConfig(identities, test_identities, first, seed)
    write_people(root, config, lambda items, total: track(items, "draw the people", total))
    click.echo(root)


@click.command()
@click.argument("source", metavar="SOURCE", type=click.Path(path_type=Path))
@click.argument("root", metavar="DIR", type=click.Path(path_type=Path))
def deepfashion(source: Path, root: Path) -> None:
    """Write DeepFashion to DIR as a data set of our layout.

    SOURCE holds its In-shop images, and the lists that PATN's authors published
    (fasion-resize-annotation-train.csv, ...).
    """
    from reid_aug.data.formats.deepfashion import write_deepfashion
    from reid_aug.runtime.progress import track

    counts = write_deepfashion(source, root, lambda names: track(names, "write images"))
    say(", ".join(f"{count} images in {name}" for name, count in counts.items()))
    click.echo(root)


@click.command()
@click.argument("data", metavar="DATA")
@click.option("--keypoints", metavar="FILE", help="Key points.  [default: DATA/keypoints.csv]")
@click.option("--strict", is_flag=True, help="Warnings count as errors.")
@click.option(
    "--picture",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Draw crops with their poses, as a PNG.",
)
def check(data: str, keypoints: str | None, strict: bool, picture: Path | None) -> None:
    """Count and check a data set and its key points.

    Prints errors and warnings; exit code 2 if there is an error.
    """
    from reid_aug.data.check import check_dataset
    from reid_aug.runtime.progress import track

    counts, faults = check_dataset(
        data, keypoints, lambda files: track(files, "check images"), picture
    )
    for line in (*counts, *map(str, faults)):
        click.echo(line)
    if any(fault.is_error or strict for fault in faults):
        sys.exit(2)


@click.command("train-generator")
@stage_options
def train_generator(dry_run: bool, **given: Any) -> None:
    """Train a PATN generator on the kept images.

    Goes on where it was stopped. Processes of torchrun share every batch.
    """
    stage = stage_of(given)
    from reid_aug.data.dataset import kept
    from reid_aug.runtime.distributed import process_group_of_environment
    from reid_aug.stages import train_generator as verb

    recipe, config, network = stage.recipe, stage.recipe.train_generator, stage.recipe.generator
    real = kept(stage.dataset.train, recipe.data.keep, recipe.data.keep_seed)
    group = process_group_of_environment()
    pairs = verb.pairs_of(real, stage.poses, recipe.data, config, recipe.seed, group)
    say(f"{pairs.count} training pairs out of {len(pairs.images)} of {len(real)} kept images")
    if config.held_out:
        say(f"{config.held_out} of their identities are held out, and in no pair")
    if dry_run and not group.is_first:
        return None
    if dry_run:
        cost = duration(config.steps * verb.seconds_per_step(pairs, network, config, stage.device))
        return say_dry_run(
            recipe, f"would write {stage.run.generator}: about {cost} on {stage.device}"
        )
    say(verb.describe_losses(config))
    notes = verb.training_metadata(pairs, network, config, real, stage.poses)
    folder = stage.run.path
    with group.joined(stage.device):
        path = verb.train_generator(pairs, network, config, folder, notes, stage.device, group)
    if not group.is_first:
        return None
    say(verb.describe_best(folder))
    write_recipe(stage)
    click.echo(path)
    return None


@click.command()
@stage_options
@mix_options
@generator_option
def synthesize(
    dry_run: bool, ratio: float | None, mode: str | None, generator: str | None, **given: Any
) -> None:
    """Draw the bank: every kept identity again, in other poses.

    Sources and poses are of the kept images. A larger ratio extends the bank that is there.
    ProcessGroup of torchrun, or the same command on several machines of one file system, share the
    work.
    """
    stage = stage_of(given, {"synthesize.ratio": ratio, "synthesize.mode": mode})
    from reid_aug.bank import Bank
    from reid_aug.bank.contact_sheet import write_contact_sheet
    from reid_aug.bank.methods import method_named
    from reid_aug.stages import synthesize as verb
    from reid_aug.stages.stage import is_first_rank

    recipe = stage.recipe
    config, data, seed = recipe.synthesize, recipe.data, recipe.seed
    needs_checkpoint = method_named(config.method).needs_checkpoint
    if generator and not needs_checkpoint:
        raise UserError(
            f"--generator must not be given for method {config.method}, which needs none"
        )
    checkpoint = stage.generator(generator) if needs_checkpoint else None
    job = verb.prepare(stage.dataset, stage.poses, checkpoint, config, data, seed)
    if is_first_rank():
        say(f"{verb.describe(job)}\n{job.coverage}")
    if dry_run:
        cost = verb.describe_cost(job, stage.device)
        return say_dry_run(recipe, f"would write {stage.run.bank}: {cost}")
    path = verb.synthesize(job, stage.run.path, stage.device)
    if not is_first_rank():
        return None
    write_recipe(stage)
    write_contact_sheet(Bank(path), job.real, stage.root, stage.run.contact_sheet)
    say(f"{len(Bank(path))} images; look at {stage.run.contact_sheet}")
    click.echo(path)
    return None


@click.command("train-reid")
@stage_options
@mix_options
@click.option("--backbone", metavar="NAME", help="Network, as resnet50 or inception_v2.")
@click.option("--preset", metavar="NAME", help="plain, or strong: a bag of tricks.")
@click.option("--bank", metavar="FILE", help="Bank.  [default: the run folder's]")
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
    """Train a re-ID network on a mix, and evaluate it.

    Without --ratio the whole bank is used; --ratio 0 is the baseline. Goes on where it was stopped.
    Processes of torchrun share every batch.
    """
    own: dict[str, Any] = {"train_reid.backbone": backbone, "train_reid.preset": preset}
    own["synthesize.ratio"] = ratio
    if ratio is not None:
        own["synthesize.mode"] = mode
    stage = stage_of(given, own)
    from reid_aug.bank import Bank
    from reid_aug.mixing import Mix, parse_min_score, require_same_dataset
    from reid_aug.runtime.distributed import process_group_of_environment
    from reid_aug.stages import train_reid as verb
    from reid_aug.stages.train_reid import folder as reid_folder
    from reid_aug.stages.train_reid.settings import marks_of

    config, data, seed = stage.recipe.train_reid, stage.recipe.data, stage.recipe.seed
    source = None if ratio == 0 else Bank(bank or stage.run.find_bank(data.keep))
    require_same_dataset(source, stage.dataset)
    if source and ratio is None:
        ratio, mode = source.attributes["ratio"], mode or source.attributes["mode"]
    mode = mode or stage.recipe.synthesize.mode
    least = parse_min_score(min_score)
    mix = Mix(
        stage.dataset.train, source, ratio or 0.0, mode, data.keep, data.keep_seed, min_score=least
    )
    marks = marks_of(config.preset, config.generated_label, mix.ratio)
    name = reid_folder.cell_name(config.backbone, mix.mode, mix.ratio, mix.keep, seed, least, marks)
    cell = stage.run.cell(name)
    say(f"{len(mix.real)} real and {mix.generated} generated images{mix.note}")
    group = process_group_of_environment()
    if dry_run and not group.is_first:
        return None
    if dry_run:
        cost = duration(verb.seconds_per_step(mix, config, stage.device) * config.steps)
        return say_dry_run(stage.recipe, f"would write {cell / 'result.json'}: about {cost}")
    if not reid_folder.finished(cell, verb.experiment(mix, stage.dataset, config, seed)):
        verb.train_reid(mix, stage.dataset, config, cell, seed, stage.device, group)
        if group.is_first:
            write_recipe(stage)
    if not group.is_first:
        return None
    say(reid_folder.describe(cell / "result.json"))
    click.echo(cell / "result.json")
    return None
