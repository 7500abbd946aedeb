"""Built-in people: rendered pedestrians with exact keypoints, in the layout of Market-1501.

The data set needs no download. By default it has 60 training identities, 60 test identities and
six cameras. A keypoint that is given is exact; keypoints are missing as often as those of a pose
estimator. Every image can be rendered again with one property changed, so the correct result of a
pose transfer is available under any camera (:meth:`People.truth`).

    difficulty  the difficulty setting and its numbers
    palette     the colours of clothes, skin and hair
    appearance  the build, hair, clothes and luggage of an identity
    body        the skeleton
    gait        postures: walking, standing, riding, gestures
    shapes      point clouds of tubes, ellipsoids and boxes
    surface     the point cloud of a person
    anatomy     the points on skin, hair and clothes
    luggage     the points on bags, umbrellas and bicycles
    paint       the colours of the points
    pose        a body in a posture
    street      the background
    camera      the six cameras
    canvas      the depth buffer: which point is visible at which pixel
    estimator   which joints are found
    shot        the description of one image
    render      the rendering of a shot
    dataset     the shots of a data set and their file names
    folder      writing and reading the folder
    pose_library    poses of the mean person, which ship in the package
"""

from reid_aug.people.dataset import People, PeopleConfig
from reid_aug.people.folder import (
    RENDERER,
    cached_people,
    dataset_name,
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
    "dataset_name",
    "is_people",
    "people_cache",
    "read_people",
    "write_people",
]
