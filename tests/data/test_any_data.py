"""Whatever people have on disk: small data sets made on the spot, run through the command line."""

import argparse
import csv
import io
import json
import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image

from reid_aug.bank import Bank
from reid_aug.cli import main
from reid_aug.data.dataset import decode, image_size, kept
from reid_aug.data.formats import read_dataset
from reid_aug.data.keypoints import JOINTS, read_keypoints
from reid_aug.evaluation import Matches
from reid_aug.evaluation.features import columns
from reid_aug.runtime.errors import UserError
from reid_aug.runtime.files import HOST
from reid_aug.runtime.weights import read_checkpoint
from reid_aug.study.report.rows import gains
from reid_aug.study.report.texts import cells
from tests import some_results

TRAIN, QUERY, GALLERY = FOLDERS = ("bounding_box_train", "query", "bounding_box_test")
HEIGHT, WIDTH = 32, 16
X = [8, 8, 4, 3, 3, 12, 13, 13, 5, 5, 5, 11, 11, 11, 7, 9, 6, 10]
Y = [4, 7, 7, 11, 15, 7, 11, 15, 17, 23, 29, 17, 23, 29, 3, 3, 4, 4]
NAMES = {
    TRAIN: [f"{pid:04d}_c{cam}s1_{pid}{cam}00_00.jpg" for pid in (1, 2, 3) for cam in (1, 2, 3)],
    QUERY: ["0004_c1s1_4100_00.jpg", "0005_c1s1_5100_00.jpg"],
    GALLERY: [
        "0004_c2s1_4200_00.jpg", "0005_c2s1_5200_00.jpg", "0005_c3s1_5300_00.jpg",
        "0000_c1s1_0100_00.jpg", "-1_c1s1_9100_00.jpg",
    ],
}  # fmt: skip
COUNTS = ("train: 9 images, 3 identities", "query: 2 images, 2", "gallery: 4 images, 3")
FIRST = NAMES[TRAIN][0]


def row(name: str, y: list = Y, x: list = X) -> str:
    return f"{name}: {y}: {x}"


def write_rows(data: Path, rows: list[str]) -> None:
    (data / "keypoints.csv").write_text("\n".join(["name:keypoints_y:keypoints_x", *rows]) + "\n")


def all_names() -> list[str]:
    return [name for folder in FOLDERS for name in NAMES[folder]]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base") / "d"
    rng = np.random.default_rng(0)
    for place, names in NAMES.items():
        (folder / place).mkdir(parents=True)
        for name in names:
            picture(rng).save(folder / place / name, quality=95)
    write_rows(folder, [row(name) for name in all_names()])
    return folder


def picture(rng: np.random.Generator, height: int = HEIGHT, width: int = WIDTH) -> Image.Image:
    return Image.fromarray(rng.integers(0, 256, (height, width, 3), np.uint8))


def other_picture(height: int = HEIGHT, width: int = WIDTH) -> Image.Image:
    return picture(np.random.default_rng(99), height, width)


@pytest.fixture
def data(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return shutil.copytree(base, tmp_path / "d")


def call(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def output(result: Result) -> str:
    assert result.exception is None or isinstance(result.exception, SystemExit), result.output
    return result.stdout + result.stderr


# -- changes of the data set; each returns the path to give, or None for the same folder


def rename(old: str, new: str, folder: str = TRAIN) -> Callable[[Path], None]:
    def change(data: Path) -> None:
        (data / folder / old).rename(data / folder / new)

    return change


def save(image: Image.Image, name: str, folder: str = TRAIN, **how: object) -> Callable[..., None]:
    return lambda data: image.save(data / folder / name, **how)


def rows(*texts: str) -> Callable[[Path], None]:
    return lambda data: write_rows(data, list(texts))


def renumber(data: Path, old: int, new: str) -> None:
    for folder in FOLDERS:
        for path in sorted((data / folder).glob(f"{old:04d}_*")):
            path.rename(path.with_name(new + path.name[4:]))


def all_renumbered(old: int, new: str) -> Callable[[Path], None]:
    return lambda data: renumber(data, old, new)


def ignored(name: str, folder: str = TRAIN) -> Callable[[Path], None]:
    return lambda data: (data / folder / name).write_bytes(b"x")


def rotated(data: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    other_picture(WIDTH, HEIGHT).save(data / TRAIN / FIRST, exif=exif)


def sixteen_bits(data: Path) -> None:
    grey = np.linspace(0, 65535, HEIGHT * WIDTH).reshape(HEIGHT, WIDTH).astype(np.uint16)
    (data / TRAIN / FIRST).unlink()
    Image.fromarray(grey).save(data / TRAIN / FIRST.replace(".jpg", ".png"))


def folder_in(data: Path) -> None:
    (data / TRAIN / "more").mkdir()


def upper_case(data: Path) -> None:
    for name in NAMES[TRAIN]:
        (data / TRAIN / name).rename(data / TRAIN / name.replace(".jpg", ".JPG"))
    write_rows(data, [row(name.replace(".jpg", ".JPG")) for name in NAMES[TRAIN]])


def pngs(data: Path) -> None:
    for folder in FOLDERS:
        for path in sorted((data / folder).iterdir()):
            Image.open(path).save(path.with_suffix(".png"))
            path.unlink()


def copied(source: str, target: str) -> Callable[[Path], None]:
    def change(data: Path) -> None:
        shutil.copy(data / source, data / target)

    return change


def saved_again(data: Path) -> None:
    smooth = other_picture(8, 4).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC).convert("L")
    smooth.save(data / QUERY / NAMES[QUERY][0], quality=95)
    Image.open(data / QUERY / NAMES[QUERY][0]).save(data / TRAIN / FIRST, quality=60)


def one_up(data: Path) -> Path:
    (data.parent / "up").mkdir()
    data.rename(data.parent / "up" / "market")
    return data.parent / "up"


def two_up(data: Path) -> Path:
    shutil.copytree(data, data.parent / "up" / "b")
    return one_up_again(data)


def one_up_again(data: Path) -> Path:
    data.rename(data.parent / "up" / "a")
    return data.parent / "up"


def per_identity(data: Path) -> Path:
    top = data.parent / "pytorch"
    for folder, name in zip(FOLDERS, ("train_all", "query", "gallery"), strict=True):
        for path in sorted((data / folder).iterdir()):
            place = top / name / path.name.split("_")[0]
            place.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, place / path.name)
    shutil.copy(data / "keypoints.csv", top)
    return top


def no_cameras_folders(data: Path) -> Path:
    top = per_identity(data)
    for path in sorted(top.rglob("*.jpg")):
        path.rename(path.with_name(path.name.replace("_c", "-")))
    return top


def veri(data: Path) -> None:
    for folder, name in zip(FOLDERS, ("image_train", "image_query", "image_test"), strict=True):
        (data / folder).rename(data / name)


MSMT = ("list_train.txt", "list_query.txt", "list_gallery.txt")


def msmt17(data: Path, train: str = "train", test: str = "test") -> Path:
    """Identities from 0 in training and in test, as MSMT17 has them."""
    top = data.parent / "MSMT17"
    for folder, name, part in zip(FOLDERS, MSMT, (train, test, test), strict=True):
        lines = []
        for number, path in enumerate(sorted((data / folder).iterdir())):
            pid = int(path.name.split("_")[0])
            if pid < 1:
                continue
            label = pid - (1 if folder == TRAIN else 4)
            camera = path.name.split("_c")[1][0]
            place = f"{label:04d}/{label:04d}_{number:03d}_{camera:0>2}_0303_{folder[-4:]}_0.jpg"
            (top / part / place).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, top / part / place)
            lines.append(f"{place} {label}")
        (top / name).write_text("\n".join(lines) + "\n")
    return top


def msmt17_v2(data: Path) -> Path:
    return msmt17(data, "mask_train_v2", "mask_test_v2")


def msmt17_market_names(data: Path) -> Path:
    top = data.parent / "MSMT17"
    for folder, name, part in zip(FOLDERS, MSMT, ("train", "test", "test"), strict=True):
        lines = []
        for path in sorted((data / folder).iterdir()):
            pid = path.name.split("_")[0]
            (top / part / pid).mkdir(parents=True, exist_ok=True)
            shutil.copy(path, top / part / pid)
            lines.append(f"{pid}/{path.name} {int(pid)}")
        (top / name).write_text("\n".join(lines) + "\n")
    shutil.copy(data / "keypoints.csv", top)
    return top


def msmt17_without_a_list(data: Path) -> Path:
    top = msmt17(data)
    (top / "list_gallery.txt").unlink()
    return top


def msmt17_wrong_line(data: Path) -> Path:
    top = msmt17(data)
    (top / "list_train.txt").write_text("0000/none.jpg 0\n")
    return top


def msmt17_many_digits(data: Path) -> Path:
    top = msmt17(data)
    (top / "list_train.txt").write_text(f"0000/none.jpg {'9' * 5000}\n")
    return top


def cuhk03(data: Path) -> Path:
    top, splits = data.parent / "cuhk03", {}
    (top / "images_labeled").mkdir(parents=True)
    for folder, split in zip(FOLDERS, ("train", "query", "gallery"), strict=True):
        splits[split] = []
        for number, path in enumerate(sorted((data / folder).iterdir())):
            pid, camera = path.name.split("_")[0], path.name.split("_c")[1][0]
            if int(pid) < 1:
                continue
            name = f"1_{int(pid):03d}_{camera}_{number + 1:02d}.jpg"
            shutil.copy(path, top / "images_labeled" / name)
            splits[split].append([f"/elsewhere/images_labeled/{name}", int(pid), int(camera) - 1])
    (top / "splits_new_labeled.json").write_text(json.dumps([splits]))
    return top


def cuhk03_two_splits(data: Path) -> Path:
    top = cuhk03(data)
    shutil.copy(top / "splits_new_labeled.json", top / "splits_new_detected.json")
    return top


def cuhk01(data: Path) -> Path:
    top = data.parent / "cuhk01"
    (top / "campus").mkdir(parents=True)
    rng = np.random.default_rng(5)
    for pid in (1, 2, 486, 487):
        for number in (1, 2, 3, 4):
            picture(rng).save(top / "campus" / f"{pid:04d}{number:03d}.png")
    return top


def manifest_lines(data: Path) -> list[dict[str, str]]:
    lines = []
    for folder, split in zip(FOLDERS, ("train", "query", "gallery"), strict=True):
        for name in NAMES[folder]:
            pid, camera = name.split("_")[0], name.split("_c")[1][0]
            line = {"path": f"{data.name}/{folder}/{name}", "pid": pid, "camid": camera}
            lines.append({**line, "split": split})
    return lines


def write_manifest(data: Path, lines: list[dict[str, str]], encoding: str = "utf-8") -> Path:
    path = data.parent / "set.csv"
    text = io.StringIO()
    columns = list(lines[0])
    csv.writer(text).writerows([columns, *([line[c] for c in columns] for line in lines)])
    path.write_text(text.getvalue(), encoding=encoding)
    shutil.copy(data / "keypoints.csv", data.parent)
    return path


def manifest(change: Callable[[dict[str, str]], object] = dict, **how: str) -> Callable[..., Path]:
    """The data set as a manifest, each line changed."""

    def write(data: Path) -> Path:
        lines = manifest_lines(data)
        for line in lines:
            change(line)
        return write_manifest(data, lines, **how)

    return write


def words(line: dict[str, str]) -> None:
    known = {"0001": "anna", "0002": "ben", "0003": "cem", "0004": "dora", "0005": "eli"}
    line["pid"] = known.get(line["pid"], "" if line["pid"] == "0000" else line["pid"])


def no_camera(line: dict[str, str]) -> None:
    line["camid"] = ""


def some_cameras(line: dict[str, str]) -> None:
    if line["split"] == "query":
        line["camid"] = ""


def from_zero(line: dict[str, str]) -> None:
    line["pid"] = {"0000": "", "-1": "-1"}.get(line["pid"], str(int(line["pid"]) - 1))


def wrong(column: str, value: str) -> Callable[[dict[str, str]], None]:
    def change(line: dict[str, str]) -> None:
        if line["path"].endswith(FIRST):
            line[column] = value

    return change


def with_keypoints(line: dict[str, str]) -> None:
    line["keypoints"] = f"{Y}: {X}"


def equal_names(data: Path) -> Path:
    """Files that are called 0.jpg, ... in a folder per identity."""
    lines = manifest_lines(data)
    for number, line in enumerate(lines):
        place = data / line["split"] / line["pid"]
        place.mkdir(parents=True, exist_ok=True)
        target = place / f"{number % 3}.jpg"
        shutil.copy(data.parent / line["path"], target)
        line["path"] = str(target.relative_to(data.parent))
    return write_manifest(data, lines)


def twice(data: Path) -> Path:
    lines = manifest_lines(data)
    return write_manifest(data, [*lines, lines[0]])


def without_column(data: Path) -> Path:
    lines = manifest_lines(data)
    for line in lines:
        del line["split"]
    return write_manifest(data, lines)


def manifest_in_folder(data: Path) -> Path:
    write_manifest(data, manifest_lines(data))
    return data.parent


def windows(line: dict[str, str]) -> None:
    line["path"] = line["path"].replace("/", "\\")


def as_floats(line: dict[str, str]) -> None:
    line["pid"], line["camid"] = f"{int(line['pid'])}.0", f"{line['camid']}.0"


def capitals(line: dict[str, str]) -> None:
    line["split"] = line["split"].upper()


def with_zeros(line: dict[str, str]) -> None:
    line["pid"] = line["pid"] if line["pid"] in ("0000", "-1") else f"p{line['pid']}"


def stripped_zeros(line: dict[str, str]) -> None:
    if line["path"].endswith(FIRST):
        line["pid"] = "1"


def separated(mark: str, name: str = "set.csv") -> Callable[[Path], Path]:
    def write(data: Path) -> Path:
        path = write_manifest(data, manifest_lines(data))
        text = path.read_text().replace(",", mark)
        path.unlink()
        (path.parent / name).write_text(text)
        return path.parent / name

    return write


def without_split(split: str) -> Callable[[Path], Path]:
    def write(data: Path) -> Path:
        return write_manifest(data, [e for e in manifest_lines(data) if e["split"] != split])

    return write


def capital_cameras(data: Path) -> None:
    for name in NAMES[TRAIN]:
        (data / TRAIN / name).rename(data / TRAIN / name.replace("_c", "_C"))


def only_training(suffix: str, count: int) -> Callable[[Path], None]:
    def change(data: Path) -> None:
        for name in NAMES[TRAIN][:count]:
            (data / TRAIN / name).rename(data / TRAIN / name.replace(".jpg", suffix))

    return change


def stored_turned(data: Path) -> None:
    """Every file is stored turned, with an EXIF orientation; the keypoints fit the stored file."""
    exif = Image.Exif()
    exif[0x0112] = 6
    for folder in FOLDERS:
        for path in sorted((data / folder).iterdir()):
            image = Image.open(path).transpose(Image.Transpose.ROTATE_90)
            image.save(path, exif=exif, quality=95)
    write_rows(data, [row(name, [WIDTH - 1 - x for x in X], Y) for name in all_names()])


def transparent(data: Path) -> None:
    pixels = np.asarray(other_picture().convert("RGBA")).copy()
    pixels[:10, :, 3] = 0
    (data / TRAIN / FIRST).unlink()
    Image.fromarray(pixels).save(data / TRAIN / FIRST.replace(".jpg", ".png"))


def wide(data: Path) -> None:
    rng = np.random.default_rng(7)
    for folder in FOLDERS:
        for path in sorted((data / folder).iterdir()):
            picture(rng, 32, 40).save(path, quality=95)


def many_sizes(data: Path) -> None:
    rng = np.random.default_rng(7)
    for number, name in enumerate(NAMES[TRAIN]):
        picture(rng, 32 + 8 * number, 16 + 4 * number).save(data / TRAIN / name)


def all_bmp(data: Path) -> None:
    for name in NAMES[QUERY]:
        (data / QUERY / name).rename(data / QUERY / name.replace(".jpg", ".bmp"))


def in_folders(data: Path) -> None:
    for name in NAMES[QUERY]:
        (data / QUERY / name[:4]).mkdir()
        (data / QUERY / name).rename(data / QUERY / name[:4] / name)


def one_camera_each(data: Path) -> None:
    for path in sorted((data / TRAIN).iterdir()):
        path.rename(path.with_name(f"{path.name[:6]}{int(path.name[:4])}{path.name[7:]}"))
    write_rows(data, [row(path.name) for path in sorted((data / TRAIN).iterdir())])


def desktop_folders(data: Path) -> None:
    for name in ("__MACOSX", "@eaDir", ".ipynb_checkpoints"):
        (data / TRAIN / name).mkdir()


def beside_a_macos_folder(data: Path) -> Path:
    up = one_up(data)
    shutil.copytree(up / "market", up / "__MACOSX")
    return up


def with_validation(data: Path) -> Path:
    top = per_identity(data)
    (top / "train_all").rename(top / "train")
    (top / "val").mkdir()
    (top / "train" / "0003").rename(top / "val" / "0003")
    return top


def msmt17_lines(change: Callable[[str], str]) -> Callable[[Path], Path]:
    def write(data: Path) -> Path:
        top = msmt17_market_names(data)
        for name in MSMT:
            lines = (top / name).read_text().splitlines()
            part = "train" if "train" in name else "test"
            (top / name).write_text("\n".join(change(f"{part}|{line}") for line in lines))
        return top

    return write


def msmt17_unlisted(data: Path) -> Path:
    top = msmt17_market_names(data)
    (top / "train" / "0009").mkdir()
    shutil.copy(data / TRAIN / FIRST, top / "train" / "0009" / "0009_c1.jpg")
    (top / "train" / "0001" / "a.bmp").write_bytes(b"x")
    return top


def an_archive(data: Path) -> Path:
    (data.parent / "market.zip").write_bytes(b"PK")
    return data.parent / "market.zip"


def cuhk03_in_mat(data: Path) -> Path:
    top = data.parent / "cuhk03"
    (top / "cuhk03_release").mkdir(parents=True)
    (top / "cuhk03_release" / "cuhk-03.mat").write_bytes(b"x")
    return top


def printed_by_numpy(name: str) -> str:
    """A row of lists of NumPy numbers, and one of a printed array."""
    numbers = ", ".join(f"np.float64({y}.5)" for y in Y)
    return f"{name}: [{numbers}]: {np.array([*X[:17], np.nan])}".replace("\n", "")


class Case(NamedTuple):
    about: str
    change: Callable[[Path], Path | None]
    code: int
    texts: tuple[str, ...]


def shifted(factor: float) -> list[str]:
    y, x = ([round(factor * value) for value in values] for values in (Y, X))
    return [row(name, y, x) for name in all_names()]


NO_PERSON = [-1] * len(JOINTS)
ZEROED = [0 if joint in (0, 16, 17) else value for joint, value in enumerate(Y)]
ZEROED_X = [0 if joint in (0, 16, 17) else value for joint, value in enumerate(X)]
CHECKS = [
    Case("as it is", lambda data: None, 0, COUNTS),
    # large numbers
    Case("10 digits", all_renumbered(1, "3000000001"), 0, COUNTS),
    Case("24 digits", all_renumbered(1, "9" * 24), 2, ("pid must be at most", "got 24 digits")),
    Case(
        "camera of 12 digits",
        rename(FIRST, "0001_c999999999999s1_1_00.jpg"), 2, ("camid must be at most",),
    ),
    # shapes
    Case("a frame", save(other_picture(72, 128), FIRST), 2, (f"{FIRST}: must be about 2 times",)),
    Case("one pixel", save(other_picture(1, 1), FIRST), 2, ("at least 8 pixels a side, got 1x1",)),
    Case("a strip", save(other_picture(32, 80), FIRST), 2, ("32 high and 80 wide",)),
    Case("another size", save(other_picture(64, 32), FIRST), 0, ("32x16: 15, 64x32: 1",)),
    # keypoints
    Case(
        "0 is missing", rows(*(row(name, ZEROED, ZEROED_X) for name in all_names())), 2,
        ("joints at (0, 0)", "--zero-is-missing"),
    ),
    Case("doubled", rows(*shifted(2)), 2, ("about 1.8 times as large in most rows",)),
    Case("tripled", rows(*shifted(3)), 2, ("about 2.7 times as large",)),
    Case(
        "columns swapped", rows(*(row(name, X, Y) for name in all_names())), 2,
        ("y must come before x",),
    ),
    Case(
        "floats", rows(*(row(name, [y + 0.25 for y in Y], X) for name in all_names())), 0,
        ("poses: 9 of 9",),
    ),
    Case(
        "nan", rows(*(row(name, Y, X).replace("[4,", "[nan,") for name in all_names())), 0,
        ("poses: 9 of 9",),
    ),
    Case(
        "-1 everywhere", rows(*(row(name, NO_PERSON, NO_PERSON) for name in all_names())), 2,
        ("no training image has both shoulders",),
    ),
    Case(
        "names with folder", rows(*(row(f"crops/{name}") for name in all_names())), 2,
        ("differ from the names of images in suffix or folder only", f"'crops/{FIRST}'"),
    ),
    Case("names with suffix", pngs, 2, (f"as '{FIRST}' from '{FIRST[:-4]}.png'",)),
    Case("names without suffix", rows(*(row(n[:-4]) for n in all_names())), 2, ("differ",)),
    Case("prefix in training only", rows(
        *(row(f"a/{n}") for n in NAMES[TRAIN]), *(row(n) for n in NAMES[GALLERY])), 2,
        (f"9 rows differ from the names of images in suffix or folder only, as 'a/{FIRST}'",)),
    Case("upper case in training only", only_training(".JPG", 9), 2, ("9 rows differ",)),
    Case("some of another suffix", only_training(".png", 2), 0, ("warning", "2 rows differ")),
    Case("one joint is 0", rows(*(row(n, [0, *Y[1:]], [0, *X[1:]]) for n in all_names())), 2,
        ("16 joints at (0, 0)",)),
    Case("one joint of one row is 0", rows(row(FIRST, [0, *Y[1:]], [0, *X[1:]]), *(row(n) for n in
        all_names()[1:])), 0, ("poses: 9 of 9",)),
    Case("0.0 is missing", rows(*(row(n, [float(y) for y in ZEROED], [float(x) for x in ZEROED_X])
        for n in all_names())), 2, ("48 joints at (0, 0)",)),
    Case("fractions", rows(*(row(n, [y / 32 for y in Y], [x / 16 for x in X]) for n in
        all_names())), 2, ("got fractions of its size", "multiply x by the width")),
    Case("wide images", rows(*(row(n, Y, [2 * x for x in X]) for n in all_names())), 2,
        ("about 1.6 times as wide and 0.91 times as high",)),
    Case("keypoints of turned files", stored_turned, 2, ("must refer to the upright image",)),
    Case("lists of NumPy", rows(*(printed_by_numpy(n) for n in all_names())), 0, ("of 9",)),
    Case("infinite", rows(*(row(n).replace("[4,", "[inf,") for n in all_names())), 2,
        ("line 2: a row must be",)),
    Case(
        "another data set's", rows(row("0099_c1.jpg")), 2,
        ("got none of them, as 0099_c1.jpg; give the keypoints of this data set",),
    ),
    # identities
    Case("one camera each", one_camera_each, 0, ("two cameras only in the test: 2 of 2",)),
    Case("a camera of the test", rename(NAMES[QUERY][0], "0004_c9s1_1_00.jpg", QUERY), 0,
        ("1 cameras are in the test only, with 1 of its images: camera 9",)),
    Case("18 digits", all_renumbered(1, "9" * 18), 0, COUNTS),
    Case("19 digits", all_renumbered(1, "9" * 19), 2, ("pid must be at most",)),
    Case("query 0", all_renumbered(4, "0000"), 2, ("pid 0 marks distractors",)),
    Case("training 0", all_renumbered(1, "0000"), 2, ("got 3 such images in training or query",)),
    Case("one image", rename(FIRST, "0007_c1s1_1_00.jpg"), 0, ("1 of 4 training identities have "
        "one image only: pid 7",)),
    Case("in both", rename(FIRST, "0004_c3s1_1_00.jpg"), 2, ("pid 4 is in training and in query",)),
    # files
    Case("EXIF", rotated, 0, ("1 images have an EXIF orientation", "32x16: 16")),
    Case("16 bits", sixteen_bits, 0, ("1 images have 16 bits per sample",)),
    Case("bmp", save(other_picture(), "0009_c1.bmp"), 0, ("1 ignored", "1 .bmp (0009_c1.bmp)")),
    Case("JPG", upper_case, 0, COUNTS),
    Case("macOS", ignored(f"._{FIRST}"), 0, COUNTS),
    Case("Thumbs.db", ignored("Thumbs.db"), 0, COUNTS),
    Case("DS_Store", ignored(".DS_Store"), 0, COUNTS),
    Case("a text", ignored("readme.txt"), 0, ("1 .txt (readme.txt)",)),
    Case("a folder", folder_in, 0, ("1 folder (more)",)),
    Case("transparency", transparent, 0, ("1 images are transparent in part",)),
    Case("formats", pngs, 2, ("images by file format: PNG: 16",)),
    Case("many sizes", many_sizes, 0, ("32x16: 8", "32 to    45 high:      9", "91 to   127 ")),
    Case("wide", wide, 0, ("crops of people must be higher than wide, got 32 high and 40 wide",)),
    Case("two panels", save(other_picture(32, 32), FIRST), 2, ("32 high and 32 wide",)),
    Case("bmp only", all_bmp, 2, ("query: contains no image", "2 .bmp (0004_c1s1_4100_00.bmp)")),
    Case("in folders", in_folders, 2, ("contains no image", "2 folders (0004) with 2 images")),
    Case("file servers", desktop_folders, 0, COUNTS),
    Case("ehthumbs.db", ignored("ehthumbs.db"), 0, COUNTS),
    Case("many bad names", capital_cameras, 2, ("must begin with", "(and 8 more such faults)")),
    Case("an archive beside", ignored("images.tar"), 0, ("1 .tar",)),
    Case("no image", ignored(FIRST), 2, (f"{FIRST}: must be an image that decodes",)),
    Case("a bad name", rename(FIRST, "portrait.jpg"), 2, ("the name must begin with",)),
    # copies
    Case("a leak", copied(f"{QUERY}/{NAMES[QUERY][0]}", f"{TRAIN}/{FIRST}"), 2, ("same image, in "
        "training and in the test",)),
    Case("a near leak", saved_again, 2, ("nearly the same image, in training and test",)),
    Case("two identities", copied(f"{TRAIN}/{FIRST}", f"{TRAIN}/{NAMES[TRAIN][-1]}"), 2, ("same "
        "image with two identities",)),
    # layouts
    Case("one folder up", one_up, 0, ("layout: Market-1501", *COUNTS)),
    Case("two data sets", two_up, 2, ("must hold one data set, got", "give one of these")),
    Case("one folder down", lambda data: data / TRAIN, 2, ("is a part of a data set", "give ")),
    Case("no data set", lambda data: data.parent / "gone", 2, ("there is no such folder",)),
    Case("a file", lambda data: data / TRAIN / FIRST, 2, ("must be a folder, or a CSV",)),
    Case("per identity", per_identity, 0, ("layout: folders per identity", *COUNTS)),
    Case("per identity, no cameras", no_cameras_folders, 2,
        ("no camera labels", "got none of them")),
    Case("VeRi-776", veri, 0, ("layout: VeRi-776", "vehicles have no pose", *COUNTS)),
    Case("MSMT17", msmt17, 2, ("layout: MSMT17", "train: 9 images, 3 identities", "numbered from 1",
        "query: 2 images, 2 identities")),
    Case("MSMT17_V2", msmt17_v2, 2, ("train: 9 images, 3 identities", "gallery: 3 images, 2")),
    Case("MSMT17, Market's names", msmt17_market_names, 0, ("layout: MSMT17", *COUNTS)),
    Case("MSMT17, no list", msmt17_without_a_list, 2, ("list_gallery.txt is missing",)),
    Case("MSMT17, no image", msmt17_wrong_line, 2, ("list_train.txt: line 1: must name an image",)),
    Case("MSMT17, many digits", msmt17_many_digits, 2, ("line 1: must be 'PATH IDENTITY'",)),
    Case("CUHK03", cuhk03, 2, ("layout: CUHK03", "train: 9 images, 3 identities, 3 cameras")),
    Case("CUHK03, a file", lambda data: cuhk03(data) / "splits_new_labeled.json", 2,
        ("layout: CUHK03", "query: 2 images")),
    Case("CUHK03, two splits", cuhk03_two_splits, 2, ("must hold one split of CUHK03",)),
    Case("CUHK01", cuhk01, 2, ("layout: CUHK01", "no published split", "train: 8 images",
        "query: 4 images, 2 identities, 1 cameras")),
    Case("with __MACOSX", beside_a_macos_folder, 0, ("layout: Market-1501", *COUNTS)),
    Case("with val", with_validation, 0, ("train: 6 images", "1 folder (val) with 3 images")),
    Case("MSMT17, tabs", msmt17_lines(lambda line: line.partition("|")[2].replace(" ", "\t")), 0,
        COUNTS),
    Case("MSMT17, whole paths", msmt17_lines(lambda line: line.replace("|", "/")), 0, COUNTS),
    Case("MSMT17, unlisted", msmt17_unlisted, 0, ("2 ignored", "1 .bmp", "1 folder (0009) with 1")),
    Case("an archive", an_archive, 2, ("got an archive; extract it",)),
    Case("CUHK03 in .mat", cuhk03_in_mat, 2, ("holds CUHK03 in .mat files, which only convert",
        "write it in Market-1501 layout with: reid-aug convert")),
    # manifests
    Case("semicolons", separated(";"), 0, ("layout: manifest", *COUNTS)),
    Case("tabs", separated("\t", "set.tsv"), 0, ("layout: manifest", *COUNTS)),
    Case("another suffix", separated(",", "set.txt"), 0, ("layout: manifest", *COUNTS)),
    Case("backslashes", manifest(windows), 0, COUNTS),
    Case("pids and cameras as floats", manifest(as_floats), 0, (*COUNTS, "1 are distractors; 1 ")),
    Case("capitals", manifest(capitals), 0, COUNTS),
    Case("distractors among texts", manifest(with_zeros), 0, (*COUNTS, "1 are distractors; 1 ")),
    Case("pids that are alike", manifest(stripped_zeros), 0,
        ("'0001' and '1' differ in case or leading zeros only",)),
    Case("nan as pid", manifest(wrong("pid", "nan")), 2, ("line 2: pid must be an identity",)),
    Case("Latin-1", manifest(wrong("pid", "Ü"), encoding="latin-1"), 2, ("must be text in UTF-8",)),
    Case("UTF-16", manifest(encoding="utf-16"), 2, ("must be text in UTF-8",)),
    Case("validation", manifest(wrong("split", "val")), 2, ("write train, or leave these images",)),
    Case("no query", without_split("query"), 2, ("contains no image, for the split query",)),
    Case("manifest", manifest(), 0, ("layout: manifest", *COUNTS)),
    Case("manifest of Excel", manifest(encoding="utf-8-sig"), 0, COUNTS),
    Case("texts as pids", manifest(words), 0, (*COUNTS, "pids: numbered from 1")),
    Case("from 0", manifest(from_zero), 0, (*COUNTS, "pids: numbered from 1")),
    Case("24 digits, manifest", manifest(wrong("pid", "9" * 24)), 0, ("train: 9 images, 4 ident",)),
    Case("no cameras", manifest(no_camera), 0, ("train: 9 images, 3 identities, no cameras",
        "the evaluation ignores only the query itself")),
    Case("some cameras", manifest(some_cameras), 2, ("every image must have a camera, or none",)),
    Case("a camera by name", manifest(wrong("camid", "hall")), 2, ("line 2: camid must be a number",
        "'hall'")),
    Case("a wrong split", manifest(wrong("split", "test")), 2, ("line 2: split must be train, ",
        "divide the test images into query and gallery")),
    Case("no file", manifest(wrong("path", "d/none.jpg")), 2, ("line 2: path must be an image",)),
    Case("no pid", manifest(wrong("pid", "")), 2, ("line 2: pid must not be empty",)),
    Case("a line twice", twice, 2, ("is in train already, line 2",)),
    Case("no column", without_column, 2, ("line 1 must name the columns", "got no split")),
    Case("keypoints inside", manifest(with_keypoints), 0, ("poses: 9 of 9",)),
    Case("equal names", equal_names, 2, COUNTS),
    Case("a manifest nearby", manifest_in_folder, 0, ("layout: Market-1501",)),
]  # fmt: skip


@pytest.mark.parametrize("case", CHECKS, ids=lambda case: case.about)
def test_check_reads_it_right_or_says_why_not(data, case):
    path = case.change(data)

    result = call("check", path if isinstance(path, Path) and path != data else data)

    said = output(result)
    assert [text for text in case.texts if text not in said] == [], said
    assert result.exit_code == case.code, said


def test_check_prints_json(data):
    (data / TRAIN / "0009_c1.bmp").write_bytes(b"x")

    found = json.loads(call("check", data, "--json").stdout)

    assert found["splits"]["train"] == {"images": 9, "identities": 3, "cameras": 3}
    assert (found["distractors"], found["junk"], found["errors"]) == (1, 1, 0)
    assert found["sizes"] == [{"height": HEIGHT, "width": WIDTH, "images": 16}]
    assert found["formats"] == {"JPEG": 16}
    assert found["identities_by_cameras"]["train"]["1"] == {"1": 3, "2": 3, "3": 3}
    assert found["keypoints"]["train"] == {"usable": 9, "images": 9}
    assert [fault["kind"] for fault in found["faults"]] == ["ignored"]


def test_check_writes_a_manifest_of_what_is_usable(data):
    shutil.copy(data / QUERY / NAMES[QUERY][0], data / TRAIN / FIRST)
    (data / TRAIN / NAMES[TRAIN][1]).write_bytes(b"no image")
    (data / TRAIN / "portrait.jpg").write_bytes(b"no image")

    result = call("check", data, "--fix", "usable.csv")

    assert result.exit_code == 2
    assert "usable.csv: 14 usable images; usable-left-out.csv: 3 left out" in result.stderr
    left_out = dict(list(csv.reader(Path("usable-left-out.csv").read_text().splitlines()))[1:])
    assert {Path(path).name: reason for path, reason in left_out.items()} == {
        FIRST: "leak", NAMES[TRAIN][1]: "image", "portrait.jpg": "name",
    }  # fmt: skip
    again = call("check", "usable.csv")
    assert again.exit_code == 0, again.output
    assert "poses: 7 of 7 training images are usable" in again.stdout
    before = Path("usable.csv").stat().st_mtime_ns
    assert "14 usable images" in call("check", data, "--fix", "usable.csv").stderr
    assert Path("usable.csv").stat().st_mtime_ns == before
    Path("usable-left-out.csv").write_text("other")
    assert "is there already" in call("check", data, "--fix", "usable.csv").stderr


SAME = {
    "Market-1501": lambda data: data,
    "per identity": per_identity,
    "manifest": manifest(),
    "manifest of texts": manifest(words),
    "MSMT17": msmt17_market_names,
}


def test_layouts_give_the_same_lists_and_kept_sets(data):
    found = {name: read_dataset(write(data)) for name, write in SAME.items()}
    lists = {
        name: [[image.name for image in images] for images in (d.train, d.query, d.gallery)]
        for name, d in found.items()
    }
    kept_sets = {name: [i.name for i in kept(d.train, 0.5)] for name, d in found.items()}
    pids = {name: [i.pid for i in d.train] for name, d in found.items()}

    assert all(each == lists["Market-1501"] for each in lists.values())
    assert all(each == kept_sets["Market-1501"] for each in kept_sets.values())
    assert all(each == pids["Market-1501"] for each in pids.values())
    assert found["manifest of texts"].labels == ("anna", "ben", "cem", "dora", "eli")


@pytest.mark.parametrize(
    "write",
    [per_identity, manifest(words), equal_names, veri],
    ids=["per identity", "manifest", "equal names", "VeRi-776"],
)
def test_convert_writes_what_any_code_reads(data, write):
    source = write(data) or data

    result = call("convert", source, "made")

    assert result.exit_code == 0, result.output
    dataset = read_dataset("made")
    assert [len(images) for images in (dataset.train, dataset.query, dataset.gallery)] == [9, 2, 4]
    assert [image.pid for image in dataset.train] == [1] * 3 + [2] * 3 + [3] * 3
    assert {image.camid for image in dataset.train} == {1, 2, 3}
    again = call("convert", source, "made")
    assert again.exit_code == 0, again.output


def test_convert_goes_on_and_refuses_another_folder(data):
    assert call("convert", data, "made").exit_code == 0
    gone = Path("made") / TRAIN / FIRST
    before = gone.read_bytes()
    gone.unlink()

    assert call("convert", data, "made").exit_code == 0
    assert gone.read_bytes() == before
    assert len(read_keypoints("made/keypoints.csv")) == 16
    assert "must be missing or an empty folder" in call("convert", data, data / TRAIN).stderr


def test_convert_goes_on_where_it_was_killed_at_its_first_file(data):
    left = Path("made") / f".dataset.json.{HOST}.{2**30}.part"  # no process has this number
    left.parent.mkdir()
    left.write_text("{")

    assert call("convert", data, "made").exit_code == 0
    assert not left.exists()
    assert len(read_dataset("made").train) == 9


def test_convert_needs_cameras(data):
    path = manifest(no_camera)(data)

    result = call("convert", path, "made")

    assert result.exit_code == 2
    assert "must have a camera to be written in Market-1501 layout" in result.stderr


# -- keypoints of other tools

COCO = np.array([[8, 3 + joint, 0.9] for joint in range(17)])


def coco_results(name: str, joints: int = 17) -> object:
    person = [*COCO.tolist(), *[[1, 1, 0.1]] * (joints - 17)]
    flat = [value for point in person for value in point]
    return [{"image_id": name, "keypoints": flat, "score": 2.0, "category_id": 1}]


def mmpose(name: str) -> object:
    points, scores = COCO[:, :2].tolist(), COCO[:, 2].tolist()
    return {name: [[{"keypoints": points, "keypoint_scores": scores}]]}


def mmpose_old(name: str) -> object:
    return {name: {"instance_info": mmpose(name)[name][0]}}  # type: ignore[index]


def vitpose(name: str) -> object:
    return {name: {"keypoints": [{"0": [[y, x, c] for x, y, c in COCO.tolist()]}], "skeleton": {}}}


MEDIAPIPE = {
    0: 0, 2: 1, 5: 2, 7: 3, 8: 4, 11: 5, 12: 6, 13: 7, 14: 8, 15: 9, 16: 10, 23: 11, 24: 12,
    25: 13, 26: 14, 27: 15, 28: 16,
}  # fmt: skip


def mediapipe(name: str) -> object:
    points = [{"x": 0.5, "y": 0.5, "z": 0.0, "visibility": 0.1}] * 33
    for landmark, joint in MEDIAPIPE.items():
        x, y, c = COCO[joint].tolist()
        point = {"x": (x + 0.5) / WIDTH, "y": (y + 0.5) / HEIGHT, "z": 0.1, "visibility": c}
        points = [*points[:landmark], point, *points[landmark + 1 :]]
    return {name: points}


def mediapipe_lists(name: str) -> object:
    return {
        key: [[p["x"], p["y"], p["z"], p["visibility"]] for p in points]
        for key, points in mediapipe(name).items()  # type: ignore[attr-defined]
    }


EXPECTED_Y = [3, 8.5, 9, 11, 13, 8, 10, 12, 15, 17, 19, 14, 16, 18, 5, 4, 7, 6]
POSE_FILES = {
    "COCO results of ViTPose": coco_results,
    "AlphaPose, 26 joints": lambda name: coco_results(name, 26),
    "AlphaPose, 136 joints": lambda name: coco_results(name, 136),
    "whole body": lambda name: coco_results(name, 133),
    "MMPose": mmpose,
    "MMPose, instance_info": mmpose_old,
    "easy_ViTPose": vitpose,
    "MediaPipe": mediapipe,
    "MediaPipe, lists": mediapipe_lists,
}


@pytest.mark.parametrize("form", POSE_FILES)
def test_keypoints_of_other_tools_are_imported(data, form):
    Path("poses.json").write_text(json.dumps(POSE_FILES[form](FIRST)))

    result = call("estimate-poses", data, "--from", "poses.json", "--keypoints", "k.csv")

    assert result.exit_code == 0, result.output
    pose = read_keypoints("k.csv")[FIRST]
    np.testing.assert_allclose(pose.xy[:, 0], 8)
    np.testing.assert_allclose(pose.xy[:, 1], np.rint(EXPECTED_Y))


@pytest.mark.parametrize("form", ["MMPose", "MediaPipe"])
def test_one_json_per_image_is_imported(data, form):
    Path("poses").mkdir()
    content = POSE_FILES[form](FIRST)[FIRST]  # type: ignore[index]
    (Path("poses") / FIRST.replace(".jpg", ".json")).write_text(json.dumps(content))

    result = call("estimate-poses", data, "--from", "poses", "--keypoints", "k.csv")

    assert result.exit_code == 0, result.output
    np.testing.assert_allclose(read_keypoints("k.csv")[FIRST].xy[:, 0], 8)


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ({FIRST: [{"x": 1}] * 33}, "y must be a whole number or number, got no such key"),
        (
            {FIRST: [[{"keypoints": [[1, 2]], "keypoint_scores": []}]]},
            "must be \\[x, y\\] for each",
        ),
        ([{"image_id": FIRST, "keypoints": [10**400] * 51}], "must be an integer of 64 bits"),
        ({FIRST: {"what": 1}}, "must be an object|must be a list|no such key"),
    ],
)
def test_keypoints_that_cannot_be_read_are_one_sentence(data, content, fault):
    Path("poses.json").write_text(json.dumps(content))

    result = call("estimate-poses", data, "--from", "poses.json", "--keypoints", "k.csv")

    assert result.exit_code == 2
    assert "poses.json" in result.stderr
    assert re.search(fault, result.stderr), result.stderr
    assert not Path("k.csv").exists()


def test_zero_is_read_as_missing(data):
    write_rows(data, [row(name, ZEROED, ZEROED_X) for name in all_names()])
    fault = call("check", data)
    assert fault.exit_code == 2

    (command,) = re.findall(r"read 0 as missing with: reid-aug (.*) NEW$", fault.stdout, re.M)
    assert call(*shlex.split(command), "k.csv").exit_code == 0

    assert np.flatnonzero(~read_keypoints("k.csv")[FIRST].seen).tolist() == [0, 16, 17]
    assert call("check", data, "--keypoints", "k.csv").exit_code == 0


@pytest.mark.parametrize("change", [lambda n: f"crops/{n}", lambda n: n.replace("jpg", "png")])
def test_the_remedy_for_names_renames_them(data, change):
    write_rows(data, [row(change(name)) for name in all_names()])
    fault = call("check", data)
    assert fault.exit_code == 2

    (command,) = re.findall(r"rename them with: reid-aug (.*) FILE$", fault.stdout, re.M)
    assert call(*shlex.split(command), "k.csv").exit_code == 0
    assert call("check", data, "--keypoints", "k.csv").exit_code == 0


def test_a_stage_says_that_names_differ(data):
    pngs(data)

    result = call(*COPIES, "--data", data)

    assert result.exit_code == 2
    assert f"in suffix or folder only, as '{FIRST}' from '{FIRST[:-4]}.png'" in result.stderr


# -- generated images of others

SMALL = ("--set", f"data.height={HEIGHT}", "--set", f"data.width={WIDTH}")
SOURCE, TARGET = NAMES[TRAIN][0], NAMES[TRAIN][4]


def made_by(name: str, image: Image.Image) -> tuple[str, np.ndarray]:
    path = Path("made") / name
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **({"quality": 95} if path.suffix == ".jpg" else {}))
    return name, np.asarray(image)


def sheet(generated: Image.Image) -> Image.Image:
    panels = [other_picture() for _ in range(4)]
    return Image.fromarray(np.hstack([np.asarray(p) for p in (*panels, generated)]))


IMPORTS = {
    "Market-1501": ("0001_c2s1_1_00.png", other_picture(), (1, 2, "", "")),
    "PATN": (f"{SOURCE}___{TARGET}_vis.png", other_picture(), (1, 1, SOURCE, TARGET)),
    "PATN's sheet": (f"{SOURCE}___{TARGET}_vis.png", sheet(other_picture()), (1, 1, SOURCE,
        TARGET)),
    "source and target": (f"{SOURCE[:-4]}_2_{TARGET[:-4]}.png", other_picture(), (1, 1, SOURCE,
        TARGET)),
    "PIDM": (f"{SOURCE[:-4]}_2_{TARGET[:-4]}_vis.png", other_picture(), (1, 1, SOURCE, TARGET)),
    "PCDMs": (f"{SOURCE[:-4]}_to_{TARGET[:-4]}.png", other_picture(), (1, 1, SOURCE, TARGET)),
    "Pose2ID": (f"pose8/{SOURCE[:-4]}.png", other_picture(), (1, 1, SOURCE, "")),
    "nested": (f"test/images/{SOURCE}___{TARGET}_vis.png", other_picture(), (1, 1, SOURCE,
        TARGET)),
    "DG-Market": (f"000/001_010_gan{SOURCE[:-4]}.png", other_picture(), (1, 1, SOURCE, "")),
    "DG-Market, unknown source": ("000/001_010_gan0002_c3_x.png", other_picture(), (2, 3, "", "")),
    "CamStyle": (f"{SOURCE[:-4]}_fake_1to3.png", other_picture(), (1, 3, SOURCE, "")),
}  # fmt: skip


@pytest.mark.parametrize("form", IMPORTS)
def test_generated_images_are_imported(data, form):
    name, image, expected = IMPORTS[form]
    made_by(name, image)
    (Path("made") / "stray.txt").write_text("x")

    result = call("bank", "import", "made", "--data", data, "--out", "run", *SMALL)

    assert result.exit_code == 0, result.output
    assert "1 images; 1 ignored beside the images: 1 .txt (stray.txt)" in result.stderr
    entry = Bank("run/bank.h5")[0]
    assert (entry.pid, entry.camid, entry.source, entry.target) == expected
    np.testing.assert_array_equal(entry.image, np.asarray(other_picture()))


@pytest.mark.parametrize(
    ("name", "image", "fault"),
    [
        ("0001_c1.png", sheet(other_picture()), "must be about 2 times as high as wide"),
        ("0001_c1.png", other_picture(72, 128), "got 72 high and 128 wide"),
        ("0001_c1.png", other_picture(1, 1), "at least 8 pixels a side, got 1x1"),
        ("0008_c1.png", other_picture(), "must show an identity of the kept set, got pid 8"),
        ("gen_0000.png", other_picture(), "the name must begin with"),
        ("0001_c1.png", other_picture(32, 32), "got 32 high and 32 wide"),  # two panels
        (f"{SOURCE}___{TARGET}_vis.png", other_picture(64, 48), "got 64 high and 48 wide"),  # 3 x 2
        ("0000_c1.png", other_picture(), "must show identities, got 1 distractors and junk"),
        (
            f"pose1/{NAMES[GALLERY][0][:-4]}.png",
            other_picture(),
            "made from 0 of 2 query images and 1 of 4 gallery images (1 distractors have none)",
        ),
    ],
)
def test_images_that_cannot_be_imported_are_one_sentence(data, name, image, fault):
    made_by(name, image)

    result = call("bank", "import", "made", "--data", data, "--out", "run", *SMALL)

    assert result.exit_code == 2
    assert fault in result.stderr
    assert not Path("run/bank.h5").exists()


def test_images_of_a_dump_are_counted(data):
    for pose in (1, 2):
        for name in [*NAMES[TRAIN][:6], *NAMES[GALLERY][3:]]:  # the last: a distractor and junk
            made_by(f"pose{pose}/{name}", other_picture())
    made_by("stray.png", other_picture())
    (Path("made") / "pose1" / "a.bmp").write_bytes(b"x")

    result = call("bank", "import", "made", "--data", data, "--out", "run", *SMALL)

    assert result.exit_code == 0, result.output
    assert (
        "12 images; 4 distractors or junk boxes left out; 2 ignored beside the images: 1 .bmp "
        "(a.bmp), 1 .png (stray.png); made from 6 of 9 training images"
    ) in result.stderr
    assert Bank("run/bank.h5")[0].source == SOURCE


COPIES = ("synthesize", "--ratio", 1, "--set", "synthesize.method=copies", "--out", "run", *SMALL)


def test_large_pids_are_kept_in_a_bank(data):
    renumber(data, 1, "3000000001")
    write_rows(data, [row(p.name) for p in sorted((data / TRAIN).iterdir())])

    result = call(*COPIES, "--data", data)

    assert result.exit_code == 0, result.output
    assert set(Bank("run/bank.h5").rows.pid.tolist()) == {3000000001, 2, 3}


READERS = {
    "synthesize": (*COPIES, "--dry-run", "--data", "d"),
    "bank import": ("bank", "import", "made", "--out", "run", "--data", "d", *SMALL),
    "convert": ("convert", "d", "converted"),
    "estimate-poses": ("estimate-poses", "d", "--from", "d/keypoints.csv", "--keypoints", "k.csv"),
}


STAGES = {
    "synthesize": COPIES,
    "train-generator": ("train-generator", "--out", "run"),
    "train-reid": (
        *("train-reid", "--ratio", 0, "--out", "run"),
        *("--set", "train_reid.batch=4"),
    ),
}


@pytest.mark.parametrize("command", STAGES)
@pytest.mark.parametrize(("height", "is_odd"), [(HEIGHT // 4, True), (HEIGHT, False)])
def test_every_stage_tells_an_image_of_another_shape(data, command, height, is_odd):
    save(other_picture(height, WIDTH), FIRST)(data)

    result = call(*STAGES[command], "--dry-run", "--data", data)

    note = f"1 of 9 images have quite another shape than the others, and are squeezed, as {FIRST} "
    assert (note + f"({height} high, {WIDTH} wide)" in result.stderr) == is_odd, result.output


@pytest.mark.parametrize("command", READERS)
def test_every_command_counts_the_files_that_it_ignores(data, command):
    (data / TRAIN / "a.bmp").write_bytes(b"x")
    (data / GALLERY / "more").mkdir()
    (data / QUERY / "Thumbs.db").write_bytes(b"x")
    made_by("0001_c1.png", other_picture())

    result = call(*READERS[command])

    assert result.exit_code == 0, result.output
    assert "d: 2 ignored beside the images: 1 .bmp (a.bmp), 1 folder (more)" in result.stderr


def test_vehicles_are_copied_without_keypoints(data):
    veri(data)
    (data / "keypoints.csv").unlink()

    result = call(*COPIES, "--data", data)

    assert result.exit_code == 0, result.output
    assert "VeRi-776: vehicles have no pose" in result.stderr
    assert len(Bank("run/bank.h5")) == 9
    assert call("bank", "verify", "--data", data, "--out", "run").exit_code == 0
    moved = call("synthesize", "--set", "synthesize.method=limb-warp", *SMALL, "--data", data)
    assert moved.exit_code == 2
    assert "keypoints.csv is missing" in moved.stderr


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (rows(*(row(name, ZEROED, ZEROED_X) for name in all_names())), "at (0, 0)"),
        (only_training(".JPG", 9), "9 rows differ from the names of images"),
    ],
)
def test_a_stage_refuses_keypoints_that_mean_something_else(data, change, fault):
    change(data)

    result = call("synthesize", "--set", "synthesize.method=limb-warp", *SMALL, "--data", data)

    assert result.exit_code == 2
    assert fault in result.stderr


def test_a_bank_of_a_manifest_is_made_verified_and_exported(data):
    path = manifest(words)(data)

    assert call(*COPIES, "--data", path).exit_code == 0
    assert "pid,identity\r\n1,anna" in Path("run/identities.csv").read_bytes().decode()
    verified = call("bank", "verify", "--data", path, "--out", "run")
    assert verified.exit_code == 0, verified.output
    exported = call("bank", "export", "export", "--data", path, "--out", "run", "--mix", *SMALL)
    assert exported.exit_code == 0, exported.output
    assert len(read_dataset("export").train) == 18


@pytest.mark.parametrize("setting", ["synthesize.cameras=target", "synthesize.poses=cross-camera"])
def test_cameras_are_not_generated_without_cameras(data, setting):
    path = manifest(no_camera)(data)

    result = call(
        "synthesize", "--data", path, "--ratio", 1, "--set", setting, *SMALL, "--generator", "demo"
    )

    assert result.exit_code == 2
    assert "for a data set without camera labels" in result.stderr


def test_without_cameras_only_the_query_itself_is_ignored(data):
    lines = manifest_lines(data)
    for line in lines:
        line["camid"] = ""
    in_gallery = {**lines[9], "split": "gallery"}  # the first query
    dataset = read_dataset(write_manifest(data, [*lines, in_gallery]))

    matches = Matches(*columns(dataset))

    found = [[dataset.gallery[g].name for g in part] for part in matches.of(0)]
    assert found == [["0004_c2s1_4200_00.jpg"], ["0004_c1s1_4100_00.jpg"]]


def test_a_result_without_cameras_is_marked():
    line = gains(some_results.records([some_results.result(0, 0, 0.5, has_cameras=False)]))[0]

    assert "evaluated without camera labels" in line.what
    assert any("evaluated without camera labels" in cell for cell in cells(line))


def test_a_checkpoint_of_torchreid_is_read(tmp_path):
    state = {f"module.{name}": torch.ones(2) for name in ("a.weight", "b.weight")}
    content = {"state_dict": state, "epoch": 60, "rank1": np.float64(0.875), "optimizer": {}}
    torch.save({**content, "mAP": np.float32(0.5), "n": np.int64(3)}, tmp_path / "model.pth.tar-60")

    tensors, others = read_checkpoint(tmp_path / "model.pth.tar-60")

    assert sorted(tensors) == ["a.weight", "b.weight"]
    assert others == ["epoch", "mAP", "n", "optimizer", "rank1"]


@pytest.mark.parametrize("key", ["state_dict", "model", "net"])
def test_what_lies_beside_the_tensors_is_dropped_and_named(tmp_path, key):
    content = {key: {"a": torch.ones(2)}, "cmc": np.ones(5), "args": argparse.Namespace(lr=0.1)}
    torch.save(content, tmp_path / "model.pth")

    tensors, others = read_checkpoint(tmp_path / "model.pth")

    assert (list(tensors), others) == (["a"], ["args", "cmc"])


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ({"state_dict": {}, "path": Path("a")}, r"would run code \(pathlib.*Path\)"),
        ({"net": {"a": torch.ones(1)}, "ema": {"a": torch.ones(1)}}, "got several, net, ema"),
        ({"epoch": 3, "rank1": np.float64(0.5)}, "must hold a state dict of tensors, got only ep"),
    ],
)
def test_a_checkpoint_that_cannot_be_read_says_what_it_holds(tmp_path, content, fault):
    torch.save(content, tmp_path / "model.pth")

    with pytest.raises(UserError, match=fault):
        read_checkpoint(tmp_path / "model.pth")


def test_an_upright_image_and_its_keypoints_agree(data):
    rotated(data)

    image = decode(data / TRAIN / FIRST)

    assert image.pixels.shape == (HEIGHT, WIDTH, 3)
    assert image_size(data / TRAIN / FIRST) == (HEIGHT, WIDTH)
    upright = np.rot90(np.asarray(Image.open(data / TRAIN / FIRST)), -1)
    np.testing.assert_array_equal(image.pixels, upright)


def test_grey_values_of_16_bits_are_scaled(data):
    sixteen_bits(data)

    pixels = decode(data / TRAIN / FIRST.replace(".jpg", ".png")).pixels[..., 0].ravel()

    np.testing.assert_array_equal(
        pixels, np.rint(np.linspace(0, 65535, HEIGHT * WIDTH).astype(int) / 257)
    )
