"""Drawing a shot: pose the body, frame it, splat it on a canvas, put it into the street."""

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter

from reid_aug.people.body import Posture, joints, place_bones
from reid_aug.people.camera import Camera
from reid_aug.people.canvas import HEIGHT, SCALE, WIDTH, Canvas, Figure, Frame
from reid_aug.people.look import Look
from reid_aug.people.paint import paint
from reid_aug.people.shot import Bystander, Crop, Exposure, Shot
from reid_aug.people.surface import Surface, make_surface, pivots_of

NOSE, RIGHT_EAR, LEFT_EAR = 0, 16, 17
FACE = [0, 14, 15]
# How far behind the surface (metres) a joint may lie and still count as seen. Elbows, knees and
# the like lie within their limb; a limb behind the body is farther away than that.
REACH = np.full(18, 0.12)
REACH[[1, 2, 5, 8, 11]] = 0.22
REACH[[14, 15]] = 0.04
REACH[[16, 17]] = 0.07
REACH[[4, 7]] = 0.07


@dataclass(frozen=True, slots=True, eq=False)
class Body:
    """An identity made ready for drawing; ``bone_rows`` is where each bone's points begin."""

    surface: Surface
    colours: np.ndarray
    pivots: np.ndarray
    bone_rows: np.ndarray
    height: float


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """A drawn shot.

    ``image`` is (128, 64, 3) uint8 RGB; ``xy`` is (18, 2) float32 pixels, x right, y down, NaN
    where unseen; ``mask`` is (128, 64) bool, where the person (not a bystander) is seen.
    """

    image: np.ndarray
    xy: np.ndarray
    mask: np.ndarray


def make_body(look: Look) -> Body:
    """The body of an identity: the costly part, worth keeping between its pictures."""
    surface = make_surface(look)
    rows = np.searchsorted(surface.bone, np.arange(16))
    return Body(surface, paint(surface, look), pivots_of(look), rows, look.build.height)


def draw(shot: Shot, body: Body, camera: Camera, bystander: Body | None = None) -> Picture:
    """Draw ``shot``: ``body`` and ``bystander`` are those of the identities it names."""
    figure = pose(body, shot.yaw, shot.posture)
    frame = _frame(figure, camera, shot.distance, shot.crop)
    canvas = Canvas(camera, shot.distance, frame)
    beside = shot.bystander
    if bystander is None or beside is None:
        first, last = canvas.splat(figure)
    elif beside.behind > 0:
        canvas.splat(_stand_beside(bystander, beside))
        first, last = canvas.splat(figure)
    else:
        first, last = canvas.splat(figure)
        canvas.splat(_stand_beside(bystander, beside))
    is_person = (canvas.index >= first) & (canvas.index < last)
    scene = _street(shot, camera, frame)
    is_drawn = canvas.index > 0
    scene[is_drawn] = canvas.colours()[canvas.index[is_drawn]]
    image = _expose(_halve(scene), camera, shot.exposure)
    xy = _seen_joints(shot, figure, camera, frame, canvas)
    return Picture(image, xy, _halve(is_person[..., None].astype(np.float32))[..., 0] > 0.5)


def _stand_beside(body: Body, beside: Bystander) -> Figure:
    figure = pose(body, beside.yaw, beside.posture)
    figure.points[:] += np.array([beside.aside, beside.behind, 0], np.float32)
    return figure


def pose(body: Body, yaw: float, posture: Posture) -> Figure:
    """Bend the body into a posture and set it on the ground."""
    rotations, shifts = place_bones(posture, yaw, body.pivots)
    surface, turn, shift = body.surface, rotations.astype(np.float32), shifts.astype(np.float32)
    points, normals = np.empty_like(surface.points), np.empty_like(surface.normals)
    for bone in range(len(turn)):
        rows = slice(body.bone_rows[bone], body.bone_rows[bone + 1])
        points[rows] = surface.points[rows] @ turn[bone].T + shift[bone]
        normals[rows] = surface.normals[rows] @ turn[bone].T
    shared = np.flatnonzero(surface.weight < 1)
    other, weight = surface.other_bone[shared], surface.weight[shared, None]
    elsewhere = np.einsum("nij,nj->ni", turn[other], surface.points[shared]) + shift[other]
    points[shared] = weight * points[shared] + (1 - weight) * elsewhere
    places = joints(rotations, shifts, body.pivots)
    lowest = np.array([0, 0, points[:, 2].min()], np.float32)
    scale = np.float32(body.height)
    return Figure((points - lowest) * scale, normals, body.colours, (places - lowest) * scale)


def _frame(figure: Figure, camera: Camera, distance: float, crop: Crop) -> Frame:
    """The detector's box about a figure.

    Its width goes by the joints: a bag must not change where a pose lies in the picture.
    """
    down = camera.project(figure.points, distance)[0][:, 1]
    places, depth = camera.project(figure.joints, distance)
    top, bottom = float(down.min()), float(down.max())
    height = (bottom - top) * crop.height
    spread = np.ptp(places[:, 0]) + 0.13 / depth[1]
    width = max(height * crop.width, spread * crop.tightness)
    middle = places[[1, 8, 11], 0].mean()
    return Frame(
        x=float(middle + width * crop.shift_x),
        y=(top + bottom) / 2 + height * crop.shift_y,
        width=float(width),
        height=height,
    )


def _street(shot: Shot, camera: Camera, frame: Frame) -> np.ndarray:
    """The street behind the person and their shadow on it, (256, 128, 3) float32 of 255.

    The window lies so that its horizon is where the camera's pitch puts it.
    """
    height, street = shot.window.height, camera.street
    width = min(max(40, int(height * frame.width / frame.height)), street.width)
    left = int(shot.window.left * (street.width - width))
    pitch = np.tan(camera.pitch(shot.distance))
    horizon = 0.5 - 0.9 * pitch / frame.height
    top = int(np.clip(camera.horizon - horizon * height, 0, street.height - height))
    window = street.resize(
        (WIDTH * SCALE, HEIGHT * SCALE),
        Image.Resampling.BILINEAR,
        box=(left, top, left + width, top + height),
    )
    x, y = frame.canvas(camera.project(np.zeros((1, 3)), shot.distance)[0])[0]
    x += 8 * camera.sun[0]
    across = np.exp(-(((np.arange(WIDTH * SCALE) - x) / (15 * SCALE)) ** 2))
    down = np.exp(-(((np.arange(HEIGHT * SCALE) - y) / (4 * SCALE)) ** 2))
    shadow = (1 - 0.5 * down[:, None] * across).astype(np.float32)
    return np.asarray(window, np.float32) * shadow[..., None]


def _halve(canvas: np.ndarray) -> np.ndarray:
    """Mean over the canvas pixels of each picture pixel: (256, 128, C) to (128, 64, C)."""
    return canvas.reshape(HEIGHT, SCALE, WIDTH, SCALE, -1).mean(axis=(1, 3))


def _expose(scene: np.ndarray, camera: Camera, exposure: Exposure) -> np.ndarray:
    """The picture the camera takes of a scene, (128, 64, 3) uint8."""
    image = Image.fromarray(camera.develop(scene, exposure.gain))
    if exposure.shrink < 1:
        small = (int(WIDTH * exposure.shrink), int(HEIGHT * exposure.shrink))
        image = image.resize(small, Image.Resampling.BILINEAR)
        image = image.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
    image = image.filter(ImageFilter.GaussianBlur(camera.blur * exposure.blur))
    rng = np.random.default_rng(exposure.noise_seed)
    grain = rng.normal(0, camera.noise, (HEIGHT, WIDTH, 1))
    grain = grain + rng.normal(0, camera.noise / 2, (HEIGHT, WIDTH, 3))
    return (np.asarray(image) + grain).clip(0, 255).astype(np.uint8)


def _seen_joints(
    shot: Shot, figure: Figure, camera: Camera, frame: Frame, canvas: Canvas
) -> np.ndarray:
    """The joints in the picture, (18, 2) float32 pixels, NaN where hidden, outside or missed."""
    places, depth = camera.project(figure.joints, shot.distance)
    places = frame.canvas(places)
    inside = (places >= 0).all(1) & (places < (WIDTH * SCALE, HEIGHT * SCALE)).all(1)
    column, row = places.astype(int).clip(0, (WIDTH * SCALE - 1, HEIGHT * SCALE - 1)).T
    surface = canvas.depths()[canvas.index[row, column]]
    seen = inside & (depth - surface < REACH) & ~np.array(shot.missed)
    if _faces_away(figure.joints, camera, shot.distance):
        seen[FACE] = False
    xy = (places / SCALE - 0.5).astype(np.float32)  # a pixel's coordinate is that of its centre
    xy[~seen] = np.nan
    return xy


def _faces_away(places: np.ndarray, camera: Camera, distance: float) -> bool:
    nose = places[NOSE] - (places[RIGHT_EAR] + places[LEFT_EAR]) / 2
    return bool(nose @ (np.array([0, -distance, camera.height]) - places[NOSE]) < 0)
