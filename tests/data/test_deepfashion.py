"""Names, lists and crops of DeepFashion, with synthetic images."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from reid_aug.bank import Bank
from reid_aug.cli import main
from reid_aug.data.check import check_dataset
from reid_aug.data.dataset import open_image, read_market1501
from reid_aug.data.formats.deepfashion import new_name, published_name, write_deepfashion
from reid_aug.data.keypoints import HEADER, read_keypoints
from reid_aug.data.pair_lists import read_pairs
from reid_aug.generator import load_with_metadata
from reid_aug.runtime.errors import UserError

TRAIN = [
    "fashionMENDenimid0000008001_1front.jpg",
    "fashionMENDenimid0000008001_2side.jpg",
    "fashionMENDenimid0000008001_3back.jpg",
    "fashionWOMENTees_Tanksid0000121204_1front.jpg",
    "fashionWOMENTees_Tanksid0000121204_7additional.jpg",
]
TEST = [
    "fashionWOMENDressesid0000349901_4full.jpg",
    "fashionWOMENDressesid0000349901_3back.jpg",
    "fashionWOMENDressesid0000349902_1front.jpg",
]
SHAPE = [30, 60, 60, 100, 140, 60, 100, 140, 140, 190, 240, 140, 190, 240, 25, 25, 30, 30]
SIDES = [88, 88, 68, 60, 58, 108, 116, 118, 74, 72, 70, 102, 104, 106, 84, 92, 78, 98]


def picture(width: int, seed: int) -> Image.Image:
    """A colour gradient that JPEG preserves well; different per seed."""
    y, x = np.mgrid[:256, :width] / 256
    planes = [y, x, (x + y + seed / 9) % 1 * 0.1 + seed / 20]
    return Image.fromarray((np.stack(planes, -1) * 255).clip(0, 255).astype(np.uint8))


def write_list(path: Path, names: list[str]) -> None:
    rows = [f"{name}: {SHAPE}: {[x + i for x in SIDES]}" for i, name in enumerate(names)]
    path.write_text("\n".join([HEADER, *rows]) + "\n")


@pytest.fixture
def fashion(tmp_path):
    folder = tmp_path / "fashion_data"
    for split, names in (("train", TRAIN), ("test", TEST)):
        (folder / split).mkdir(parents=True)
        for seed, name in enumerate(names):
            picture(256, seed + 5 * (split == "test")).save(folder / split / name, quality=100)
        write_list(folder / f"fasion-resize-annotation-{split}.csv", names)
    pairs = [(TRAIN[0], TRAIN[1]), (TRAIN[4], TRAIN[3])]
    lines = ["from,to", *map(",".join, pairs)]
    (folder / "fasion-resize-pairs-train.csv").write_text("\n".join(lines) + "\n")
    (folder / "fasion-resize-pairs-test.csv").write_text(f"from,to\n{TEST[0]},{TEST[1]}\n")
    return folder


@pytest.mark.parametrize(
    ("path", "published"),
    [
        ("MEN/Denim/id_00000080/01_1_front.jpg", TRAIN[0]),
        ("a/img/WOMEN/Tees_Tanks/id_00001212/04_7_additional.jpg", TRAIN[4]),
        (f"fashion_data/train/{TRAIN[0]}", TRAIN[0]),
        ("front.jpg", "front.jpg"),
    ],
)
def test_published_name_joins_the_folders_and_the_name_of_the_archive(path, published):
    assert published_name(Path(path)) == published


@pytest.mark.parametrize(
    "name", ["0002_c1s1_000451_03.jpg", "fashionMENDenimid0000008001_front.jpg", TRAIN[0] + ".npy"]
)
def test_invalid_name_is_an_error_that_names_it(name):
    with pytest.raises(UserError, match=rf"{name}: must be a name such as fashion"):
        new_name(name)


def test_identities_are_items_of_one_colour_and_views_are_camids(fashion, tmp_path):
    counts = write_deepfashion(fashion, tmp_path / "data")

    dataset = read_market1501(tmp_path / "data")
    parts = [
        [(i.pid, i.camid) for i in images]
        for images in (dataset.train, dataset.query, dataset.gallery)
    ]
    assert sorted(parts[0]) == [(8001, 1), (8001, 2), (8001, 3), (121204, 1), (121204, 7)]
    assert parts[1:] == [[(349901, 3)], [(349901, 4), (349902, 1)]]
    assert list(counts.values()) == [5, 1, 2]


def test_whole_images_are_cropped_to_the_columns_of_their_keypoints(fashion, tmp_path):
    write_deepfashion(fashion, tmp_path / "data")

    image = read_market1501(tmp_path / "data").train[0]
    original = open_image(fashion / "train" / image.name.split("_", 2)[2])
    crop = open_image(image.path)
    assert crop.shape == (256, 176, 3)
    assert np.abs(crop.astype(int) - original[:, 40:216]).max() < 8
    poses = read_keypoints(tmp_path / "data/keypoints.csv")
    place = TRAIN.index(image.name.split("_", 2)[2])
    np.testing.assert_array_equal(poses[image.name].xy[:, 0], [x + place for x in SIDES])
    np.testing.assert_array_equal(poses[image.name].xy[:, 1], SHAPE)


def test_images_that_are_cropped_already_are_copied_unchanged(fashion, tmp_path):
    picture(176, 3).save(fashion / "train" / TRAIN[0])

    write_deepfashion(fashion, tmp_path / "data")

    copy = tmp_path / "data/bounding_box_train" / new_name(TRAIN[0])
    assert copy.read_bytes() == (fashion / "train" / TRAIN[0]).read_bytes()


def test_archive_and_flat_folder_give_the_same_data_set(fashion, tmp_path):
    write_deepfashion(fashion, tmp_path / "flat")
    for name in TRAIN + TEST:
        item = name[name.index("id0") :]
        people = "WOMEN" if "WOMEN" in name else "MEN"
        clothes = name[len("fashion" + people) : name.index("id0")]
        folder = fashion / "img" / people / clothes / f"id_{item[2:10]}"
        folder.mkdir(parents=True, exist_ok=True)
        colour, view = item[10:].split("_")
        split = "train" if name in TRAIN else "test"
        shutil.move(fashion / split / name, folder / f"{colour}_{view[0]}_{view[1:]}")

    write_deepfashion(fashion, tmp_path / "deep")

    assert contents(tmp_path / "flat") == contents(tmp_path / "deep")


def contents(root: Path) -> dict[str, bytes]:
    files = (path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): path.read_bytes() for path in files}


def test_published_pairs_are_written_with_the_new_names(fashion, tmp_path):
    write_deepfashion(fashion, tmp_path / "data")

    pairs = read_pairs(tmp_path / "data/pairs-train.csv")
    assert pairs == [
        (new_name(TRAIN[0]), new_name(TRAIN[1])), (new_name(TRAIN[4]), new_name(TRAIN[3]))
    ]  # fmt: skip
    assert len(read_pairs(tmp_path / "data/pairs-test.csv")) == 1


def test_converted_data_set_has_no_error(fashion, tmp_path):
    write_deepfashion(fashion, tmp_path / "data")

    faults = check_dataset(tmp_path / "data", None).faults

    assert [fault for fault in faults if fault.is_error] == []


def test_pairs_are_optional_but_keypoints_are_required(fashion, tmp_path):
    (fashion / "fasion-resize-pairs-train.csv").unlink()
    write_deepfashion(fashion, tmp_path / "data")
    assert not (tmp_path / "data/pairs-train.csv").exists()

    (fashion / "fasion-resize-annotation-test.csv").unlink()
    message = r"must contain fasion-resize-annotation-test\.csv, got none"
    with pytest.raises(UserError, match=message):
        write_deepfashion(fashion, tmp_path / "other")


def lose_an_image(fashion: Path) -> None:
    (fashion / "train" / TRAIN[0]).unlink()


def give_another_size(fashion: Path) -> None:
    picture(200, 0).save(fashion / "train" / TRAIN[0])


def give_an_image_twice(fashion: Path) -> None:
    shutil.copy(fashion / "train" / TRAIN[1], fashion)


def pair_an_unknown_image(fashion: Path) -> None:
    (fashion / "fasion-resize-pairs-test.csv").write_text(f"from,to\nfashionX,{TEST[1]}\n")


def list_an_image_in_both_splits(fashion: Path) -> None:
    write_list(fashion / "fasion-resize-annotation-test.csv", [*TEST, TRAIN[2]])


def list_single_views_only(fashion: Path) -> None:
    (fashion / "fasion-resize-pairs-test.csv").unlink()
    write_list(fashion / "fasion-resize-annotation-test.csv", TEST[1:])


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lose_an_image, r"got no fashionMENDenimid0000008001_1front\.jpg and no 0 others"),
        (give_another_size, "must be 256x256 pixels, or 256x176 if cropped, got 256x200"),
        (give_an_image_twice, "must exist once, got .*keep one"),
        (pair_an_unknown_image, r"pairs-test\.csv: line 2: fashionX must have a row in"),
        (list_an_image_in_both_splits, "must be in the training or the test list, got it in both"),
        (list_single_views_only, "got nothing for query"),
    ],
)
def test_invalid_input_is_a_user_error_and_nothing_is_written(fashion, tmp_path, spoil, message):
    spoil(fashion)

    with pytest.raises(UserError, match=message):
        write_deepfashion(fashion, tmp_path / "data")

    assert [path.name for path in tmp_path.iterdir()] == ["fashion_data"]


def test_output_folder_that_is_not_empty_is_unchanged(fashion, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data/mine").write_text("kept")

    with pytest.raises(UserError, match="must be missing or an empty folder"):
        write_deepfashion(fashion, tmp_path / "data")

    assert (tmp_path / "data/mine").read_text() == "kept"


def test_converted_data_set_gives_a_generator_and_a_bank(fashion, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = ("generator.width=2", "generator.blocks=1", "train_generator.discriminator_width=2",
                "train_generator.discriminator_blocks=1",
                "train_generator.steps=2", "train_generator.batch=2")  # fmt: skip
    common = ["--recipe", "deepfashion", "--data", "data"]
    common += [word for setting in settings for word in ("--set", setting)]

    assert call("deepfashion", fashion, "data") == ["data"]
    assert call("train-generator", *common) == ["runs/data/generator.safetensors"]
    assert call("synthesize", *common, "--ratio", 0.8) == ["runs/data/bank.h5"]
    call("generator", "evaluate", *common, "--pairs", "data/pairs-test.csv")

    generator, notes = load_with_metadata("runs/data/generator.safetensors")
    assert (generator.config.norm, generator.config.sigma) == ("instance", 0.0)
    assert notes["recipe"]["train_generator"]["gan"] == "lsgan"
    bank = Bank("runs/data/bank.h5")
    assert len(bank) == 4
    assert bank[0].image.shape == (256, 176, 3)
    assert {bank[row].pid for row in range(4)} == {8001, 121204}


def call(*words):
    result = CliRunner().invoke(main, [str(word) for word in words], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout.splitlines()
