import hashlib
import os
from collections import Counter
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from reid_aug.data.dataset import (
    DataConfig,
    PersonImage,
    by_identity,
    image_files,
    image_size,
    kept,
    open_image,
    parse_name,
    read_image,
    read_market1501,
    seats,
    share,
)
from reid_aug.runtime.errors import UserError

FOLDERS = ("bounding_box_train", "query", "bounding_box_test")


def write_layout(root: Path) -> Path:
    names = (
        ("0007_c3s3_077419_03.jpg", "0002_c1s1_000451_03.jpg", "0002_c1s1_000776_01.jpg"),
        ("0001_c6s1_001051_00.jpg",),
        ("0001_c2s1_000301_00.png", "0000_c4s1_000051_00.jpg", "-1_c1s1_000401_03.jpg"),
    )
    for folder, files in zip(FOLDERS, names, strict=True):
        (root / folder).mkdir(parents=True)
        for name in files:
            (root / folder / name).touch()
    return root


def images(counts: dict[int, int]) -> list[PersonImage]:
    return [
        PersonImage(Path(f"{pid:04d}_c{k % 6 + 1}s1_{k:06d}_01.jpg"), pid, k % 6 + 1)
        for pid, n in counts.items()
        for k in range(n)
    ]


def names(chosen: tuple[PersonImage, ...]) -> list[str]:
    return [image.name for image in chosen]


def market_like_counts() -> dict[int, int]:
    rng = np.random.default_rng(1)
    counts = np.clip(rng.geometric(1 / 16, 751) + 1, 2, 72)
    counts[:2] = 2, 72
    while (short := 12_936 - int(counts.sum())) != 0:
        pid = rng.integers(2, 751)
        counts[pid] = np.clip(counts[pid] + np.sign(short), 2, 72)
    return {2 * pid + 2: int(n) for pid, n in enumerate(counts)}


def huntington_hill(counts: dict[int, int], number: int) -> list[int]:
    taken = dict.fromkeys(sorted(counts), 0)
    order = []
    for _ in range(number):
        empty = [pid for pid in taken if taken[pid] == 0]
        claims = {pid: Fraction(counts[pid] ** 2, k * (k + 1)) for pid, k in taken.items() if k > 0}
        pid = empty[0] if empty else max(claims, key=claims.__getitem__)
        order.append(pid)
        taken[pid] += 1
    return order


@pytest.mark.parametrize("nested", ["", "Market-1501-v15.09.15"])
def test_layout_is_read_from_the_folder_or_its_subfolder(tmp_path, nested):
    top = write_layout(tmp_path / nested)

    dataset = read_market1501(tmp_path)

    train = top / "bounding_box_train"
    assert dataset.train == (
        PersonImage(train / "0002_c1s1_000451_03.jpg", 2, 1),
        PersonImage(train / "0002_c1s1_000776_01.jpg", 2, 1),
        PersonImage(train / "0007_c3s3_077419_03.jpg", 7, 3),
    )
    assert [(image.pid, image.camid) for image in dataset.query] == [(1, 6)]


def test_junk_is_dropped_and_distractors_stay(tmp_path):
    dataset = read_market1501(write_layout(tmp_path))

    assert names(dataset.gallery) == ["0000_c4s1_000051_00.jpg", "0001_c2s1_000301_00.png"]
    assert [image.pid for image in dataset.gallery] == [0, 1]


def test_files_that_are_not_images_are_ignored(tmp_path):
    write_layout(tmp_path)
    (tmp_path / "query" / "Thumbs.db").touch()

    assert names(read_market1501(tmp_path).query) == ["0001_c6s1_001051_00.jpg"]


def test_built_in_people_have_four_training_identities(people):
    dataset = read_market1501(people)

    assert list(by_identity(dataset.train)) == [1, 2, 3, 4]
    assert {image.pid for image in dataset.gallery} == {0, 5, 6, 7, 8}


@pytest.mark.parametrize("name", ["person.jpg", "c1_0002.jpg", "-2_c1s1_1.jpg", "0002_s1.png"])
def test_invalid_name_is_an_error_that_names_the_file(tmp_path, name):
    write_layout(tmp_path)
    (tmp_path / "query" / name).touch()

    with pytest.raises(UserError, match="query/" + name):
        read_market1501(tmp_path)


def test_pid_and_camid_are_the_numbers_in_the_name():
    image = parse_name(Path("folder/1501_c12s3_000451_03.jpg"))

    assert (image.name, image.pid, image.camid) == ("1501_c12s3_000451_03.jpg", 1501, 12)


def test_missing_data_set_is_an_error_that_names_it(tmp_path):
    with pytest.raises(UserError, match="nowhere"):
        read_market1501(tmp_path / "nowhere")


def test_missing_folders_are_all_named(tmp_path):
    (tmp_path / "bounding_box_train").mkdir()

    with pytest.raises(UserError, match="got no query and no bounding_box_test"):
        read_market1501(tmp_path)


@pytest.mark.parametrize("folder", FOLDERS)
def test_empty_folder_is_an_error_that_names_it(tmp_path, folder):
    write_layout(tmp_path)
    for path in (tmp_path / folder).iterdir():
        path.unlink()

    with pytest.raises(UserError, match=folder):
        read_market1501(tmp_path)


def test_seats_of_an_example_computed_by_hand():
    order = list(islice(seats({3: 6, 1: 1, 2: 2}), 9))

    assert [pid for pid, _ in order] == [1, 2, 3, 3, 3, 3, 2, 3, 3]
    assert [seat for pid, seat in order if pid == 3] == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("seed", range(8))
def test_seats_equal_those_of_a_naive_huntington_hill(seed):
    rng = np.random.default_rng(seed)
    pids = rng.permutation(100)[: rng.integers(1, 9)]
    counts = {int(pid): int(rng.integers(1, 12)) for pid in pids}
    number = 3 * sum(counts.values())

    order = [pid for pid, _ in islice(seats(counts), number)]

    assert order == huntington_hill(counts, number)


@pytest.mark.parametrize("seed", range(8))
def test_seats_up_to_the_number_of_images_are_one_per_image(seed):
    rng = np.random.default_rng(seed)
    counts = {pid: int(n) for pid, n in enumerate(rng.integers(1, 40, 30))}

    order = list(islice(seats(counts), sum(counts.values())))

    assert set(order) == {(pid, seat) for pid, n in counts.items() for seat in range(n)}


def test_no_identities_have_no_seats():
    assert list(seats({})) == []


@pytest.mark.parametrize(
    ("fraction", "of", "expected"), [(0.5, 5, 3), (0.1, 25, 3), (0.15, 10, 2), (1.1, 5, 6)]
)
def test_share_rounds_exact_halves_up(fraction, of, expected):
    assert share(fraction, of, at_least=1) == expected


def test_share_rounds_the_decimal_number_exactly():
    for hundredths in range(1, 250):
        for of in (7, 50, 350, 12_936):
            exact = Decimal(hundredths) * of / 100
            expected = int(exact.quantize(Decimal(1), ROUND_HALF_UP))
            assert share(hundredths / 100, of, at_least=0) == expected


def test_share_is_at_least_the_given_minimum():
    assert share(0.01, 100, at_least=7) == 7


def test_fifth_of_market_contains_every_identity():
    everything = images(market_like_counts())

    fifth, two_fifths = kept(everything, 0.2), kept(everything, 0.4)

    assert len(everything) == 12_936
    assert len(fifth) == len(set(fifth)) == 2_587
    assert len({image.pid for image in fifth}) == 751
    assert len(two_fifths) == 5_174
    assert two_fifths[:2_587] == fifth


def test_identity_fills_its_seats_by_the_hash_of_the_name():
    counts = {4: 9, 11: 3, 20: 30}
    everything = images(counts)

    chosen = kept(everything, 0.5, keep_seed=5)

    expected = []
    taken = Counter()
    for pid in huntington_hill(counts, 21):
        own = sorted(
            (image.name for image in everything if image.pid == pid),
            key=lambda name: hashlib.sha256(f"5/{name}".encode()).digest(),
        )
        expected.append(own[taken[pid]])
        taken[pid] += 1
    assert names(chosen) == expected


def test_kept_set_does_not_depend_on_the_order_of_its_input():
    everything = images({1: 20, 2: 5, 3: 11})
    shuffled = [everything[i] for i in np.random.default_rng(0).permutation(len(everything))]

    assert kept(shuffled, 0.4) == kept(everything, 0.4)


def test_keep_seed_changes_the_kept_images_but_not_their_number():
    everything = images({1: 20, 2: 5, 3: 11})

    zero, one = kept(everything, 0.4, keep_seed=0), kept(everything, 0.4, keep_seed=1)

    assert set(zero) != set(one)
    assert [image.pid for image in zero] == [image.pid for image in one]


def test_keeping_all_keeps_every_image():
    everything = images({1: 20, 2: 5, 3: 11})

    assert set(kept(everything, 1.0)) == set(everything)


@pytest.mark.parametrize("keep", [0.0, -0.2, 1.01, float("nan")])
def test_keep_outside_its_range_is_an_error(keep):
    with pytest.raises(UserError, match="keep must be above 0 and at most 1"):
        kept(images({1: 3}), keep)
    with pytest.raises(UserError, match="keep must be above 0 and at most 1"):
        DataConfig(keep=keep)


@pytest.mark.parametrize("size", [{"height": 15}, {"width": 2049}])
def test_size_outside_its_range_is_an_error_that_names_the_key(size):
    with pytest.raises(UserError, match=f"{next(iter(size))} must be"):
        DataConfig(**size)


def test_image_is_resized_on_reading(tmp_path):
    left_red = np.zeros((40, 20, 3), np.uint8)
    left_red[:, :10, 0] = 255
    Image.fromarray(left_red).save(tmp_path / "a.png")

    pixels = read_image(tmp_path / "a.png", 128, 64)

    assert pixels.shape == (128, 64, 3)
    assert pixels.dtype == np.uint8
    assert (pixels[:, :24] == (255, 0, 0)).all()
    assert (pixels[:, 40:] == 0).all()
    assert image_size(tmp_path / "a.png") == (40, 20)


def test_image_of_the_right_size_is_unchanged(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (32, 16, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.png")

    np.testing.assert_array_equal(read_image(tmp_path / "a.png", 32, 16), noise)


def test_grey_image_is_read_as_three_equal_channels(tmp_path):
    grey = np.arange(64, dtype=np.uint8).reshape(8, 8)
    Image.fromarray(grey).save(tmp_path / "a.png")

    np.testing.assert_array_equal(open_image(tmp_path / "a.png"), np.stack([grey] * 3, axis=-1))


@pytest.mark.parametrize("part", [0.0, 0.1, 0.5])
@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_image_that_does_not_decode_is_an_error_that_names_it(tmp_path, suffix, part):
    path = tmp_path / f"broken{suffix}"
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(part * len(whole))])

    with pytest.raises(UserError, match=path.name):
        open_image(path)


@pytest.mark.parametrize("kind", ["JPEG", "MPO", "PNG", "WEBP", "BMP"])
def test_image_may_have_another_format_than_its_suffix(tmp_path, kind):
    Image.new("RGB", (10, 20), (0, 0, 255)).save(tmp_path / "a.jpg", kind)

    assert open_image(tmp_path / "a.jpg").shape == (20, 10, 3)
    assert image_size(tmp_path / "a.jpg") == (20, 10)


@pytest.mark.parametrize("read", [open_image, image_size])
@pytest.mark.parametrize("kind", ["EPS", "GIF", "TIFF"])
def test_format_that_no_data_set_needs_is_refused_for_any_suffix(tmp_path, kind, read):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.jpg", kind)

    with pytest.raises(UserError, match=r"a\.jpg: must be an image that decodes \(JPEG, PNG"):
        read(tmp_path / "a.jpg")


def test_failing_decoder_is_a_user_error(tmp_path, monkeypatch):
    def fail(*_, **__):
        raise NotImplementedError("no such colours")

    (tmp_path / "a.jpg").touch()
    monkeypatch.setattr(Image, "open", fail)
    with pytest.raises(UserError, match=r"a\.jpg: .*got no such colours; replace or remove"):
        open_image(tmp_path / "a.jpg")


def test_size_of_a_file_that_is_not_an_image_is_an_error_that_names_it(tmp_path):
    (tmp_path / "a.jpg").write_text("not an image")

    with pytest.raises(UserError, match=r"a\.jpg"):
        image_size(tmp_path / "a.jpg")


def test_a_name_that_is_not_utf_8_is_refused(tmp_path):
    (tmp_path / os.fsdecode(b"0001_c1_\xff.jpg")).touch()

    with pytest.raises(
        UserError, match=r"names of images must be UTF-8, got '0001_c1_\\udcff.jpg'"
    ):
        image_files(tmp_path)
