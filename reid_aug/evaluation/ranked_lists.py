"""Pictures of ranked lists: queries, and the nearest gallery images of each.

A hit has a green frame, a miss a red one. Images that the protocol ignores are left out: those of
the query's identity under its own camera, and junk. In a tie, misses come first, as in the scores.
"""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from reid_aug.data.dataset import Dataset, read_image
from reid_aug.data.pictures import INK, PAPER, sheet
from reid_aug.evaluation import Matches
from reid_aug.evaluation.features import columns
from reid_aug.runtime.errors import UserError

QUERY_CHOICES = ("worst", "best", "spread")
LISTED_SIZE = (160, 80)  # pixels of a crop in the picture
FRAME_WIDTH = 4  # pixels
HIT, MISS = (44, 160, 44), (214, 39, 40)


def check_choice(which: str) -> None:
    """Raise a UserError unless ``which`` is one of ``QUERY_CHOICES``."""
    if which not in QUERY_CHOICES:
        raise UserError(f"queries must be one of {', '.join(QUERY_CHOICES)}, got {which!r}")


def choose_queries(ap: np.ndarray, which: str, count: int) -> list[int]:
    """Places of at most ``count`` queries with a match: the worst, the best, or spread over AP.

    Args:
        ap: average precision of each query, NaN for a query without a match, (Q,).
        which: one of ``QUERY_CHOICES``.

    >>> ap = np.array([0.5, np.nan, 0.1, 1.0])
    >>> choose_queries(ap, "worst", 2), choose_queries(ap, "spread", 2)
    ([2, 0], [2, 3])
    """
    ordered = np.argsort(ap, kind="stable")[: int(np.isfinite(ap).sum())]
    if which == "best":
        ordered = ordered[::-1]
    count = min(count, len(ordered))
    if which == "spread":
        ordered = ordered[np.linspace(0, len(ordered) - 1, count).round().astype(int)]
    result: list[int] = ordered[:count].tolist()
    return result


def ranked(
    row: np.ndarray, matches: np.ndarray, ignored: np.ndarray, top: int
) -> list[tuple[int, bool]]:
    """Places of the ``top`` nearest gallery images, and whether each is a hit.

    Args:
        row: distances of one query, (G,).
        matches: places in the gallery, from :meth:`reid_aug.evaluation.Matches.of`.
        ignored: places in the gallery that are left out, from the same method.
    """
    is_hit = np.zeros(len(row), bool)
    is_hit[matches] = True
    order = np.lexsort([is_hit, row])
    order = order[~np.isin(order, ignored)][:top]
    return list(zip(order.tolist(), is_hit[order].tolist(), strict=True))


def ranked_picture(
    dataset: Dataset, distances: np.ndarray, ap: np.ndarray, queries: Sequence[int], top: int
) -> Image.Image:
    """One row per query: its AP, the query, and its ``top`` nearest gallery images.

    Args:
        dataset: the data set.
        distances: (Q, G), those that ``ap`` was computed from.
        ap: average precision of each query, (Q,).
        queries: places of the queries to show.
        top: number of gallery images per query.
    """
    matches = Matches(*columns(dataset))
    rows = []
    for query in queries:
        image, pair = dataset.query[query], matches.of(query)
        lines = f"AP {ap[query]:.3f}", f"pid {image.pid}", f"camera {image.camid}"
        label = _label((*lines, f"{len(pair[0])} matches"))
        found = ranked(distances[query], *pair, top)
        crops = [
            _framed(read_image(dataset.gallery[place].path, *LISTED_SIZE), HIT if is_hit else MISS)
            for place, is_hit in found
        ]
        rows.append([label, _framed(read_image(image.path, *LISTED_SIZE), INK), *crops])
    return sheet(rows, ["", "query", *map(str, range(1, top + 1))])


def _label(lines: Sequence[str]) -> np.ndarray:
    canvas = Image.new("RGB", LISTED_SIZE[::-1], PAPER)
    ImageDraw.Draw(canvas).multiline_text((4, FRAME_WIDTH), "\n".join(lines), INK, spacing=6)
    return np.asarray(canvas)


def _framed(crop: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    framed = np.empty_like(crop)
    framed[:] = colour
    inside = slice(FRAME_WIDTH, -FRAME_WIDTH)
    framed[inside, inside] = crop[inside, inside]
    return framed
