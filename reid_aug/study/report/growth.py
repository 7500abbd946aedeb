"""The gain over the number of real images per identity: one curve per kind of images and ratio.

A point is a row and its baseline, which have the same kept set. A curve needs two kept sets.
"""

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from reid_aug.study.report.curves import GrowthCurve, GrowthPoint
from reid_aug.study.report.gains import Gain
from reid_aug.study.report.rows import Line
from reid_aug.study.report.texts import moments


def growth_curves(lines: Sequence[Line], kinds: Sequence[Any]) -> Iterator[GrowthCurve]:
    """The curves of the rows of a table that have generated images.

    Args:
        lines: the lines of the table.
        kinds: every :attr:`RowKey.kind` on the page, in the order of their colours.
    """
    groups: defaultdict[Any, list[Line]] = defaultdict(list)
    for line in lines:
        key = line.row.key
        if key.ratio and line.gain and all(result.classes for result in line.row.results):
            groups[key.backbone, key.kind, key.ratio].append(line)
    several = len({line.row.key.backbone for line in lines}) > 1
    for (backbone, kind, _), group in groups.items():
        points = sorted(map(_point, group), key=lambda point: point.images)
        if len({point.images for point in points}) > 1:
            name = f"{backbone}: " * several + group[0].what_at_ratio
            yield GrowthCurve(name, kinds.index(kind), tuple(points))


def _point(line: Line) -> GrowthPoint:
    assert line.gain is not None
    images = moments(one.real / (one.classes or math.nan) for one in line.row.results)[0]
    return GrowthPoint(images, 100 * line.gain.mean, *_ends(line.gain))


def _ends(gain: Gain) -> tuple[float, float]:
    """The ends of both 95 % intervals together, in points; NaN where there is none."""
    found = [each for each in (gain.over_seeds, gain.over_queries) if each]
    if not found:
        return math.nan, math.nan
    return 100 * min(each.low for each in found), 100 * max(each.high for each in found)
