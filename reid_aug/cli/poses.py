"""Keypoints of a data set."""

from pathlib import Path
from typing import Any

import click

from reid_aug.cli.options import say


@click.command("estimate-poses")
@click.argument("data", metavar="DATA")
@click.option(
    "--keypoints",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File to write.  [default: DATA/keypoints.csv]",
)
@click.option(
    "--estimator",
    metavar="NAME",
    default="movenet",
    show_default=True,
    help="Pose estimator: movenet or rtmpose.",
)
@click.option(
    "--weights",
    metavar="FILE",
    help="Weights of the pose estimator. Required without --from.",
)
@click.option(
    "--from",
    "source",
    metavar="DIR|FILE",
    help="Import keypoints instead: a folder of OpenPose JSON files, a .json of COCO, MMPose, "
    "AlphaPose or MediaPipe, or a .csv.  [default: estimate them]",
)
@click.option(
    "--zero-is-missing",
    is_flag=True,
    help="With --from, a joint at (0, 0) is missing, as some tools write it.",
)
@click.option(
    "--threshold",
    type=float,
    default=0.2,
    metavar="C",
    show_default=True,
    help="Smallest confidence of a joint that counts as seen, in 0..1.",
)
@click.option(
    "--workers",
    type=click.IntRange(1),
    metavar="N",
    help="Number of processes.  [default: one per core]",
)
def estimate_poses(**given: Any) -> None:
    """Estimate or import the keypoints of a data set.

    A run that was stopped resumes. A later run estimates only images that were added since.
    """
    from reid_aug.stages.estimate_poses import prepare

    job = prepare(**given)
    say(job.describe())
    path = job.run()
    say(job.outcome())
    click.echo(path)
