import hashlib
import json
from itertools import product
from pathlib import Path

import pytest

from reid_aug.data.dataset import Dataset, PersonImage
from reid_aug.data.provenance import (
    STATUSES,
    LeakStatus,
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


@pytest.mark.parametrize("trained_on", [None, ["0123456789ab"], 3, {}])
def test_recorded_fingerprints_that_are_not_a_string_count_as_unknown(dataset, trained_on):
    recorded = recorded_fingerprints({"trained_on": trained_on})

    assert recorded == recorded_fingerprints({}) == ""
    assert leak_status(recorded, dataset, dataset.train) == "whole"


def test_fingerprints_are_the_first_twelve_digits_of_each_sha256(tmp_path):
    one, two = image(tmp_path, "0001_c1.jpg", "one"), image(tmp_path, "0002_c1.jpg", "two")

    trained_on = fingerprints([one, two])

    hashes = [hashlib.sha256(text).hexdigest()[:12] for text in (b"one", b"two")]
    assert trained_on == "".join(sorted(hashes))


def test_fingerprints_do_not_depend_on_order_or_names(tmp_path):
    images = [image(tmp_path / "a", f"{pid:04d}_c1.jpg", f"picture {pid}") for pid in range(5)]
    renamed = [image(tmp_path / "b", f"9{pid:03d}_c1.jpg", f"picture {pid}") for pid in range(5)]

    assert fingerprints(reversed(images)) == fingerprints(images) == fingerprints(renamed)
    assert content_sha256(reversed(renamed)) == content_sha256(images)


def test_content_sha256_changes_with_one_byte(tmp_path):
    before = content_sha256([image(tmp_path, "0001_c1.jpg", "aaa")])

    assert content_sha256([image(tmp_path, "0001_c1.jpg", "aab")]) != before


def test_names_sha256_is_the_hash_of_the_sorted_names(tmp_path):
    images = [PersonImage(tmp_path / name, 1, 1) for name in ("b.jpg", "a.jpg")]
    elsewhere = [PersonImage(Path("folder") / name, 1, 1) for name in ("a.jpg", "b.jpg")]

    expected = hashlib.sha256(b"a.jpg\nb.jpg").hexdigest()
    assert names_sha256(images) == names_sha256(elsewhere) == expected


def test_names_sha256_changes_with_the_set(tmp_path):
    images = [PersonImage(tmp_path / name, 1, 1) for name in ("a.jpg", "b.jpg")]

    assert names_sha256(images[:1]) != names_sha256(images)


def test_status_of_a_network_trained_on_the_kept_set_is_kept(dataset):
    kept = dataset.train[:2]

    assert leak_status(fingerprints(kept), dataset, kept) == "kept"


def test_status_of_a_network_trained_on_a_part_of_the_kept_set_is_kept(dataset):
    assert leak_status(fingerprints(dataset.train[:1]), dataset, dataset.train[:2]) == "kept"


def test_status_of_a_network_trained_on_all_images_is_whole_if_some_are_left_out(dataset):
    trained_on = fingerprints(dataset.train)

    assert leak_status(trained_on, dataset, dataset.train[:2]) == "whole"
    assert leak_status(trained_on, dataset, dataset.train) == "kept"


def test_one_left_out_image_makes_the_status_whole(dataset):
    trained_on = fingerprints((*dataset.train[:2], dataset.train[3]))

    assert leak_status(trained_on, dataset, dataset.train[:2]) == "whole"


def test_status_of_a_network_trained_on_other_images_is_external(dataset, tmp_path):
    other = [image(tmp_path / "other", "0001_c1.jpg", "another picture of the same name")]

    assert leak_status(fingerprints(other), dataset, dataset.train) == "external"


def test_other_images_with_kept_ones_are_external_and_leak_free(dataset, tmp_path):
    other = image(tmp_path / "other", "0900_c1.jpg")
    trained_on = fingerprints([*dataset.train[:2], other])

    status = leak_status(trained_on, dataset, dataset.train[:2])

    assert status == "external"
    assert is_leak_free([status])


def test_leak_statuses_are_the_strings_in_the_files():
    assert STATUSES == ("kept", "external", "whole")
    assert tuple(LeakStatus) == STATUSES
    assert json.dumps({"generator_data": LeakStatus.EXTERNAL}) == '{"generator_data": "external"}'
    assert f"{LeakStatus.KEPT}" == "kept"


def test_only_the_status_whole_is_a_leak():
    assert {status: status.is_leak_free for status in LeakStatus} == {
        "kept": True,
        "external": True,
        "whole": False,
    }


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        ([], LeakStatus.KEPT),
        ([None], LeakStatus.KEPT),
        (["kept", None], LeakStatus.KEPT),
        (["kept", "external"], LeakStatus.EXTERNAL),
        (["external", "whole", "kept"], LeakStatus.WHOLE),
        ([LeakStatus.EXTERNAL, None, LeakStatus.KEPT], LeakStatus.EXTERNAL),
        (["kept", "Kept"], LeakStatus.WHOLE),
        ([""], LeakStatus.WHOLE),
    ],
)
def test_combined_status_is_the_worst_one(statuses, expected):
    assert LeakStatus.combined(statuses) is expected
    assert LeakStatus.combined(reversed(statuses)) is expected


def test_networks_are_leak_free_if_each_of_them_is():
    for statuses in product((None, *LeakStatus), repeat=3):
        assert is_leak_free(statuses) == ("whole" not in statuses)


def test_leak_status_is_a_plain_string(dataset):
    """HDF5 attributes accept no subclass of str."""
    kept = dataset.train[:2]

    for trained_on in (fingerprints(kept), fingerprints(dataset.train), "0" * 12, ""):
        assert type(leak_status(trained_on, dataset, kept)) is str


@pytest.mark.parametrize("value", ["", "Kept", "much", None, 3, {}])
def test_unknown_value_is_read_as_the_status_whole(value):
    assert LeakStatus.read(value) is LeakStatus.WHOLE


@pytest.mark.parametrize("status", ["whole", "", "Kept", "much"])
def test_unknown_status_is_a_leak(status):
    assert not is_leak_free([None, "kept", status, "external"])


def test_status_of_a_network_with_unknown_training_images_is_whole(dataset):
    assert leak_status("", dataset, dataset.train) == "whole"


def test_left_out_copy_of_a_kept_image_is_not_a_leak(dataset, tmp_path):
    original = dataset.train[0]
    copy = image(tmp_path / "train", "0001_c5.jpg", original.path.read_text())
    doubled = Dataset((*dataset.train, copy), dataset.query, dataset.gallery)

    assert leak_status(fingerprints([original]), doubled, [original]) == "kept"


@pytest.mark.parametrize("part", ["query", "gallery"])
def test_network_trained_on_test_images_is_an_error(dataset, part):
    trained_on = fingerprints((*dataset.train, getattr(dataset, part)[-1]))

    with pytest.raises(UserError, match="trained on query or gallery images"):
        leak_status(trained_on, dataset, dataset.train)


def test_left_out_images_are_recognised_under_another_name(dataset, tmp_path):
    text = dataset.train[3].path.read_text()
    renamed = image(tmp_path / "other", "0042_c6.jpg", text)

    assert leak_status(fingerprints([renamed]), dataset, dataset.train[:2]) == "whole"
