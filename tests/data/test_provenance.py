import hashlib
from pathlib import Path

import pytest

from reid_aug.data.dataset import Dataset, PersonImage
from reid_aug.data.provenance import (
    content_sha256,
    fingerprints,
    is_leak_free,
    leak_status,
    names_sha256,
    recorded_fingerprints,
)
from reid_aug.runtime.errors import UserError


def image(folder: Path, name: str, content: str | None = None) -> PersonImage:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(content or f"pixels of {name}")
    return PersonImage(folder / name, int(name[:4]), 1)


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    train = tuple(image(tmp_path / "train", f"{pid:04d}_c1.jpg") for pid in range(1, 5))
    query = (image(tmp_path / "query", "0007_c1.jpg"),)
    gallery = (
        image(tmp_path / "gallery", "0007_c2.jpg"),
        image(tmp_path / "gallery", "0000_c2.jpg"),
    )
    return Dataset(train, query, gallery)


@pytest.mark.parametrize("seen", [None, ["0123456789ab"], 3, {}])
def test_what_a_checkpoint_notes_that_is_no_text_is_not_known(dataset, seen):
    assert recorded_fingerprints({"trained_on": seen}) == recorded_fingerprints({}) == ""
    assert (
        leak_status(recorded_fingerprints({"trained_on": seen}), dataset, dataset.train) == "whole"
    )


def test_fingerprints_are_the_first_twelve_digits_of_each_sha256(tmp_path):
    one, two = image(tmp_path, "0001_c1.jpg", "one"), image(tmp_path, "0002_c1.jpg", "two")

    seen = fingerprints([one, two])

    hashes = [hashlib.sha256(text).hexdigest()[:12] for text in (b"one", b"two")]
    assert seen == "".join(sorted(hashes))


def test_fingerprints_do_not_depend_on_order_or_names(tmp_path):
    images = [image(tmp_path / "a", f"{pid:04d}_c1.jpg", f"picture {pid}") for pid in range(5)]
    renamed = [image(tmp_path / "b", f"9{pid:03d}_c1.jpg", f"picture {pid}") for pid in range(5)]

    assert fingerprints(reversed(images)) == fingerprints(images) == fingerprints(renamed)
    assert content_sha256(reversed(renamed)) == content_sha256(images)


def test_hash_of_contents_changes_with_one_byte(tmp_path):
    before = content_sha256([image(tmp_path, "0001_c1.jpg", "aaa")])

    assert content_sha256([image(tmp_path, "0001_c1.jpg", "aab")]) != before


def test_hash_of_names_is_that_of_the_sorted_names(tmp_path):
    images = [PersonImage(tmp_path / name, 1, 1) for name in ("b.jpg", "a.jpg")]
    elsewhere = [PersonImage(Path("folder") / name, 1, 1) for name in ("a.jpg", "b.jpg")]

    expected = hashlib.sha256(b"a.jpg\nb.jpg").hexdigest()
    assert names_sha256(images) == names_sha256(elsewhere) == expected


def test_hash_of_names_changes_with_the_set(tmp_path):
    images = [PersonImage(tmp_path / name, 1, 1) for name in ("a.jpg", "b.jpg")]

    assert names_sha256(images[:1]) != names_sha256(images)


def test_generator_of_the_kept_set_is_kept(dataset):
    kept = dataset.train[:2]

    assert leak_status(fingerprints(kept), dataset, kept) == "kept"


def test_generator_of_a_part_of_the_kept_set_is_kept(dataset):
    assert leak_status(fingerprints(dataset.train[:1]), dataset, dataset.train[:2]) == "kept"


def test_generator_of_all_training_images_is_whole_where_some_are_left_out(dataset):
    seen = fingerprints(dataset.train)

    assert leak_status(seen, dataset, dataset.train[:2]) == "whole"
    assert leak_status(seen, dataset, dataset.train) == "kept"


def test_generator_of_one_left_out_image_is_whole(dataset):
    seen = fingerprints((*dataset.train[:2], dataset.train[3]))

    assert leak_status(seen, dataset, dataset.train[:2]) == "whole"


def test_generator_of_other_images_is_external(dataset, tmp_path):
    other = [image(tmp_path / "other", "0001_c1.jpg", "another picture of the same name")]

    assert leak_status(fingerprints(other), dataset, dataset.train) == "external"


def test_other_images_beside_the_kept_ones_are_external_and_make_no_leak(dataset, tmp_path):
    other = image(tmp_path / "other", "0900_c1.jpg")
    seen = fingerprints([*dataset.train[:2], other])

    status = leak_status(seen, dataset, dataset.train[:2])

    assert status == "external"
    assert is_leak_free([status])


@pytest.mark.parametrize("status", ["whole", "", "Kept", "much"])
def test_a_status_that_is_not_known_to_be_harmless_is_a_leak(status):
    assert not is_leak_free([None, "kept", status, "external"])


def test_generator_of_unknown_images_is_taken_for_the_worst(dataset):
    assert leak_status("", dataset, dataset.train) == "whole"


def test_left_out_copy_of_a_kept_image_is_no_leak(dataset, tmp_path):
    original = dataset.train[0]
    copy = image(tmp_path / "train", "0001_c5.jpg", original.path.read_text())
    doubled = Dataset((*dataset.train, copy), dataset.query, dataset.gallery)

    assert leak_status(fingerprints([original]), doubled, [original]) == "kept"


@pytest.mark.parametrize("part", ["query", "gallery"])
def test_generator_of_test_images_is_an_error(dataset, part):
    seen = fingerprints((*dataset.train, getattr(dataset, part)[-1]))

    with pytest.raises(UserError, match="trained on query or gallery images"):
        leak_status(seen, dataset, dataset.train)


def test_left_out_images_are_known_again_under_another_name(dataset, tmp_path):
    text = dataset.train[3].path.read_text()
    renamed = image(tmp_path / "other", "0042_c6.jpg", text)

    assert leak_status(fingerprints([renamed]), dataset, dataset.train[:2]) == "whole"
