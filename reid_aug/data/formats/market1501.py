"""Market-1501, and the data sets with its layout: DukeMTMC-reID, CUHK03-NP, VeRi-776.

    bounding_box_train/ query/ bounding_box_test/      0002_c1s1_000451_03.jpg: pid 2, camid 1
    image_train/ image_query/ image_test/              0001_c001_00016450_0.jpg: VeRi-776

pid -1 marks junk boxes, pid 0 distractors. VeRi-776 shows vehicles, which have no pose: its images
can be copied and imported, but not generated.
"""

from pathlib import Path

from reid_aug.data.dataset import FOLDERS, image_and_other_files, parse_label
from reid_aug.data.listing import JUNK_LABEL, SPLITS, Listing
from reid_aug.runtime.errors import UserError

NAME, VERI = "Market-1501", "VeRi-776"
MARKET_LAYOUTS = {NAME: FOLDERS, VERI: ("image_train", "image_query", "image_test")}
NOTES = {
    VERI: "vehicles have no pose: images can be copied and imported, but none can be generated"
}
LOOKS_LIKE = "bounding_box_train, query, bounding_box_test"


def fits(root: Path) -> bool:
    """Whether the folder has one of the layouts."""
    return any((root / names[0]).is_dir() for names in MARKET_LAYOUTS.values())


def find(root: Path) -> Path:
    """The folder of a data set in Market-1501 layout: ``root``, or the one folder in it.

    Raises:
        UserError: If there is none, or more than one.
    """
    from reid_aug.data.formats import find_folder  # that module lists this one

    return find_folder(root, {NAME: fits})[1]


def read(root: Path) -> Listing:
    """List the images of a data set; names that do not fit become faults of the listing.

    Raises:
        UserError: If one of the three folders is missing.
    """
    name, folders = next(item for item in MARKET_LAYOUTS.items() if (root / item[1][0]).is_dir())
    if missing := [folder for folder in folders if not (root / folder).is_dir()]:
        raise UserError(
            f"{root}: must be in {name} layout, the folders {', '.join(folders)}; "
            f"got no {' and no '.join(missing)}"
        )
    places = {split: root / folder for split, folder in zip(SPLITS, folders, strict=True)}
    listing = Listing(name, root, places, note=NOTES.get(name, ""), is_numbered=True)
    for split, folder in places.items():
        images, others = image_and_other_files(folder)
        listing.ignored += others
        for path in images:
            listing.add(path, split, _label)
    return listing


def _label(path: Path) -> tuple[str, int]:
    label, camid = parse_label(path)
    return (label if label == JUNK_LABEL else label.lstrip("0") or "0"), camid
