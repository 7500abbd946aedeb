"""Every layout of a data set that is read, and the recognition of a folder's layout.

manifest          a CSV of paths, identities, cameras and splits
market1501        Market-1501, and DukeMTMC-reID, CUHK03-NP and VeRi-776, which have its form
identity_folders  one folder per identity, as the baseline of layumi prepares data sets
msmt17            MSMT17 with its lists
cuhk              CUHK03 and CUHK01, extracted
cuhk03_mat        CUHK03 in .mat files; only ``convert`` reads it
deepfashion       DeepFashion In-shop with the lists of PATN; only ``convert`` reads it
writing           any of them as Market-1501
filling           a folder that is filled by a command that may be interrupted
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from reid_aug.data.dataset import FOLDERS, KEYPOINTS, MARKET_FOLDER, Dataset, is_harmless
from reid_aug.data.formats import cuhk, identity_folders, manifest, market1501, msmt17
from reid_aug.data.formats.cuhk03_mat import mat_files
from reid_aug.data.formats.deepfashion import is_deepfashion
from reid_aug.data.listing import Listing, dataset_of
from reid_aug.runtime.errors import Remedy, UserError

Fits = Callable[[Path], bool]
ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar")


@dataclass(frozen=True, slots=True)
class Format:
    """A layout that is read."""

    fits: Fits
    """Whether a folder has the layout."""
    read: Callable[[Path], Listing]
    looks_like: str
    """What a folder with the layout holds."""


FORMATS = {
    market1501.NAME: Format(market1501.fits, market1501.read, market1501.LOOKS_LIKE),
    msmt17.NAME: Format(msmt17.fits, msmt17.read, msmt17.LOOKS_LIKE),
    cuhk.CUHK03: Format(cuhk.fits_cuhk03, cuhk.read_cuhk03, cuhk.LOOKS_LIKE_CUHK03),
    identity_folders.NAME: Format(
        identity_folders.fits, identity_folders.read, identity_folders.LOOKS_LIKE
    ),
    cuhk.CUHK01: Format(cuhk.fits_cuhk01, cuhk.read_cuhk01, cuhk.LOOKS_LIKE_CUHK01),
}  # in the order in which they are tried
FILES = {manifest.NAME: manifest.fits, cuhk.CUHK03: cuhk.fits_cuhk03}


def read_dataset(path: Path | str) -> Dataset:
    """Read a data set in any layout of :data:`FORMATS`, or a manifest; no image is decoded.

    Raises:
        UserError: If the layout is not recognised, a file is missing, or a name or a line does
            not fit.
    """
    return dataset_of(read_listing(path))


def read_listing(path: Path | str) -> Listing:
    """The image files of a data set, with those that cannot be used.

    Raises:
        UserError: If the layout is not recognised.
    """
    name, root = find_dataset(Path(path))
    return manifest.read(root) if name == manifest.NAME else FORMATS[name].read(root)


def dataset_root(path: Path | str) -> Path:
    """The folder, or the manifest, of a data set: ``path`` itself, or the one data set in it.

    Raises:
        UserError: If the layout is not recognised.
    """
    return find_dataset(Path(path))[1]


def is_dataset(path: Path) -> bool:
    """Whether ``path`` is a data set in a layout that is read, or holds one."""
    try:
        find_dataset(path)
    except UserError:
        return False
    return True


def find_dataset(path: Path) -> tuple[str, Path]:
    """The name of the format of a data set, and the folder or file that the format reads."""
    if path.is_file():
        name = next((name for name, fits in FILES.items() if fits(path)), None)
        if name is None:
            raise _to_convert(path) or _other_file(path)
        return name, path
    return find_folder(path, {name: each.fits for name, each in FORMATS.items()})


def find_folder(root: Path, formats: Mapping[str, Fits]) -> tuple[str, Path]:
    """The format and the folder of a data set: ``root``, or the one data set directly in it.

    Raises:
        UserError: If there is none, or more than one.
    """
    if not root.is_dir():
        raise UserError(
            f"{root}: there is no such folder; give the folder of a data set in Market-1501 "
            f"layout, or {manifest.LOOKS_LIKE}"
        )
    below = [p for p in sorted(root.iterdir()) if p.is_dir() and not is_harmless(p.name)]
    found: list[tuple[str, Path]] = []
    for folders in ([root], [root / MARKET_FOLDER], below):
        found = found or [
            (name, folder)
            for folder in folders
            for name in [next((name for name, fits in formats.items() if fits(folder)), "")]
            if name
        ]
    if len(found) > 1:
        names = " and ".join(str(folder) for _, folder in found[:3])
        raise UserError(f"{root}: must hold one data set, got {names}; give one of these folders")
    if not found:
        raise _to_convert(root) or UserError(_unknown(root, below, formats))
    return found[0]


def _to_convert(path: Path) -> UserError | None:
    """The error for a data set that only ``convert`` reads; None if it is none."""
    names = {
        "CUHK03 in .mat files": mat_files,
        "DeepFashion with the lists of PATN": is_deepfashion,
    }
    name = next((name for name, is_such in names.items() if is_such(path)), None)
    remedy = Remedy(("convert", str(path), "DIR"), words="write it in Market-1501 layout with")
    return UserError(f"{path}: holds {name}, which only convert reads", remedy) if name else None


def _other_file(path: Path) -> UserError:
    is_archive = path.suffix.lower() in ARCHIVES
    got = "an archive; extract it, and give the folder" if is_archive else "another file"
    return UserError(f"{path}: must be a folder, or {manifest.LOOKS_LIKE}, got {got}")


def _unknown(root: Path, below: list[Path], formats: Mapping[str, Fits]) -> str:
    """The message for a folder without a known layout."""
    for name, fits in formats.items():
        if fits(root.parent) and root.name != root.parent.name:
            return f"{root}: is a part of a data set in {name} layout; give {root.parent}"
    missing = [name for name in FOLDERS if root / name not in below]
    tables = [path.name for path in sorted(root.glob("*.csv")) if manifest.is_manifest(path)]
    got = ", ".join(path.name for path in below[:5]) or "no folder"
    hint = f"; {tables[0]} in it is a manifest, give {root / tables[0]}" if tables else ""
    rest = "; ".join(
        f"{name}: {FORMATS[name].looks_like}" for name in formats if name != market1501.NAME
    )
    return (
        f"{root}: must be in Market-1501 layout, the folders {', '.join(FOLDERS)}; "
        f"got no {' and no '.join(missing)} but {got}{hint}"
        + (f" (other layouts: {rest}; or {manifest.LOOKS_LIKE})" if rest and not hint else "")
    )


def default_keypoints(data: Path | str) -> Path:
    """The keypoint file of a data set.

    It is the manifest if that has keypoints, else ``keypoints.csv`` in the folder that was given,
    or in the folder of the data set.
    """
    path, root = Path(data), dataset_root(data)
    if root.is_file():
        has_own = root.suffix.lower() == ".csv" and manifest.has_keypoints(root)
        return root if has_own else root.parent / KEYPOINTS
    return path / KEYPOINTS if (path / KEYPOINTS).is_file() else root / KEYPOINTS
