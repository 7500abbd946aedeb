"""Rendering of a shot: pose the body, frame it, write it on a canvas, add the street."""

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter

from reid_aug.people.camera import Camera
from reid_aug.people.canvas import CANVAS_SCALE, HEIGHT, WIDTH, Canvas, Frame
from reid_aug.people.estimator import seen_joints
from reid_aug.people.pose import Body, Figure, pose
from reid_aug.people.shot import Bystander, Crop, Exposure, Shot


@dataclass(frozen=True, slots=True, eq=False)
class RenderedPicture:
    """A rendered shot."""

    image: np.ndarray  # (128, 64, 3) uint8 RGB
    xy: np.ndarray  # (18, 2) float32 keypoints in pixels, x right and y down; NaN if not found
    mask: np.ndarray  # (128, 64) bool; True at visible pixels of the person, not of a bystander


def draw(shot: Shot, body: Body, camera: Camera, bystander: Body | None = None) -> RenderedPicture:
    """Render ``shot``; ``body`` and ``bystander`` are the bodies of its two identities."""
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
    canvas.close()
    is_person = (canvas.index >= first) & (canvas.index < last)
    scene = _street(shot, camera, frame)
    np.copyto(scene, canvas.colours().take(canvas.index, axis=0), where=canvas.index[..., None] > 0)
    image = _expose(_halve(scene), camera, shot.exposure)
    xy = seen_joints(shot.missed, figure, camera, shot.distance, frame, canvas)
    return RenderedPicture(image, xy, _halve(is_person.astype(np.float32)) > 0.5)


def _stand_beside(body: Body, beside: Bystander) -> Figure:
    figure = pose(body, beside.yaw, beside.posture)
    figure.points[:2] += np.array([[beside.aside], [beside.behind]], np.float32)
    return figure


def _frame(figure: Figure, camera: Camera, distance: float, crop: Crop) -> Frame:
    """The simulated detector box of a figure.

    Its height depends on the person and its width on the joints, so that bags, umbrellas and
    bicycles do not change the position of a pose in the image.
    """
    down = camera.project(figure.points[:, : figure.own], distance)[0][1]
    places, depth = camera.project(figure.joints, distance)
    top, bottom = float(down.min()), float(down.max())
    height = (bottom - top) * crop.height
    spread = np.ptp(places[0]) + 0.13 / depth[1]
    width = max(height * crop.width, spread * crop.tightness)
    middle = places[0, [1, 8, 11]].mean()
    return Frame(
        x=float(middle + width * crop.shift_x),
        y=(top + bottom) / 2 + height * crop.shift_y,
        width=float(width),
        height=height,
    )


def _street(shot: Shot, camera: Camera, frame: Frame) -> np.ndarray:
    """The street with the shadow of the person, (256, 128, 3) float32 in [0, 255].

    The vertical position of the window follows from the horizon and the pitch of the camera.
    """
    height, street = shot.window.height, camera.street
    width = min(max(40, int(height * frame.width / frame.height)), street.width)
    left = int(shot.window.left * (street.width - width))
    pitch = np.tan(camera.pitch(shot.distance))
    horizon = 0.5 - 0.9 * pitch / frame.height
    top = int(np.clip(camera.horizon - horizon * height, 0, street.height - height))
    window = street.resize(
        (WIDTH * CANVAS_SCALE, HEIGHT * CANVAS_SCALE),
        Image.Resampling.BILINEAR,
        box=(left, top, left + width, top + height),
    )
    x, y = frame.canvas(camera.project(np.zeros((3, 1)), shot.distance)[0])[:, 0]
    x += 8 * camera.sun[0]
    across = np.exp(-(((np.arange(WIDTH * CANVAS_SCALE) - x) / (15 * CANVAS_SCALE)) ** 2))
    down = np.exp(-(((np.arange(HEIGHT * CANVAS_SCALE) - y) / (4 * CANVAS_SCALE)) ** 2))
    shadow = (1 - 0.5 * down[:, None] * across).astype(np.float32)
    result: np.ndarray = np.asarray(window, np.float32) * shadow[..., None]
    return result


def _halve(canvas: np.ndarray) -> np.ndarray:
    """Mean of the canvas pixels per image pixel: (256, 128, ...) to (128, 64, ...)."""
    rows = canvas[::CANVAS_SCALE] + canvas[1::CANVAS_SCALE]
    result: np.ndarray = (rows[:, ::CANVAS_SCALE] + rows[:, 1::CANVAS_SCALE]) * np.float32(
        CANVAS_SCALE**-2
    )
    return result


def _expose(scene: np.ndarray, camera: Camera, exposure: Exposure) -> np.ndarray:
    """Colour response, resolution, blur and noise of the camera, to (128, 64, 3) uint8."""
    image = Image.fromarray(camera.develop(scene, exposure.gain))
    if exposure.shrink < 1:
        small = (int(WIDTH * exposure.shrink), int(HEIGHT * exposure.shrink))
        image = image.resize(small, Image.Resampling.BILINEAR)
        image = image.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
    image = image.filter(ImageFilter.GaussianBlur(camera.blur * exposure.blur))
    grain = _grain(exposure.noise_seed) * np.float32(camera.noise)
    noisy = np.asarray(image) + grain[..., :1] + grain[..., 1:] * np.float32(0.5)
    return noisy.clip(0, 255).astype(np.uint8)


def _grain(seed: int) -> np.ndarray:
    """Noise of mean 0 and standard deviation 1, (128, 64, 4) float32.

    Each value is the scaled sum of two random bytes, an approximation of a normal distribution.
    """
    size = HEIGHT * WIDTH * 4
    pairs = np.frombuffer(np.random.default_rng(seed).bytes(2 * size), np.uint8).reshape(2, size)
    noise = (pairs[0].astype(np.float32) + pairs[1] - 255) * np.float32(1 / 104.5)
    result: np.ndarray = noise.reshape(HEIGHT, WIDTH, 4)
    return result
