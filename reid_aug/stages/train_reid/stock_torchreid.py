"""A mix as a data set of stock torchreid, for its own data manager, engines and training scripts.

torchreid adds several sources by giving the second one new identities, so generated images that are
a source of their own would become new people. Here real and generated images are one data set:

    mix = Mix(dataset.train, Bank("bank.h5"), ratio=1.0)
    register_torchreid("market1501-mix", mix, dataset)
    manager = torchreid.data.ImageDataManager(sources="market1501-mix", targets="market1501-mix")

An item is torchreid's: "img", "pid" (the class, 0..K-1 in ascending order of pids), "camid",
"impath" ("bank:ROW" for a generated image) and "dsetid". Query and gallery keep their pids.
"""

from typing import Any

from PIL import Image

from reid_aug.backbones import torchreid_library
from reid_aug.data.dataset import Dataset, PersonImage
from reid_aug.mixing import Mix, require_same_dataset
from reid_aug.runtime.errors import UserError


def register_torchreid(name: str, mix: Mix, dataset: Dataset) -> None:
    """Register the training set ``mix`` with the query and gallery of ``dataset`` as ``name``.

    Args:
        name: a name that torchreid does not know yet.

    Raises:
        UserError: If torchreid knows the name already, or the bank was made for another data set.
    """
    torchreid = torchreid_library()
    require_same_dataset(mix.bank if mix.generated else None, dataset)
    try:
        torchreid.data.register_image_dataset(name, _dataset_class(mix, dataset))
    except ValueError:
        raise UserError(
            f"{name}: must be a name that torchreid does not know yet, got a registered one; "
            f"choose another name"
        ) from None


def _dataset_class(mix: Mix, dataset: Dataset) -> type:
    """A data set class of torchreid's that reads its training images from ``mix``."""
    labels = {pid: label for label, pid in enumerate(sorted({i.pid for i in mix.real}))}

    class MixedImages(torchreid_library().data.datasets.dataset.ImageDataset):  # type: ignore[misc]
        def __init__(self, root: str = "", **options: Any) -> None:
            if options.get("combineall"):
                raise UserError(
                    "combineall must be false with a mix of reid-aug, got true; query and gallery "
                    "are for evaluation only"
                )
            train = [
                (mix.name(index), labels[pid], camid)
                for index, (pid, camid) in enumerate(map(mix.identity, range(len(mix))))
            ]
            super().__init__(train, _items(dataset.query), _items(dataset.gallery), **options)

        def __getitem__(self, index: int) -> dict[str, Any]:
            if self.mode != "train":
                result: dict[str, Any] = super().__getitem__(index)
                return result
            name, label, camid, source = self.data[index]
            image = Image.fromarray(mix.image(index))
            if self.transform is not None:
                image = self._transform_image(self.transform, self.k_tfm, image)
            found = {"img": image, "pid": label, "camid": camid}
            return {**found, "impath": name, "dsetid": source}

        def __add__(self, other: Any) -> Any:
            raise UserError(
                "sources must be the mix of reid-aug only, got several; torchreid gives the "
                "identities of a second source new labels"
            )

    return MixedImages


def _items(images: tuple[PersonImage, ...]) -> list[tuple[str, int, int]]:
    return [(str(image.path), image.pid, image.camid) for image in images]
