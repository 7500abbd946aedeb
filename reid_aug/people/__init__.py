"""Built-in people: drawn pedestrians with true key points, in the layout of Market-1501.

A data set to try everything on, with nothing to download: sixty identities to train on and sixty
to test with, six cameras, key points that are true where they are given and missing as often as an
estimator's. And because every picture can be drawn again with one thing changed, it knows the right
answer of a pose transfer (:meth:`People.truth`), under any camera.

    difficulty  the dial, and the numbers behind it
    palette     colours
    look        what an identity looks like, wears and carries
    body        the skeleton
    gait        postures: walking, standing, riding, gestures
    shapes      tubes, ellipsoids and boxes as points
    surface     the points of a person
    anatomy     those on skin, hair and clothes
    luggage     those on bags, umbrellas and bicycles
    paint       their colours
    pose        a body bent into a posture
    street      what is behind
    camera      the six cameras
    canvas      which point is seen where
    estimator   which joints are found
    shot        what one picture shows
    render      drawing a shot
    dataset     which shots, under which names
    folder      writing and reading it all
"""

from reid_aug.people.dataset import People, PeopleConfig
from reid_aug.people.folder import (
    RENDERER,
    cached_people,
    is_people,
    people_cache,
    read_people,
    write_people,
)

__all__ = [
    "RENDERER",
    "People",
    "PeopleConfig",
    "cached_people",
    "is_people",
    "people_cache",
    "read_people",
    "write_people",
]
