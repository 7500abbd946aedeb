"""CUHK03 in .mat files, as ``convert`` writes it in Market-1501 layout."""

from pathlib import Path

import h5py
import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image
from scipy.io import savemat

from reid_aug.cli import main
from reid_aug.data.formats import read_dataset

PEOPLE, IMAGES = 3, 10  # people of the first pair of cameras
NAMES = [f"1_{person:03d}_{1 + (image > 5)}_{image:02d}.png" for person in (1, 2, 3)
         for image in (1, 2, 6, 7)]  # fmt: skip


def pixels(person: int, image: int) -> np.ndarray:
    return np.random.default_rng([person, image]).integers(0, 256, (32, 16, 3), np.uint8)


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "cuhk03"
    (folder / "cuhk03_release").mkdir(parents=True)
    with h5py.File(folder / "cuhk03_release" / "cuhk-03.mat", "w") as file:
        cells = np.empty((IMAGES, PEOPLE), object)
        for person in range(PEOPLE):
            for image in range(IMAGES):
                empty = image in (2, 3, 4, 7, 8, 9)
                content = np.zeros(2, np.uint64) if empty else pixels(person + 1, image + 1).T
                cells[image, person] = file.create_dataset(f"i/{person}/{image}", data=content).ref
        pair = file.create_dataset("pair", cells.shape, h5py.ref_dtype)
        pair[...] = cells
        labeled = file.create_dataset("labeled", (1, 1), h5py.ref_dtype)
        labeled[0, 0] = pair.ref
    write_config(folder)
    return folder


def write_config(folder: Path, kind: str = "labeled", **changes: object) -> None:
    content: dict[str, object] = {
        "filelist": np.array([[name] for name in NAMES], object),
        "labels": np.array([[1]] * 4 + [[2]] * 4 + [[3]] * 4, float),
        "train_idx": np.arange(1, 5)[:, None],
        "query_idx": np.array([[5], [9]]),
        "gallery_idx": np.array([[7], [8], [11]]),
    }
    savemat(folder / f"cuhk03_new_protocol_config_{kind}.mat", {**content, **changes})


def convert(source: Path) -> Result:
    return CliRunner().invoke(main, ["convert", str(source), "made"])


def test_images_of_the_new_protocol_become_files(source):
    result = convert(source)

    assert result.exit_code == 0, result.output
    assert "4 images in bounding_box_train, 2 images in query, 3 images in" in result.stderr
    dataset = read_dataset("made")
    assert [(i.name, i.pid, i.camid) for i in dataset.query] == [
        ("0002_c1_1_002_1_01.png", 2, 1), ("0003_c1_1_003_1_01.png", 3, 1),
    ]  # fmt: skip
    assert [(i.pid, i.camid) for i in dataset.gallery] == [(2, 2), (2, 2), (3, 2)]
    found = np.asarray(Image.open("made/query/0003_c1_1_003_1_01.png"))
    np.testing.assert_array_equal(found, pixels(3, 1))
    gone = Path("made/query/0003_c1_1_003_1_01.png")
    before = gone.read_bytes()
    gone.unlink()

    assert convert(source / "cuhk03_new_protocol_config_labeled.mat").exit_code == 0
    assert gone.read_bytes() == before


def without_protocol(folder: Path) -> None:
    (folder / "cuhk03_new_protocol_config_labeled.mat").unlink()


def without_images(folder: Path) -> None:
    (folder / "cuhk03_release" / "cuhk-03.mat").unlink()


def damaged_images(folder: Path) -> None:
    (folder / "cuhk03_release" / "cuhk-03.mat").write_bytes(b"no HDF5")


def damaged_protocol(folder: Path) -> None:
    (folder / "cuhk03_new_protocol_config_labeled.mat").write_bytes(b"no MATLAB file" * 20)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (without_protocol, "must hold cuhk03_new_protocol_config_labeled.mat or _detected"),
        (without_images, "cuhk-03.mat is missing; put it beside cuhk03_new_protocol_config"),
        (lambda folder: write_config(folder, "detected"), "must hold one protocol, got cuhk03_new"),
        (lambda folder: write_config(folder, train_idx=np.array([[99]])), "one of the 12 images"),
        (lambda folder: write_config(folder, train_idx=np.array([["a"]])), "(MATLAB 5) with "),
        (
            lambda folder: write_config(folder, filelist=np.array([["../x.png"]] * 12, object)),
            "image 1 of train: must have a name as 1_001_1_01.png, got '../x.png'",
        ),
        (
            lambda folder: write_config(
                folder, filelist=np.array([["1_001_1_03.png"], *([n] for n in NAMES[1:])], object)
            ),
            "image 3 of person 1 of pair 1 must be 3 x width x height bytes, got uint64 of shape",
        ),
        (damaged_protocol, "must be a file of the new protocol of CUHK03 (MATLAB 5)"),
        (damaged_images, "must be cuhk-03.mat of CUHK03 (HDF5) with the cells labeled"),
    ],
)  # fmt: skip
def test_what_cannot_be_converted_is_one_sentence(source, change, fault):
    change(source)

    result = convert(source)

    assert result.exit_code == 2, result.output
    assert fault in result.stderr, result.stderr
    assert not Path("made").exists()
