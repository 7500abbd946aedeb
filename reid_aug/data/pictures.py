"""Pictures for inspection: crops side by side, and poses as stick figures."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from reid_aug.data.dataset import resize
from reid_aug.data.keypoints import LIMBS, Pose
from reid_aug.runtime.files import committed

INK = (40, 40, 40)
PAPER = (255, 255, 255)
LEFT, RIGHT, MIDDLE = (228, 87, 46), (23, 126, 137), (90, 90, 90)
RIGHT_JOINTS, LEFT_JOINTS = {2, 3, 4, 8, 9, 10, 14, 16}, {5, 6, 7, 11, 12, 13, 15, 17}
TITLE, TEXT = 18, 13  # pixels of height of a line of text, and size of its letters
GAP = 8  # pixels between rows that are placed side by side
POSE_LEGEND = "poses: right side of the person teal, left side orange, middle grey"


def draw_pose(pose: Pose, height: int, width: int, over: np.ndarray | None = None) -> np.ndarray:
    """Draw a stick figure, (height, width, 3) uint8.

    The right side of the person is teal, the left side orange, the middle grey.

    Args:
        over: the background, (height, width, 3) uint8; white if None.
    """
    scale = 4  # supersampling, for smooth lines
    canvas = Image.new("RGB", (width * scale, height * scale), PAPER)
    if over is not None:
        canvas = Image.fromarray(resize(over, height * scale, width * scale))
    pen = ImageDraw.Draw(canvas)
    points, seen = (pose.xy + 0.5) * scale, pose.seen
    for a, b in LIMBS:
        if seen[a] and seen[b]:
            pen.line([tuple(points[a]), tuple(points[b])], _colour(b), width=2 * scale)
    for joint in np.flatnonzero(seen):
        x, y = points[joint]
        pen.ellipse([x - 6, y - 6, x + 6, y + 6], _colour(int(joint)))
    return np.asarray(canvas.resize((width, height), Image.Resampling.LANCZOS))


def _colour(joint: int) -> tuple[int, int, int]:
    return RIGHT if joint in RIGHT_JOINTS else LEFT if joint in LEFT_JOINTS else MIDDLE


def sheet(
    rows: Sequence[Sequence[np.ndarray]],
    titles: Sequence[str],
    across: int = 1,
    zoom: int = 1,
    captions: Sequence[str] = (),
    legend: str = "",
) -> Image.Image:
    """Arrange crops in a table with column titles.

    Args:
        rows: the crops per row, (H, W, 3) uint8; all are resized to the size of the first one.
        titles: one per column.
        across: number of rows that are placed side by side.
        zoom: factor by which the height and width of the crops are enlarged.
        captions: one per row, below it; () for none.
        legend: a line of text below the table; "" for none.
    """
    height, width = (zoom * side for side in rows[0][0].shape[:2])
    step = height + (TITLE if captions else 0)
    block = width * len(titles) + GAP
    lines = -(-len(rows) // across)
    bottom = TITLE + lines * step
    size = (block * min(across, len(rows)) - GAP, bottom + (TITLE if legend else 0))
    canvas = Image.new("RGB", size, PAPER)
    write = partial(ImageDraw.Draw(canvas).text, fill=INK, font=ImageFont.load_default(TEXT))
    for place in range(min(across, len(rows))):
        for column, title in enumerate(titles):
            write((place * block + column * width + 2, 1), title)
    for index, row in enumerate(rows):
        line, place = divmod(index, across)
        top = TITLE + line * step
        for column, image in enumerate(row):
            crop = Image.fromarray(resize(image, height, width))
            canvas.paste(crop, (place * block + column * width, top))
        if captions:
            write((place * block + 2, top + height + 1), captions[index])
    if legend:
        write((2, bottom + 1), legend)
    return canvas


def write_animation(
    path: Path, frames: Sequence[np.ndarray], seconds: float, zoom: int = 1
) -> None:
    """Write an animated GIF atomically; it repeats without end.

    Args:
        frames: (H, W, 3) uint8 of one size; all share one palette of 256 colours.
        seconds: how long a frame is shown, a multiple of 0.01.
        zoom: factor by which height and width are enlarged.
    """
    height, width = (zoom * side for side in frames[0].shape[:2])
    palette = Image.fromarray(np.vstack(frames)).quantize(256)
    pictures = [
        Image.fromarray(resize(frame, height, width)).quantize(
            palette=palette, dither=Image.Dither.NONE
        )
        for frame in frames
    ]
    with committed(path) as part:
        pictures[0].save(
            part,
            format="GIF",
            save_all=True,
            append_images=pictures[1:],
            duration=round(1000 * seconds),
            loop=0,
        )


def write_picture(path: Path, picture: Image.Image) -> None:
    """Write a PNG atomically."""
    with committed(path) as part:
        picture.save(part, format="PNG")
