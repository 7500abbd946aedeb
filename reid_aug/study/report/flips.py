"""Ranked lists that flipped: queries whose first image is a hit with only one of two networks.

The pictures need the data set and both networks, which lie beside their results. The features are
computed again. The mAP of the ranking is compared with the mAP in the result: where they differ,
the network or the data set is not that of the result, and no list is shown.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from reid_aug.backbones.checkpoint import load_reid_network
from reid_aug.data.dataset import Dataset, read_image
from reid_aug.data.provenance import dataset_sha256
from reid_aug.evaluation import Matches
from reid_aug.evaluation.features import (
    columns,
    distance_matrix,
    evaluation_transform,
    extract_features,
    score,
)
from reid_aug.evaluation.ranked_lists import ranked
from reid_aug.runtime.errors import UserError
from reid_aug.runtime.pages import picture
from reid_aug.stages.train_reid.folder import MODEL, RESULT
from reid_aug.study.report.results import Result

FLIPS_PER_KIND = 3  # queries shown per kind of flip
TOP = 6  # gallery images of a ranked list
FLIP_SIZE = 128, 64  # pixels of a picture in the page
NEAR_MAP = 0.005  # largest difference between a mAP and its repetition on another machine


@dataclass(frozen=True, slots=True)
class RankedList:
    """The nearest gallery images, as (data address, is a hit). Ranks count from 1."""

    first_hit: int
    ap: float
    nearest: tuple[tuple[str, bool], ...]


@dataclass(frozen=True, slots=True)
class Flip:
    """A query, and its ranked list by each network."""

    name: str
    query: str
    before: RankedList
    after: RankedList


@dataclass(frozen=True, slots=True)
class Flips:
    """Queries whose first image is a hit only after (gained) or only before (lost).

    ``counts`` also holds the numbers of queries for which ``both`` networks or ``neither`` rank a
    hit first. ``gained`` and ``lost`` hold the queries whose first hit moved furthest.
    """

    what: str
    seed: int
    counts: dict[str, int]
    gained: list[Flip]
    lost: list[Flip]


class _Ranking:
    """The gallery as one network ranks it for every query."""

    def __init__(self, path: Path, dataset: Dataset, device: torch.device) -> None:
        network = load_reid_network(path)
        model, transform = network.model.to(device), evaluation_transform(network.size)
        query, gallery = (
            extract_features(model, images, transform, device).to(device)
            for images in (dataset.query, dataset.gallery)
        )
        distances = distance_matrix(query, gallery)
        self.scores = score(distances, dataset)
        self.distances = distances.cpu().numpy()
        self.dataset, self.matches = dataset, Matches(*columns(dataset))

    def first_hits(self) -> np.ndarray:
        """(Q,) rank of the first hit of each query, ties pessimistic; 0 without a match."""
        return np.array([self._first_hit(query) for query in range(len(self.distances))])

    def _first_hit(self, query: int) -> int:
        row, (matches, ignored) = self.distances[query], self.matches.of(query)
        if not len(matches):
            return 0
        near = row <= row[matches].min()
        near[matches] = near[ignored] = False
        return int(near.sum()) + 1

    def list_of(self, query: int) -> RankedList:
        """The ranked list of one query, with pictures."""
        found = ranked(self.distances[query], *self.matches.of(query), TOP)
        gallery = self.dataset.gallery
        nearest = tuple((_crop(gallery[place].path), is_hit) for place, is_hit in found)
        return RankedList(self._first_hit(query), float(self.scores.ap[query]), nearest)


def flips_of(
    what: str,
    after: Result,
    before: Result,
    dataset: Dataset,
    device: torch.device | None = None,
) -> Flips | str:
    """The flipped lists between two results of one seed, or a sentence why there are none.

    Args:
        what: label of the row.
        after: the result with generated images.
        before: the result of the baseline.
        dataset: the data set of both.
        device: device of the networks; the CPU if None.
    """
    if dataset_sha256(dataset) != after.dataset_sha256:
        return "The given data set is not that of these results."
    rankings = []
    for result in (before, after):
        path = Path(result.file).with_name(MODEL)
        if not path.is_file():
            return f"A network is missing: {MODEL} beside its {RESULT}."
        try:
            rankings.append(_Ranking(path, dataset, device or torch.device("cpu")))
        except UserError as error:
            return f"A network cannot be read: {error}"
        if abs(rankings[-1].scores.mAP - result.mAP) > NEAR_MAP:
            return f"{path} does not give the mAP of its result: it belongs to another result."
    return _compare(what, after.seed, *rankings)


def _compare(what: str, seed: int, before: _Ranking, after: _Ranking) -> Flips:
    old, new = before.first_hits(), after.first_hits()
    counts = {
        "both": int(((old == 1) & (new == 1)).sum()),
        "gained": int(((old > 1) & (new == 1)).sum()),
        "lost": int(((old == 1) & (new > 1)).sum()),
        "neither": int(((old > 1) & (new > 1)).sum()),
    }

    def shown(queries: Sequence[int]) -> list[Flip]:
        images = before.dataset.query
        return [
            Flip(images[q].name, _crop(images[q].path), before.list_of(q), after.list_of(q))
            for q in queries
        ]

    gained = np.argsort(np.where(new == 1, -old, 0), kind="stable")[
        : min(FLIPS_PER_KIND, counts["gained"])
    ]
    lost = np.argsort(np.where(old == 1, -new, 0), kind="stable")[
        : min(FLIPS_PER_KIND, counts["lost"])
    ]
    return Flips(what, seed, counts, shown(gained.tolist()), shown(lost.tolist()))


def _crop(path: Path) -> str:
    return picture(read_image(path, *FLIP_SIZE), quality=85)
