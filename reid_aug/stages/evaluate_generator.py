"""Metric a generator, or a folder of somebody's generated, on a list of pairs.

The list is the published one, made from the key points (:mod:`reid_aug.data.pair_lists`), or any
other. Images are streamed: a batch is drawn, seen under both protocols by every metric, and
forgotten. What comes out is ``quality.json``. Where generated come from:
:mod:`reid_aug.image_quality.generated_images`.
"""

import json
import platform
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from math import isnan
from pathlib import Path
from typing import Any

import torch

from reid_aug import __version__
from reid_aug.data.dataset import Dataset, PersonImage
from reid_aug.data.keypoints import Pose
from reid_aug.data.pair_lists import TEST_PAIRS, Pair, pairs_sha256, read_pairs, sampled_pairs
from reid_aug.data.provenance import keypoints_sha256, leak_status, recorded_fingerprints
from reid_aug.image_quality import METRICS, PROTOCOLS, Metric
from reid_aug.image_quality.generated_images import Gallery, GeneratedImages
from reid_aug.image_quality.protocols import BORDER, FASHION
from reid_aug.runtime.errors import UserError
from reid_aug.runtime.files import write_json
from reid_aug.runtime.weights import read_tensors

FORMAT = "reid_aug.quality/1"
RESULT = "quality.json"
BATCH = 16
LIBRARIES = ("scikit-image", "torch-fidelity", "torchmetrics", "torch", "torchvision", "Pillow")


@dataclass(frozen=True, slots=True)
class Job:
    """What is judged: pairs, where they come from, generated, and who metrics.

    ``weights`` are paths by the name of their option, as in :data:`reid_aug.image_quality.METRICS`.
    """

    pairs: list[Pair]
    gallery: Gallery
    generated: GeneratedImages
    weights: Mapping[str, str] = field(default_factory=dict)

    def about(self) -> dict[str, Any]:
        """What a result is of; two results with the same answer are the same."""
        size = self.gallery.data.height, self.gallery.data.width
        return {
            "format": FORMAT,
            "pairs": len(self.pairs),
            "pairs_sha256": pairs_sha256(self.pairs),
            "height": size[0],
            "width": size[1],
            **({"patn_border": BORDER} if size == FASHION else {}),
            **self.generated.about,
            "keypoints_sha256": keypoints_sha256(self.images(), self.gallery.poses),
            "weights": {
                name: METRICS[name].fingerprint(path) for name, path in sorted(self.weights.items())
            },
        }

    def images(self) -> list[PersonImage]:
        """Every image of a pair, once."""
        return [
            self.gallery.images[name] for name in sorted({n for pair in self.pairs for n in pair})
        ]

    def missing(self) -> dict[str, str]:
        """Measures that nobody can take, and the file they need."""
        return {
            measure: f"not measured: needs {metric.needs}, --{option} FILE"
            for option, metric in METRICS.items()
            if metric.needs and option not in self.weights
            for measure in metric.measures
        }

    def describe(self) -> Iterator[str]:
        """What it is, line by line."""
        yield json.dumps(self.about(), indent=1)
        for name, reason in self.missing().items():
            yield f"{name}: {reason}"


def choose_pairs(
    dataset: Dataset, poses: Mapping[str, Pose], file: str | None, count: int | None
) -> tuple[list[Pair], dict[str, PersonImage]]:
    """The pairs to metric by, and the images they name.

    Without a file: the published rule over the gallery, in the order of the key-point file's rows.

    Raises:
        UserError: If a file names an image that is not there, or there is no pair.
    """
    images = {image.name: image for image in (*dataset.train, *dataset.query, *dataset.gallery)}
    if file is None:
        gallery = {image.name for image in dataset.gallery}
        shown = {name: pose for name, pose in poses.items() if name in gallery}
        return sampled_pairs(shown, TEST_PAIRS if count is None else count), images
    pairs = read_pairs(file)
    for number, pair in enumerate(pairs, start=2):
        for name in pair:
            if name not in images:
                raise UserError(
                    f"{file}: line {number}: {name} must be the name of an image of the data set, "
                    f"and is not"
                )
    return pairs[:count], images


def refuse_tested(path: str, dataset: Dataset) -> None:
    """Refuse a re-ID network as a metric that was trained on the people it would metric by.

    Raises:
        UserError: If it was.
    """
    notes = read_tensors(path)[1]
    leak_status(recorded_fingerprints(notes), dataset, dataset.train, "re-ID network")


def evaluate_generator(
    job: Job,
    folder: Path,
    device: torch.device,
    progress: Callable[[Sequence], Iterable] = iter,
) -> Path:
    """Metric, and write ``quality.json`` into ``folder``; the path.

    Raises:
        UserError: If the folder holds the quality of something else, or weights cannot be read.
    """
    path, about = folder / RESULT, job.about()
    if finished(path, about):
        return path
    metrics = open_metrics(job.weights, device)
    starts = range(0, len(job.pairs), BATCH)
    for start in progress(starts):
        _measure(job, job.pairs[start : start + BATCH], metrics)
    measures: dict[str, dict[str, float | None]] = {}
    for protocol, row in metrics.items():
        for metric in row:
            for name, value in metric.scores().items():
                measures.setdefault(name, {})[protocol] = None if isnan(value) else value
    versions = {name: version(name) for name in LIBRARIES}
    versions |= {"reid-aug": __version__, "python": platform.python_version()}
    result = {**about, "measures": measures, "missing": job.missing(), "versions": versions}
    write_json(path, result)
    return path


def open_metrics(weights: Mapping[str, str], device: torch.device) -> dict[str, list[Metric]]:
    """Everybody who can metric, by protocol; each network is read once."""
    metrics: dict[str, list[Metric]] = {protocol: [] for protocol in PROTOCOLS}
    for option, metric in METRICS.items():
        if metric.needs and option not in weights:
            continue
        network = metric.open(weights[option], device) if metric.needs else None
        for protocol in PROTOCOLS:
            metrics[protocol].append(metric(protocol, network))
    return metrics


def _measure(job: Job, pairs: Sequence[Pair], metrics: Mapping[str, Sequence[Metric]]) -> None:
    read = [(job.gallery.read(source), job.gallery.read(target)) for source, target in pairs]
    seen = job.generated.draw(read)
    poses = [target.pose for _, target in read]
    for protocol, row in metrics.items():
        for metric in row:
            metric.look([each[protocol] for each in seen], poses)


def seconds_to_measure(job: Job, device: torch.device) -> float:
    """How long judging takes, from a batch of the pairs; what comes after the last is left out."""
    some = job.pairs[:BATCH]
    metrics = open_metrics(job.weights, device)
    start = time.perf_counter()
    _measure(job, some, metrics)
    return (time.perf_counter() - start) / len(some) * len(job.pairs)


def finished(path: Path, about: Mapping[str, Any]) -> bool:
    """Whether ``path`` holds the result of this.

    Raises:
        UserError: If it holds another one's.
    """
    if not path.is_file():
        return False
    result = read_quality(path)
    others = [key for key, value in about.items() if result.get(key) != value]
    if others:
        raise UserError(
            f"{path}: holds the quality of something else, which differs in {', '.join(others)}; "
            f"choose another folder with --out, or remove the file"
        )
    return True


def read_quality(path: Path) -> dict[str, Any]:
    """Read a ``quality.json``."""
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
        if result["format"] == FORMAT:
            return result
    except (OSError, ValueError, KeyError, TypeError):
        pass
    raise UserError(f"{path}: must be a result of generator evaluate ({FORMAT}); remove the file")


def table(result: Mapping[str, Any]) -> Iterator[str]:
    """The lines of a result's table, the protocol named in every column's head."""
    yield f"{result['pairs']} pairs, list {result['pairs_sha256'][:8]}"
    yield f"{'measure':<18}" + "".join(f"{protocol:>10}" for protocol in PROTOCOLS)
    for name, values in result["measures"].items():
        cells = [values[protocol] for protocol in PROTOCOLS]
        shown = ["undefined" if cell is None else f"{cell:.4f}" for cell in cells]
        yield f"{name:<18}" + "".join(f"{cell:>10}" for cell in shown)
    for name, reason in result["missing"].items():
        yield f"{name:<18}  {reason}"
