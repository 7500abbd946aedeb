"""The attributes of a bank: the images, the generator and the settings that its rows come from."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from reid_aug.data.dataset import DataConfig, Dataset, PersonImage
from reid_aug.data.keypoints import Pose
from reid_aug.data.provenance import dataset_sha256, keypoints_sha256, names_sha256
from reid_aug.runtime.json_toml import parse_json


@dataclass(frozen=True, slots=True)
class BankPlan:
    """How the rows of a bank were made; optional fields are None where they do not apply."""

    poses: str
    """The policy that chose the target poses, or "library", "file" or "imported"."""
    cameras: str
    """The camera of a generated image: that of its "source" or of its "target"."""
    method: str
    """What made the images: the name of a method, or of other software."""
    batch: int | None = None
    """Rows that were generated at once."""
    jitter: float | None = None
    """Largest relative change of brightness, contrast and saturation."""
    clusters: int | None = None
    """The number of pose clusters of policy "coverage"."""
    clusters_sha256: str | None = None
    """A hash of the pose clusters of policy "coverage"."""
    height: int | None = None
    """Height of an image in pixels."""
    width: int | None = None
    """Width of an image in pixels."""
    background: str | None = None
    """The background of an image: "generated" or "target", that of the image with the pose."""
    poses_sha256: str | None = None
    """A hash of the keypoint file of policies "library" and "file", whose poses have no image."""

    def as_dict(self) -> dict[str, Any]:
        """The fields that apply, in the order of their declaration."""
        return {key: value for key, value in asdict(self).items() if value is not None}

    def as_json(self) -> str:
        """The text that the file stores."""
        return json.dumps(self.as_dict())

    @classmethod
    def from_json(cls, text: str) -> "BankPlan":
        """The plan in the attribute of a file.

        Raises:
            ValueError: If the text is no plan.
        """
        found = parse_json(text, "plan")
        if not isinstance(found, dict) or not found.keys() <= cls.__annotations__.keys():
            raise ValueError(text)
        for name, kind in cls.__annotations__.items():
            value = found.get(name)
            if not isinstance(value, kind) and not (kind == float | None and type(value) is int):
                raise ValueError(text)
            if isinstance(value, bool) or (isinstance(value, str) and not value.isprintable()):
                raise ValueError(text)
        return cls(**found)


@dataclass(frozen=True, slots=True, kw_only=True)
class BankAttributes:
    """What a bank tells of itself; the file stores the hashes of its content beside it."""

    keep: float
    """The part of the training images that is kept, in (0, 1]."""
    keep_seed: int
    """The seed that chose the kept set."""
    kept_sha256: str
    """A hash of the names in the kept set."""
    dataset_sha256: str
    """A hash of the contents of all images of the data set."""
    keypoints_sha256: str
    """A hash of the keypoints of the kept set."""
    generator_sha256: str
    """A hash of the generator, or of what replaces it."""
    generator_data: str
    """The leak status of the generator (:class:`reid_aug.data.provenance.LeakStatus`)."""
    ratio: float
    """Generated images per real image."""
    mode: str
    """The mode of mixing that the bank was made for: "supplement" or "replace"."""
    plan: BankPlan
    seed: int
    """The seed of the plan."""
    scores: Mapping[str, Mapping[str, Any]] | None = None
    """The origin of each score: {name: {"data": leak status of its scorer, ...}}."""
    images_sha256: str = ""
    """SHA-256 of the pixels; "" before the bank is written."""
    content_sha256: str | None = None
    """SHA-256 of columns and attributes; None before the bank is written."""
    synthetic: bool = True
    """Whether the file states that its images are synthetic."""
    trained_on: str = ""
    """The fingerprints of the images that trained the generator, as in its checkpoint
    (:func:`reid_aug.data.provenance.fingerprints`); "" if they are unknown or there are none. The
    file stores them as a dataset, because an attribute of HDF5 ends at 64 KiB."""

    @classmethod
    def of(
        cls,
        dataset: Dataset,
        real: Sequence[PersonImage],
        poses: Mapping[str, Pose],
        data: DataConfig,
        **others: Any,
    ) -> "BankAttributes":
        """The attributes of a bank of the kept set ``real``; ``others`` are the remaining ones."""
        hashes = {
            "kept_sha256": names_sha256(real),
            "dataset_sha256": dataset_sha256(dataset),
            "keypoints_sha256": keypoints_sha256(real, poses),
        }
        return cls(**{"keep": data.keep, "keep_seed": data.keep_seed, **hashes, **others})

    def unwritten(self, **changes: Any) -> "BankAttributes":
        """The same attributes with changes, without the hashes of the content."""
        return replace(self, images_sha256="", content_sha256=None, **changes)

    def stored(self) -> dict[str, Any]:
        """The attributes of the HDF5 file, by name; plan and scores as JSON."""
        values = {name: getattr(self, name) for name in self.__slots__ if name != "trained_on"}
        values["plan"] = self.plan.as_json()
        if self.scores is not None:
            ordered = {name: self.scores[name] for name in sorted(self.scores)}
            values["scores"] = json.dumps(ordered)
        return {name: value for name, value in values.items() if value not in (None, "")}
