"""Which pictures a data set of people holds, and under which names.

Everything about an identity follows from (seed, pid): what it looks like, its shots and their
frame numbers. So neither the size of the set nor the process that draws an identity changes it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from reid_aug.errors import UserError
from reid_aug.people.camera import CAMERAS, Camera, make_camera
from reid_aug.people.render import Body, Picture, draw, make_body
from reid_aug.people.shot import Shot, look_of, sample_shots

TRAIN, QUERY, GALLERY = "bounding_box_train", "query", "bounding_box_test"
LAST_PID = 9999  # four digits in a file name
STRANGERS = 10_000  # people with this number and above are distractors
JUNK, STRANGER = "-1", "0000"  # what Market-1501 writes in place of a pid


@dataclass(frozen=True, slots=True)
class PeopleConfig:
    """Which people: ``identities`` for training from pid ``first`` on, then the test identities."""

    identities: int = 60
    test_identities: int = 60
    first: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        least = {"identities": 1, "test_identities": 1, "first": 1, "seed": 0}
        for name, low in least.items():
            value = getattr(self, name)
            if type(value) is not int or value < low:
                rule = f"an integer of at least {low}"
                raise UserError(f"people: {name} must be {rule}, got {value!r}")
        if self.pids.stop - 1 > LAST_PID:
            raise UserError(
                f"people: the last pid must be at most {LAST_PID}, got {self.pids.stop - 1}; "
                f"ask for fewer identities or a smaller first"
            )

    @property
    def pids(self) -> range:
        """Those of the training identities, then those of the test identities."""
        return range(self.first, self.first + self.identities + self.test_identities)

    @property
    def strangers(self) -> range:
        """Numbers of the people who are only distractors: one for two test identities."""
        return range(STRANGERS, STRANGERS + (self.test_identities + 1) // 2)

    def is_training(self, pid: int) -> bool:
        """Whether ``pid`` is among the training identities."""
        return pid < self.first + self.identities


@lru_cache(maxsize=16)
def _body(seed: int, pid: int) -> Body:
    return make_body(look_of(seed, pid))


@lru_cache(maxsize=CAMERAS)
def _camera(seed: int, number: int) -> Camera:
    return make_camera(np.random.default_rng([seed, 9, number]), number)


class People:
    """The people of a configuration: their pictures by file name, drawn when asked for."""

    def __init__(self, config: PeopleConfig) -> None:
        self.config = config
        self._shots: dict[str, Shot] = {}

    def files(self, pid: int) -> Iterator[tuple[str, str, Shot]]:
        """(folder, file name, shot) of every picture of an identity or a stranger."""
        if pid >= STRANGERS:
            return self._distractors(pid)
        return self._photographs(pid)

    def _photographs(self, pid: int) -> Iterator[tuple[str, str, Shot]]:
        rng = np.random.default_rng([self.config.seed, 4, pid])
        is_training = self.config.is_training(pid)
        for shots in sample_shots(self.config.seed, pid):
            frame, query = int(rng.integers(100, 90_000)), int(rng.integers(len(shots)))
            for step, shot in enumerate(shots):
                is_query = step == query and not is_training
                folder = TRAIN if is_training else QUERY if is_query else GALLERY
                name = _file_name(f"{pid:04d}", shot, frame + 25 * step, box=int(not is_query))
                yield folder, name, shot

    def _distractors(self, pid: int) -> Iterator[tuple[str, str, Shot]]:
        """A good picture of somebody nobody looks for, and a box that missed its person."""
        shot, other = next(sample_shots(self.config.seed, pid))[:2]
        frame = 100 + 25 * (pid - STRANGERS)
        yield GALLERY, _file_name(STRANGER, shot, frame, box=1), shot
        rng = np.random.default_rng([self.config.seed, 5, pid])
        shift_x, shift_y = rng.uniform(0.25, 0.5, 2) * rng.choice([-1, 1], 2)
        crop = replace(other.crop, shift_x=float(shift_x), shift_y=float(shift_y))
        yield GALLERY, _file_name(JUNK, other, frame, box=2), replace(other, crop=crop)

    def shot(self, name: str) -> Shot:
        """What the picture of this file name shows.

        Raises:
            UserError: If these people have no such picture.
        """
        if not self._shots:
            everybody = (*self.config.pids, *self.config.strangers)
            self._shots = {name: shot for pid in everybody for _, name, shot in self.files(pid)}
        if name not in self._shots:
            raise UserError(f"people: {name} must be a picture of these people")
        return self._shots[name]

    def draw(self, shot: Shot) -> Picture:
        """The picture of a shot."""
        seed, beside = self.config.seed, shot.bystander
        bystander = None if beside is None else _body(seed, beside.pid)
        return draw(shot, _body(seed, shot.pid), self.camera(shot), bystander)

    def camera(self, shot: Shot) -> Camera:
        """The camera of a shot."""
        return _camera(self.config.seed, shot.camera)

    def truth(self, source: str, target: str) -> np.ndarray:
        """What a pose transfer from image ``source`` to the pose of image ``target`` should give.

        The person, camera, light and background of the source, alone, in the posture, the facing
        and the crop of the target.

        Returns:
            (128, 64, 3) uint8 RGB.
        """
        return self.draw(self.transferred(source, target)).image

    def transferred(self, source: str, target: str) -> Shot:
        """The shot behind :meth:`truth`."""
        pose = self.shot(target)
        return replace(
            self.shot(source), yaw=pose.yaw, posture=pose.posture, crop=pose.crop, bystander=None
        )


def _file_name(who: str, shot: Shot, frame: int, box: int) -> str:
    return f"{who}_c{shot.camera + 1}s1_{frame:06d}_{box:02d}.jpg"
