"""The images of a data set of people and their file names.

The appearance of an identity, its shots and their frame numbers depend on (seed, pid) only. They
depend neither on the size of the data set nor on the process that renders the identity.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from zlib import crc32

import numpy as np

from reid_aug.people.camera import CAMERAS, Camera, make_camera
from reid_aug.people.difficulty import DIFFICULTIES, Difficulty
from reid_aug.people.pose import Body, make_body
from reid_aug.people.render import RenderedPicture, draw
from reid_aug.people.shot import Crop, Shot, appearance_of, sample_shots, sample_sight
from reid_aug.runtime.errors import UserError
from reid_aug.runtime.random_streams import PeopleStream

TRAIN, QUERY, GALLERY = "bounding_box_train", "query", "bounding_box_test"
LAST_PID = 9999  # a file name has four digits for the pid
FIRST_DISTRACTOR = 10_000  # internal number of the first distractor person
JUNK, DISTRACTOR = "-1", "0000"  # pid field of Market-1501's file names
# Images per distractor person. Market-1501's gallery has 13,115 images of query identities, 2,798
# distractors and 3,819 junk boxes. Here there are about 24 of the first kind per distractor person.
DISTRACTOR_BOXES, JUNK_BOXES = 5, 7


@dataclass(frozen=True, slots=True)
class PeopleConfig:
    """The people of a data set. The pids of the test identities follow the training pids."""

    identities: int = 60
    """Number of training identities, at least 1."""

    test_identities: int = 60
    """Number of test identities, at least 1."""

    first: int = 1
    """Smallest pid. The largest must not exceed 9999."""

    seed: int = 0
    """Seed of the appearance of people and cameras, at least 0."""

    difficulty: str = "market"
    """How hard the images are: "easy" (vivid clothes, little noise), or "market"."""

    def __post_init__(self) -> None:
        least = {"identities": 1, "test_identities": 1, "first": 1, "seed": 0}
        for name, low in least.items():
            value = getattr(self, name)
            if type(value) is not int or value < low:
                rule = f"an integer of at least {low}"
                raise UserError(f"people: {name} must be {rule}, got {value!r}")
        if self.difficulty not in DIFFICULTIES:
            names = " or ".join(map(repr, DIFFICULTIES))
            raise UserError(f"people: difficulty must be {names}, got {self.difficulty!r}")
        if self.pids.stop - 1 > LAST_PID:
            raise UserError(
                f"people: the last pid must be at most {LAST_PID}, got {self.pids.stop - 1}; "
                f"use fewer identities or a smaller first"
            )

    @property
    def pids(self) -> range:
        """The pids of the training identities, then those of the test identities."""
        return range(self.first, self.first + self.identities + self.test_identities)

    @property
    def distractors(self) -> range:
        """Internal numbers of the distractor people: one per two test identities, rounded up."""
        return range(FIRST_DISTRACTOR, FIRST_DISTRACTOR + (self.test_identities + 1) // 2)

    def is_training(self, pid: int) -> bool:
        """Whether ``pid`` belongs to a training identity."""
        return pid < self.first + self.identities


@lru_cache(maxsize=16)
def _body(seed: int, pid: int, difficulty: Difficulty) -> Body:
    return make_body(appearance_of(seed, pid, difficulty))


@lru_cache(maxsize=CAMERAS)
def _camera(seed: int, number: int, difficulty: Difficulty) -> Camera:
    return make_camera(
        np.random.default_rng([seed, PeopleStream.CAMERA, number]), number, difficulty
    )


class People:
    """The people of a configuration; an image is rendered on request, by file name or shot."""

    def __init__(self, config: PeopleConfig) -> None:
        self.config = config
        self._difficulty = DIFFICULTIES[config.difficulty]
        self._shots: dict[str, Shot] = {}

    def files(self, pid: int) -> Iterator[tuple[str, str, Shot]]:
        """(folder, file name, shot) per image of an identity or a distractor person."""
        if pid >= FIRST_DISTRACTOR:
            return self._distractors(pid)
        return self._photographs(pid)

    def _photographs(self, pid: int) -> Iterator[tuple[str, str, Shot]]:
        rng = np.random.default_rng([self.config.seed, PeopleStream.PHOTOGRAPHS, pid])
        is_training = self.config.is_training(pid)
        for shots in self._sample_shots(pid):
            frame, query = int(rng.integers(100, 90_000)), int(rng.integers(len(shots)))
            for step, shot in enumerate(shots):
                is_query = step == query and not is_training
                folder = TRAIN if is_training else QUERY if is_query else GALLERY
                name = _file_name(f"{pid:04d}", shot, frame + 25 * step, box=int(not is_query))
                yield folder, name, shot

    def _distractors(self, pid: int) -> Iterator[tuple[str, str, Shot]]:
        """Well placed boxes of a person without a query, and misplaced boxes (junk)."""
        shots = [shot for passing in self._sample_shots(pid) for shot in passing]
        rng = np.random.default_rng([self.config.seed, PeopleStream.DISTRACTORS, pid])
        frame = 100 + 25 * (pid - FIRST_DISTRACTOR)
        for box in range(DISTRACTOR_BOXES + JUNK_BOXES):
            shot, label = shots[box % len(shots)], DISTRACTOR
            if box >= DISTRACTOR_BOXES:
                shot, label = replace(shot, crop=_misplaced(rng, shot.crop)), JUNK
            yield GALLERY, _file_name(label, shot, frame, box + 1), shot

    def _sample_shots(self, pid: int) -> Iterator[list[Shot]]:
        return sample_shots(self.config.seed, pid, self._difficulty)

    def shot(self, name: str) -> Shot:
        """The shot of the image with this file name.

        Raises:
            UserError: If the data set has no image of this name.
        """
        if not self._shots:
            everybody = (*self.config.pids, *self.config.distractors)
            self._shots = {name: shot for pid in everybody for _, name, shot in self.files(pid)}
        if name not in self._shots:
            raise UserError(
                f"people: {name} must be an image of this data set; take a name of its folders"
            )
        return self._shots[name]

    def draw(self, shot: Shot) -> RenderedPicture:
        """Render a shot."""
        seed, beside = self.config.seed, shot.bystander
        bystander = None if beside is None else _body(seed, beside.pid, self._difficulty)
        body = _body(seed, shot.pid, self._difficulty)
        return draw(shot, body, self.camera(shot), bystander)

    def camera(self, shot: Shot) -> Camera:
        """The camera of a shot."""
        return _camera(self.config.seed, shot.camera, self._difficulty)

    def truth(self, source: str, target: str, camid: int | None = None) -> np.ndarray:
        """The correct result of a pose transfer from image ``source`` to the pose of ``target``.

        The image shows the person of the source, without a bystander, in the posture, direction
        and crop of the target. Camera, light and background are those of the source. With
        ``camid`` they are those of that camera.

        Args:
            source: File name of the image that gives the appearance.
            target: File name of the image that gives the pose.
            camid: Number of the camera, counted from 1 as in file names.

        Returns:
            (128, 64, 3) uint8 RGB.

        Raises:
            UserError: If the data set has no such image or camera.
        """
        return self.draw(self.transferred(source, target, camid)).image

    def transferred(self, source: str, target: str, camid: int | None = None) -> Shot:
        """The shot that :meth:`truth` renders.

        With ``camid``, the distance is that of the target. If the target has that camera, the part
        of the street and the exposure are those of the target too. Otherwise both are random, with
        a seed that depends on the two names and ``camid``.
        """
        pose = self.shot(target)
        moved = replace(
            self.shot(source), yaw=pose.yaw, posture=pose.posture, crop=pose.crop, bystander=None
        )
        if camid is None:
            return moved
        if type(camid) is not int or not 1 <= camid <= CAMERAS:
            raise UserError(f"people: camid must be an integer from 1 to {CAMERAS}, got {camid!r}")
        window, exposure = pose.window, pose.exposure
        if pose.camera != camid - 1:
            names = crc32(f"{source} {target}".encode())
            stream = PeopleStream.TRANSFERRED_SIGHT
            rng = np.random.default_rng([self.config.seed, stream, names, camid])
            window, exposure = sample_sight(rng, self._difficulty)
        seen = replace(moved, camera=camid - 1, distance=pose.distance)
        return replace(seen, window=window, exposure=exposure)


def _misplaced(rng: np.random.Generator, crop: Crop) -> Crop:
    """A box beside the person, around a part of the person, or on the empty street."""
    aside, across = rng.uniform(0.25, 0.5, 2) * rng.choice([-1, 1], 2)
    kind = rng.choice(["beside", "part", "street"], p=[0.5, 0.3, 0.2])
    if kind == "street":
        return replace(crop, shift_x=float(aside * 4), shift_y=float(across * 0.2))
    if kind == "part":
        height = crop.height * rng.uniform(0.35, 0.6)
        return replace(crop, height=height, shift_x=float(aside * 0.6), shift_y=float(across))
    return replace(crop, shift_x=float(aside), shift_y=float(across))


def _file_name(label: str, shot: Shot, frame: int, box: int) -> str:
    return f"{label}_c{shot.camera + 1}s1_{frame:06d}_{box:02d}.jpg"
