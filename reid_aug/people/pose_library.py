"""The pose library: poses of the renderer's mean person, which belong to nobody.

A pose has a name like ``walk/3/front``: the activity, the number of the posture, and the direction
in which the person faces, as seen in the picture.

    walk, hurry  8 postures of a gait cycle each
    stand        upright; on the left leg; on the right leg; phone in both hands; phone at the ear;
                 hands in the pockets; arms folded; hands behind the back
    cycle        8 positions of the pedals
    carry        a bag in the hand, a jacket over the arm, an umbrella, a pushed bicycle; twice each

The library in the package is ``reid_aug/assets/poses.csv``, in the format of
:mod:`reid_aug.data.keypoints`. :func:`computed_library` made it, in pixels of a picture of
``LIBRARY_SIZE``. All poses have one scale. A joint that the person or its luggage hides is missing,
as in the keypoints of photographs; shoulders and hips never are.
"""

from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from importlib import resources
from pathlib import Path

import numpy as np
from PIL import Image

from reid_aug.data.keypoints import DIRECTIONS, TORSO, Pose, read_keypoints
from reid_aug.people.appearance import Appearance, Build, Clothes, Hair, Luggage, Manner
from reid_aug.people.body import Posture
from reid_aug.people.camera import Camera
from reid_aug.people.canvas import CANVAS_SCALE, HEIGHT, WIDTH, Canvas, Frame
from reid_aug.people.estimator import seen_joints
from reid_aug.people.gait import mean_posture
from reid_aug.people.palette import Colours
from reid_aug.people.pose import Body, make_body, pose

LIBRARY = "library"  # the value of synthesize.poses
POSTURES = 8  # of each activity
STANCES = (  # gait, phase and gesture
    ("standing", 0.0, "none"),
    ("resting", 1.0, "none"),
    ("resting", -1.0, "none"),
    ("standing", 0.0, "phone_in_hands"),
    ("standing", 0.0, "phone_at_ear"),
    ("standing", 0.0, "in_pockets"),
    ("standing", 0.0, "folded"),
    ("standing", 0.0, "behind_back"),
)
FINENESS = 4  # of the library per pixel of a rendered image, so that rounding loses little
LIBRARY_SIZE = (FINENESS * HEIGHT, FINENESS * WIDTH)  # height and width, pixels
DISTANCE = 8.0  # metres to the camera
BOX = (1.0, 2.0)  # width and height of the picture at the person, metres
MIDDLE = 0.85  # height of its centre above the ground, metres

GREY = (128.0, 128.0, 128.0)
GREYS = Colours(
    GREY, GREY, GREY, GREY, GREY, GREY, GREY, GREY, GREY, GREY,
    pattern="plain", frequency=1.0, phases=(0.0, 0.0, 0.0, 0.0),
)  # fmt: skip
NOTHING = Luggage(0.0, False, False, "", "", side=1)
CARRIED = (
    replace(NOTHING, held="bag"),
    replace(NOTHING, held="jacket"),
    replace(NOTHING, held="umbrella"),
    replace(NOTHING, bicycle="pushed"),
)
RIDDEN = replace(NOTHING, bicycle="ridden")


def library_poses() -> dict[str, Pose]:
    """The poses of the library in the package by name, in pixels of ``LIBRARY_SIZE``."""
    return read_keypoints(library_file())


def library_file() -> Path:
    """The keypoint file of the library in the package."""
    return Path(str(resources.files("reid_aug.assets") / "poses.csv"))


def computed_library() -> dict[str, Pose]:
    """The poses of the library, computed; :func:`library_poses` reads the same, rounded."""
    return {
        f"{name}/{direction}": seen_pose(luggage, posture, turn / len(DIRECTIONS))
        for name, luggage, posture in _postures()
        for turn, direction in enumerate(DIRECTIONS)
    }


def walking_pose(turn: float, cycle: float) -> Pose:
    """The pose of the mean person in walking, in pixels of ``LIBRARY_SIZE``.

    Args:
        turn: the direction, as a part of a whole turn: 0 faces the camera, 0.25 the right edge of
            the picture.
        cycle: the place in the gait cycle of two steps, of which 1 is the whole.
    """
    posture = mean_posture(_mean_person(NOTHING), "walking", "none", 2 * np.pi * cycle)
    return seen_pose(NOTHING, posture, turn)


def seen_pose(luggage: Luggage, posture: Posture, turn: float) -> Pose:
    """The visible joints of the mean person in a posture, in pixels of ``LIBRARY_SIZE``.

    Args:
        luggage: what the person carries or rides.
        turn: as for :func:`walking_pose`.
    """
    camera, frame = _camera(), _frame()
    figure = pose(_mean_body(luggage), 2 * np.pi * turn, posture)
    canvas = Canvas(camera, DISTANCE, frame)
    canvas.splat(figure)
    found = seen_joints((False,) * 18, figure, camera, DISTANCE, frame, canvas)
    places = frame.canvas(camera.project(figure.joints, DISTANCE)[0]).T / CANVAS_SCALE - 0.5
    found[list(TORSO)] = places[list(TORSO)]
    return Pose(found).resized((HEIGHT, WIDTH), LIBRARY_SIZE)


def _postures() -> Iterator[tuple[str, Luggage, Posture]]:
    """The name, the luggage and the posture of every activity and number."""
    for number in range(POSTURES):
        phase, person = 2 * np.pi * number / POSTURES, _mean_person(NOTHING)
        yield f"walk/{number}", NOTHING, mean_posture(person, "walking", "none", phase)
        yield f"hurry/{number}", NOTHING, mean_posture(person, "fast", "none", phase)
        gait, moment, gesture = STANCES[number]
        yield f"stand/{number}", NOTHING, mean_posture(person, gait, gesture, moment)
        yield f"cycle/{number}", RIDDEN, mean_posture(_mean_person(RIDDEN), "", "", phase)
        carried, moment = CARRIED[number // 2], np.pi * (number % 2 + 0.5)
        posture = mean_posture(_mean_person(carried), "walking", "none", moment)
        yield f"carry/{number}", carried, posture


def _mean_person(luggage: Luggage) -> Appearance:
    """A person with the mean of every measure that the appearances of the data set have."""
    return Appearance(
        build=Build(1.0, 0.95, 0.975, 1.0, belly=0.0, bust=0.0, head=1.0, stoop=0.0),
        hair=Hair(0.0, 0.5, is_tied=False),
        clothes=Clothes(2.0, 2.0, 1.1, 1.15, 0.92, skirt=0.0, flare=0.0, is_one_piece=False),
        luggage=luggage,
        colours=GREYS,
        manner=Manner(0.365, 0.5, 0.35, elbow=0.5, spread=0.19, lean=0.03),
    )


@cache
def _mean_body(luggage: Luggage) -> Body:
    return make_body(_mean_person(luggage))


@cache
def _camera() -> Camera:
    """A camera at the height of the eyes; its colours are not used."""
    return Camera(
        street=Image.new("RGB", (1, 1)), horizon=0, mixing=np.eye(3), gain=np.ones(3), lift=0.0,
        gamma=1.0, blur=0.0, noise=0.0, height=1.6, sun=np.array([0.0, 0.0, 1.0]), ambient=0.5,
        quality=75,
    )  # fmt: skip


@cache
def _frame() -> Frame:
    """The picture: of one size and at one place for all poses."""
    middle, _ = _camera().project(np.array([[0.0], [0.0], [MIDDLE]]), DISTANCE)
    return Frame(0.0, float(middle[1, 0]), BOX[0] / DISTANCE, BOX[1] / DISTANCE)
