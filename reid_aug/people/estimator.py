"""Simulated output of a pose estimator: the visible joints, without those that it misses.

Visibility follows from the rendered image: the depth of the surface at every joint. In addition,
an estimator misses joints at random and in groups: the whole person, both legs, an arm. The
numbers are fitted to OpenPose's keypoints of the 12,936 training images of Market-1501
(``benchmarks/people.py`` prints both distributions).
"""

import numpy as np

from reid_aug.people.camera import Camera
from reid_aug.people.canvas import CANVAS_SCALE, HEIGHT, WIDTH, Canvas, Frame
from reid_aug.people.pose import Figure

NOSE, RIGHT_EYE, LEFT_EYE, RIGHT_EAR, LEFT_EAR = 0, 14, 15, 16, 17
ARMS, LEGS = ((3, 4), (6, 7)), ((9, 10), (12, 13))  # (elbow, wrist), (knee, ankle)

# Largest depth of a visible joint behind the surface, metres. Elbows, knees and similar joints lie
# inside their limb; the joints of a limb behind the body have a larger depth.
REACH = np.full(18, 0.22, np.float32)
REACH[[1, 2, 5, 8, 11]] = 0.45
REACH[NOSE] = 0.18
REACH[[9, 12]] = 0.45
REACH[[4, 7]] = 0.12
REACH[[14, 15]] = 0.07
REACH[[16, 17]] = 0.09

# Least scalar product of the direction to the camera and that of a nose, an eye or an ear.
NOSE_TURN, EYE_TURN, EAR_TURN = -0.4, -0.15, -0.3
EYE_SIDE = 0.6  # tangent of the angle between the direction of an eye and that of the nose

# Probabilities of a miss. A missed elbow also removes its wrist, a missed knee its ankle.
NOBODY = 0.03  # the whole person
BOTH_LEGS, BOTH_ANKLES = 0.05, 0.04  # both knees and ankles, both ankles
KNEE, ANKLE = 0.015, 0.03  # a single one
ARM, WRIST = 0.06, 0.05  # of a person seen from the front
BACK_ARM, BACK_WRIST = 0.12, 0.2  # of a person seen from behind
NOSE_MISSED, EYE, EAR = 0.01, 0.08, 0.06
COVERED_EAR = 0.4  # an ear under long hair


def sample_missed(rng: np.random.Generator, yaw: float, covers_ears: bool) -> np.ndarray:
    """(18,) bool: the joints that the simulated estimator misses even if they are visible."""
    luck = rng.random(18)
    together = rng.random(3)
    missed = np.zeros(18, bool)
    is_back = np.cos(yaw) < 0
    for elbow, wrist in ARMS:
        missed[elbow] = luck[elbow] < (BACK_ARM if is_back else ARM)
        missed[wrist] = luck[wrist] < (BACK_WRIST if is_back else WRIST)
    for knee, ankle in LEGS:
        missed[knee] = luck[knee] < KNEE or together[0] < BOTH_LEGS
        missed[ankle] = luck[ankle] < ANKLE or together[1] < BOTH_ANKLES
    missed[NOSE] = luck[NOSE] < NOSE_MISSED
    missed[[RIGHT_EYE, LEFT_EYE]] = luck[[RIGHT_EYE, LEFT_EYE]] < EYE
    chance = COVERED_EAR if covers_ears else EAR
    missed[[RIGHT_EAR, LEFT_EAR]] = luck[[RIGHT_EAR, LEFT_EAR]] < chance
    result: np.ndarray = missed | (together[2] < NOBODY)
    return result


def seen_joints(
    missed: tuple[bool, ...], figure: Figure, camera: Camera, distance: float, frame: Frame,
    canvas: Canvas,
) -> np.ndarray:  # fmt: skip
    """The found joints, (18, 2) float32 pixels; NaN if hidden, outside the image or missed."""
    places, depth = camera.project(figure.joints, distance)
    places = frame.canvas(places)
    size = np.array([[WIDTH * CANVAS_SCALE], [HEIGHT * CANVAS_SCALE]])
    inside = ((places >= 0) & (places < size)).all(axis=0)
    column, row = places.astype(int).clip(0, size - 1)
    surface = canvas.depths()[canvas.index[row, column]]
    seen = inside & (depth - surface < REACH) & _faces_camera(figure.joints, camera, distance)
    seen &= ~np.array(missed)
    for limb in (
        *ARMS,
        *LEGS,
    ):  # an estimator finds no wrist without its elbow and no ankle without its knee
        seen[limb[1]] &= seen[limb[0]]
    xy = (places.T / CANVAS_SCALE - 0.5).astype(np.float32)  # coordinates are of pixel centres
    xy[~seen] = np.nan
    return xy


def _faces_camera(places: np.ndarray, camera: Camera, distance: float) -> np.ndarray:
    """(18,) bool: False for joints on the side of the head that is turned away from the camera."""
    head = places[:, [RIGHT_EAR, LEFT_EAR]].mean(axis=1)
    view = np.array([0, -distance, camera.height]) - head
    ahead, left = places[:, NOSE] - head, places[:, LEFT_EAR] - places[:, RIGHT_EAR]
    view, ahead, left = (v / np.linalg.norm(v) for v in (view, ahead, left))
    faces = np.ones(18, bool)
    faces[NOSE] = ahead @ view > NOSE_TURN
    for eye, aside in ((RIGHT_EYE, -EYE_SIDE), (LEFT_EYE, EYE_SIDE)):
        faces[eye] = (ahead + aside * left) @ view > EYE_TURN
    faces[LEFT_EAR], faces[RIGHT_EAR] = left @ view > EAR_TURN, -left @ view > EAR_TURN
    return faces
