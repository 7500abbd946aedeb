"""Key points as an estimator would give them: what is in sight, less what it misses.

What is in sight follows from the picture: the depth of the drawn surface at every joint. What an
estimator misses beyond that is chance, and comes in groups: everybody, both legs, an arm. The
numbers were fitted to OpenPose's key points of the 12,936 training images of Market-1501
(``benchmarks/people.py`` prints both).
"""

import numpy as np

from reid_aug.people.camera import Camera
from reid_aug.people.canvas import HEIGHT, SCALE, WIDTH, Canvas, Frame
from reid_aug.people.pose import Figure

NOSE, RIGHT_EYE, LEFT_EYE, RIGHT_EAR, LEFT_EAR = 0, 14, 15, 16, 17
ARMS, LEGS = ((3, 4), (6, 7)), ((9, 10), (12, 13))  # (elbow, wrist), (knee, ankle)

# How far behind the surface (metres) a joint may lie and still count as seen. Elbows, knees and
# the like lie within their limb; a limb behind the body is farther away than that.
REACH = np.full(18, 0.22, np.float32)
REACH[[1, 2, 5, 8, 11]] = 0.45
REACH[NOSE] = 0.18
REACH[[9, 12]] = 0.45
REACH[[4, 7]] = 0.12
REACH[[14, 15]] = 0.07
REACH[[16, 17]] = 0.09

# How far (a sine) the head may turn the nose, an eye or an ear away from the camera.
NOSE_TURN, EYE_TURN, EAR_TURN = -0.4, -0.15, -0.3
EYE_SIDE = 0.6  # how much an eye looks to its side of the head (a tangent)

# Chances, each beyond those above it: a missed elbow takes its wrist along, a knee its ankle.
NOBODY = 0.03  # nobody is found
BOTH_LEGS, BOTH_ANKLES = 0.05, 0.04  # from the knees, from the ankles down
KNEE, ANKLE = 0.015, 0.03  # one alone
ARM, WRIST = 0.06, 0.05  # of a front
BACK_ARM, BACK_WRIST = 0.12, 0.2
NOSE_MISSED, EYE, EAR = 0.01, 0.08, 0.06
COVERED_EAR = 0.4  # under long hair


def sample_missed(rng: np.random.Generator, yaw: float, covers_ears: bool) -> np.ndarray:
    """Which of the 18 joints are missed even where they are in sight, (18,) bool."""
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
    return missed | (together[2] < NOBODY)


def seen_joints(
    missed: tuple[bool, ...], figure: Figure, camera: Camera, distance: float, frame: Frame,
    canvas: Canvas,
) -> np.ndarray:  # fmt: skip
    """The joints in the picture, (18, 2) float32 pixels, NaN where hidden, outside or missed."""
    places, depth = camera.project(figure.joints, distance)
    places = frame.canvas(places)
    size = np.array([[WIDTH * SCALE], [HEIGHT * SCALE]])
    inside = ((places >= 0) & (places < size)).all(axis=0)
    column, row = places.astype(int).clip(0, size - 1)
    surface = canvas.depths()[canvas.index[row, column]]
    seen = inside & (depth - surface < REACH) & _faces_camera(figure.joints, camera, distance)
    seen &= ~np.array(missed)
    for limb in (*ARMS, *LEGS):  # no estimator finds a hand without its elbow
        seen[limb[1]] &= seen[limb[0]]
    xy = (places.T / SCALE - 0.5).astype(np.float32)  # a pixel's coordinate is that of its centre
    xy[~seen] = np.nan
    return xy


def _faces_camera(places: np.ndarray, camera: Camera, distance: float) -> np.ndarray:
    """(18,) bool: which joints of the head are on its side towards the camera."""
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
