"""Built-in people: drawn pedestrians with true key points, in the layout of Market-1501.

A data set to try everything on, with nothing to download: sixty identities to train on and sixty
to test with, six cameras, key points that are known and not estimated. And because every picture
can be drawn again with one thing changed, it knows the right answer of a pose transfer
(:meth:`People.truth`).

    body      the skeleton and its postures
    look      what an identity looks like
    shapes    tubes, ellipsoids and boxes as points
    surface   points on skin, clothes and bags
    paint     their colours
    camera    the six streets
    shot      what one picture shows
    canvas    which point is seen where
    render    drawing a shot
    dataset   which shots, under which names
    folder    writing and reading it all
"""

from reid_aug.people.dataset import People, PeopleConfig
from reid_aug.people.folder import (
    RENDERER,
    cached_people,
    is_people,
    read_people,
    write_people,
)

__all__ = [
    "RENDERER",
    "People",
    "PeopleConfig",
    "cached_people",
    "is_people",
    "read_people",
    "write_people",
]
