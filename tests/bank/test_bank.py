import errno
import hashlib
import json
import os
import pickle
import random
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from torch.utils.data import DataLoader, Dataset

from reid_aug.bank import Bank, BankAttributes, BankPlan, Rows, hdf5_heaps, opening, write_bank
from reid_aug.runtime.errors import UserError

COUNT, HEIGHT, WIDTH = 6, 8, 4
PIXELS = np.random.default_rng(0).integers(0, 256, (COUNT, HEIGHT, WIDTH, 3), np.uint8)
KEYPOINTS = np.arange(COUNT * 36, dtype=np.float32).reshape(COUNT, 18, 2) / 4
KEYPOINTS[1, 3] = np.nan
ROWS = Rows(
    pid=np.array([1, 2, 40000, 1, 2, 1501]),
    camid=np.array([1, 2, 3, 4, 5, 6]),
    source=np.array([f"000{i}_c{i}s1_000451_03.jpg" for i in range(COUNT)]),
    target=np.array([f"käfer{i}.jpg" for i in range(COUNT)]),
    keypoints=KEYPOINTS,
)
VALUES = {
    "keep": 0.2,
    "keep_seed": 3,
    "kept_sha256": "a" * 64,
    "dataset_sha256": "b" * 64,
    "keypoints_sha256": "b" * 64,
    "generator_sha256": "c" * 64,
    "generator_data": "kept",
    "ratio": 0.5,
    "mode": "supplement",
    "plan": BankPlan("random", "source", "generator", 32, height=HEIGHT, width=WIDTH),
    "seed": 7,
}
SEEN = "0123456789ab" + "ba9876543210"  # fingerprints of two images
ATTRIBUTES = BankAttributes(**VALUES, trained_on=SEEN)


class Pixels(Dataset):
    def __init__(self, bank: Bank) -> None:
        self.bank = bank

    def __len__(self) -> int:
        return len(self.bank)

    def __getitem__(self, row: int) -> np.ndarray:
        return self.bank.image(row)


def write(path: Path) -> Path:
    write_bank(path, ROWS, [PIXELS[:4], PIXELS[4:]], ATTRIBUTES)
    return path


@pytest.fixture(autouse=True)
def _without_child(monkeypatch: pytest.MonkeyPatch) -> None:
    """The checks are tested in this process, which is faster; test_opening.py tests the child."""
    monkeypatch.setattr(opening, "_ask", opening.read_contents)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write(tmp_path / "bank.h5")


def replaced(file: h5py.File, name: str, **settings: object) -> None:
    data = file[name][:]
    del file[name]
    file.create_dataset(name, data=data, **settings)


def rewritten(path: Path, drop: tuple[str, ...] = (), **attributes: object) -> None:
    """Write the file again with other attributes, without the checksum, as older banks are."""
    with h5py.File(path) as old, h5py.File(path.with_suffix(".new"), "w") as new:
        for name in old:
            new.create_dataset(name, data=old[name][:])
        for name, value in {**old.attrs, **attributes}.items():
            if name not in ("content_sha256", *drop):
                new.attrs[name] = value
    path.with_suffix(".new").replace(path)


def no_hdf5(path: Path) -> None:
    path.write_bytes(b"not a bank" * 1000)


def another_format(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        file.attrs["format"] = "reid_aug.bank/2"


def no_format(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        del file.attrs["format"]


def numeric_format(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        file.attrs["format"] = np.arange(3)


def external_link(path: Path) -> None:
    write(path.with_name("other.h5"))
    with h5py.File(path, "r+") as file:
        del file["images"]
        file["images"] = h5py.ExternalLink("other.h5", "/images")


def dangling_external_link(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        del file["pid"]
        file["pid"] = h5py.ExternalLink("/etc/passwd", "/pid")


def soft_link(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        file.move("images", "elsewhere")
        file["images"] = h5py.SoftLink("/elsewhere")


def group_for_a_dataset(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        del file["images"]
        file.create_group("images")


def virtual_dataset(path: Path) -> None:
    write(path.with_name("other.h5"))
    layout = h5py.VirtualLayout(PIXELS.shape, np.uint8)
    layout[:] = h5py.VirtualSource("other.h5", "images", PIXELS.shape)
    with h5py.File(path, "r+") as file:
        del file["images"]
        file.create_virtual_dataset("images", layout)


def external_storage(path: Path) -> None:
    raw = path.with_name("pixels.raw")
    raw.write_bytes(PIXELS.tobytes())
    with h5py.File(path, "r+") as file:
        del file["images"]
        file.create_dataset("images", PIXELS.shape, np.uint8, external=[(raw, 0, PIXELS.nbytes)])


def external_storage_of_a_column(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        del file["source"]
        file.create_dataset("source", (COUNT,), "S8", external=[("/etc/passwd", 0, COUNT * 8)])


def chunked(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        replaced(file, "images", chunks=(1, HEIGHT, WIDTH, 3))


def compressed(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        replaced(file, "images", compression="gzip")


def compressed_column(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        replaced(file, "keypoints", compression="gzip")


def images_of_another_type(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        replaced(file, "images", dtype=np.float32)


def pids_of_another_type(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        replaced(file, "pid", dtype=np.float64)


def names_of_variable_length(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        del file["source"]
        file.create_dataset("source", data=list(ROWS.source), dtype=h5py.string_dtype())


def names_that_are_no_text(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        file["source"][0] = b"\xff\xfe"


def grey_images(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        del file["images"]
        file["images"] = PIXELS[..., 0]


def images_with_four_channels(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        del file["images"]
        file["images"] = np.zeros((COUNT, HEIGHT, WIDTH, 4), np.uint8)


def one_number_for_images(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        del file["images"]
        file["images"] = np.uint8(3)


def no_data_for_images(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        del file["images"]
        file["images"] = h5py.Empty("u1")


def images_that_are_too_large(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        del file["images"]
        file.create_dataset("images", (COUNT, 4, 2049, 3), np.uint8)


def images_without_pixels(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        del file["images"]
        file.create_dataset("images", (COUNT, 0, WIDTH, 3), np.uint8)


def more_rows_than_bytes(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        kinds = {name: (file[name].dtype, file[name].shape[1:]) for name in file}
        for name, (kind, shape) in kinds.items():
            del file[name]
            file.create_dataset(name, (100_000, *shape), kind)


def a_column_that_is_too_short(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        del file["camid"]
        file["camid"] = np.arange(COUNT - 1)


def keypoints_of_another_shape(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        del file["keypoints"]
        file["keypoints"] = np.zeros((COUNT, 17, 2), np.float32)


def fingerprints_of_another_length(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        del file["trained_on"]
        file["trained_on"] = np.array([b"0123456789abc"])


def fingerprints_that_are_no_digits(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        file["trained_on"][0] = b"0123456789AB"


def fingerprints_elsewhere(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        del file["trained_on"]
        file["trained_on"] = h5py.ExternalLink("/etc/passwd", "/trained_on")


def other_fingerprints(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        file["trained_on"][0] = b"0123456789ac"


def no_pids(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        del file["pid"]


def half_a_file(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def a_few_bytes_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-8])


def an_empty_file(path: Path) -> None:
    path.write_bytes(b"")


HOSTILE = (
    no_hdf5, another_format, no_format, numeric_format, external_link, dangling_external_link,
    soft_link, group_for_a_dataset, virtual_dataset, external_storage,
    external_storage_of_a_column, chunked, compressed, compressed_column, images_of_another_type,
    pids_of_another_type, names_of_variable_length, names_that_are_no_text, grey_images,
    images_with_four_channels, one_number_for_images, no_data_for_images,
    images_that_are_too_large, images_without_pixels, more_rows_than_bytes,
    a_column_that_is_too_short, keypoints_of_another_shape, fingerprints_of_another_length,
    fingerprints_that_are_no_digits, fingerprints_elsewhere, other_fingerprints, no_pids,
    half_a_file, a_few_bytes_short, an_empty_file,
)  # fmt: skip


def test_a_bank_holds_what_was_written(path):
    bank = Bank(path)

    assert len(bank) == COUNT
    assert (bank.height, bank.width) == (HEIGHT, WIDTH)
    for row in range(COUNT):
        entry = bank[row]
        np.testing.assert_array_equal(entry.image, PIXELS[row])
        assert entry.image.dtype == np.uint8
        assert (entry.pid, entry.camid) == (ROWS.pid[row], ROWS.camid[row])
        assert (entry.source, entry.target) == (ROWS.source[row], ROWS.target[row])
        np.testing.assert_array_equal(entry.keypoints, KEYPOINTS[row])


def test_the_plan_of_a_bank_is_stored_without_the_fields_that_do_not_apply(path):
    assert Bank(path).plan == VALUES["plan"]
    with h5py.File(path) as file:
        assert json.loads(file.attrs["plan"]) == {
            "poses": "random", "cameras": "source", "method": "generator", "batch": 32,
            "height": HEIGHT, "width": WIDTH,
        }  # fmt: skip


WHOLE_PLAN = {"poses": "random", "cameras": "source", "method": "copies"}


@pytest.mark.parametrize(
    "found",
    [
        "", "[]", "3", "{", "null", "[" * 100_000, {"method": 3}, {"cameras": []},
        {"cameras": None},
        {"method": "\x1b[31m"}, {"batch": "32"}, {"batch": True}, {"height": 1.5}, {"speed": 1},
    ],
)  # fmt: skip
def test_a_plan_that_is_none_is_refused_by_name(path, found):
    text = found if isinstance(found, str) else json.dumps(WHOLE_PLAN | found)
    rewritten(path, plan=text)

    with pytest.raises(UserError, match="attribute plan must be a JSON object of poses") as caught:
        Bank(path)

    assert str(path) in str(caught.value)


def test_a_plan_without_one_of_its_required_keys_is_refused(path):
    for name in WHOLE_PLAN:
        rewritten(path, plan=json.dumps({k: v for k, v in WHOLE_PLAN.items() if k != name}))

        with pytest.raises(UserError, match="attribute plan must be a JSON object"):
            Bank(path)


def test_a_bank_records_its_provenance(path):
    attributes = Bank(path).attributes

    assert {name: getattr(attributes, name) for name in VALUES} == VALUES
    with h5py.File(path) as file:
        assert file.attrs["synthetic"]
        assert file.attrs["format"] == "reid_aug.bank/1"


def test_a_bank_records_which_images_trained_its_generator(path):
    assert Bank(path).attributes.trained_on == SEEN
    with h5py.File(path) as file:
        assert file["trained_on"][:].tolist() == [b"0123456789ab", b"ba9876543210"]
        assert "trained_on" not in file.attrs


def test_a_bank_of_more_images_than_an_attribute_holds_is_written(tmp_path):
    many = "".join(f"{number:012x}" for number in range(20_000))
    known, unknown = (replace(ATTRIBUTES, trained_on=seen) for seen in (many, ""))
    write_bank(tmp_path / "many.h5", ROWS, [PIXELS], known)
    write_bank(tmp_path / "unknown.h5", ROWS, [PIXELS], unknown)

    assert Bank(tmp_path / "many.h5").attributes.trained_on == many
    assert Bank(tmp_path / "unknown.h5").attributes.trained_on == ""


def test_the_fingerprint_is_that_of_the_pixels(path):
    assert Bank(path).attributes.images_sha256 == hashlib.sha256(PIXELS.tobytes()).hexdigest()


def test_neighbouring_rows_are_read_at_once(path):
    np.testing.assert_array_equal(Bank(path).images(2, 5), PIXELS[2:5])


def test_the_size_of_the_shards_leaves_no_trace(tmp_path, path):
    write_bank(tmp_path / "other.h5", ROWS, [PIXELS[i : i + 1] for i in range(COUNT)], ATTRIBUTES)

    assert (tmp_path / "other.h5").read_bytes() == path.read_bytes()


def test_the_time_of_writing_leaves_no_trace(tmp_path, path):
    time.sleep(1.1)

    assert write(tmp_path / "later" / "bank.h5").read_bytes() == path.read_bytes()


def test_the_pixels_lie_in_one_piece_in_the_file(path):
    with h5py.File(path) as file:
        start = file["images"].id.get_offset()

    assert path.read_bytes()[start : start + PIXELS.nbytes] == PIXELS.tobytes()


def test_a_pickled_bank_reads_the_same_pixels(path):
    bank = Bank(path)
    bank.image(0)

    copy = pickle.loads(pickle.dumps(bank))

    np.testing.assert_array_equal([copy.image(row) for row in range(COUNT)], PIXELS)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_loader_workers_read_the_same_pixels(path, method):
    bank = Bank(path)
    bank.image(0)

    batches = list(DataLoader(Pixels(bank), 2, num_workers=1, multiprocessing_context=method))

    np.testing.assert_array_equal(np.concatenate(batches), PIXELS)
    np.testing.assert_array_equal(bank.image(5), PIXELS[5])


def test_a_negative_index_counts_from_the_end(path):
    assert Bank(path)[-1].pid == ROWS.pid[-1]


@pytest.mark.parametrize("row", [COUNT, -COUNT - 1])
def test_a_row_that_is_not_there_is_an_index_error(path, row):
    bank = Bank(path)

    with pytest.raises(IndexError, match=str(row)):
        bank[row]


def test_a_missing_bank_names_the_command_that_makes_one(tmp_path):
    with pytest.raises(UserError, match=r"gone\.h5 is missing.*reid-aug synthesize"):
        Bank(tmp_path / "gone.h5")


@pytest.mark.parametrize("damage", HOSTILE, ids=lambda damage: damage.__name__)
def test_a_file_that_is_no_honest_bank_is_refused(path, damage: Callable[[Path], None]):
    damage(path)

    with pytest.raises(UserError) as caught:
        Bank(path)

    assert str(path) in str(caught.value)


def heap_of(content: bytes) -> tuple[int, int]:
    """Where the heap of texts begins, and where the head of its second object is."""
    heap = content.find(b"GCOL\x01")
    length = int.from_bytes(content[heap + 24 : heap + 32], "little")
    return heap, heap + 16 + 16 + -(-length // 8) * 8


def images_at(path: Path, content: bytearray, start: int) -> None:
    """Let the images begin elsewhere."""
    with h5py.File(path) as file:
        layout = struct.pack("<QQ", file["images"].id.get_offset(), file["images"].nbytes)
    assert content.count(layout) == 1
    place = content.find(layout)
    content[place : place + 8] = struct.pack("<Q", start)


def refusal_in_another_process(path: Path) -> str:
    code = """
import sys
from reid_aug.bank import Bank
from reid_aug.runtime.errors import UserError
try:
    Bank(sys.argv[1])
except UserError as error:
    print(error)
"""
    words = [sys.executable, "-c", code, str(path)]
    return subprocess.run(words, check=True, capture_output=True, text=True, timeout=100).stdout


@pytest.mark.parametrize("is_damaged", [True, False])
def test_a_heap_that_claims_to_be_pixels_is_refused(path, is_damaged):
    wide = np.zeros((COUNT, 64, 64, 3), np.uint8)
    write_bank(path, ROWS, [wide], ATTRIBUTES)
    content = bytearray(path.read_bytes())
    heap, second = heap_of(content)
    images_at(path, content, min(heap - 16, len(content) - wide.nbytes))
    if is_damaged:
        content[second : second + 16] = bytes(16)
    path.write_bytes(content)

    assert "got damaged texts in its heap" in refusal_in_another_process(path)


def test_the_heap_of_a_virtual_dataset_is_checked_before_hdf5_reads_it(path):
    virtual_dataset(path)
    content = bytearray(path.read_bytes())
    heap = content.rfind(b"GCOL\x01")
    _, second = heap_of(content[heap:])
    content[heap + second : heap + second + 16] = bytes(16)
    path.write_bytes(content)

    assert "got damaged texts in its heap" in refusal_in_another_process(path)


def test_a_heap_is_found_wherever_it_lies(tmp_path, monkeypatch):
    monkeypatch.setattr(hdf5_heaps, "SEARCHED_BYTES", 7)
    objects = struct.pack("<HHIQ", 1, 1, 0, 8) + bytes(8)
    free = struct.pack("<HHIQ", 0, 0, 0, 4096 - 16 - len(objects))
    heap = b"GCOL\x01\0\0\0" + struct.pack("<Q", 4096) + objects + free
    heap += bytes(4096 - len(heap))
    for before in range(12):
        (tmp_path / "a").write_bytes(b"G" * before + heap + b"GCOL\x01")

        found = hdf5_heaps.find_heaps(tmp_path / "a")

        assert found == {before: {1: 8, 0: 4096 - 40}, before + 4096: {}}


@pytest.mark.parametrize("name", ["images_sha256", *VALUES])
def test_a_bank_without_one_of_its_attributes_is_refused(path, name):
    rewritten(path, drop=(name,))

    with pytest.raises(UserError, match=name) as caught:
        Bank(path)

    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("plan", 3), ("keep", "all"), ("seed", "one"),
        ("keep_seed", float("nan")), ("ratio", float("inf")), ("seed", 1.5),
        ("ratio", 1j), ("seed", np.longdouble(1)), ("keep", np.float64([1.0])),
        ("generator_data", "much"), ("generator_sha256", "\x1b[31m"), ("mode", "a\nb"),
        ("plan", '{"method": "\\u001b[31m"}'), ("scores", "{}\t"),
    ],
)  # fmt: skip
def test_an_attribute_of_another_type_is_refused(path, name, value):
    rewritten(path, **{name: value})

    with pytest.raises(UserError, match=name) as caught:
        Bank(path)

    assert str(caught.value).isprintable()


@pytest.mark.parametrize("about", [{}, {"data": "much"}, {"data": ["kept"]}, {"data": {}}])
def test_a_score_of_unknown_origin_is_refused(path, about):
    scores = {"likeness": np.zeros(COUNT)}
    write_bank(path, ROWS, [PIXELS], replace(ATTRIBUTES, scores={"likeness": about}), scores)

    with pytest.raises(UserError, match="attribute scores must tell of each score"):
        Bank(path)


@pytest.mark.parametrize("about", [None, {}, {"other": {"data": "kept"}}])
def test_a_bank_describes_exactly_the_scores_that_it_has(path, about):
    scores = {"likeness": np.zeros(COUNT)}
    write_bank(path, ROWS, [PIXELS], replace(ATTRIBUTES, scores=about), scores)

    with pytest.raises(UserError, match=r"must describe the scores of the file \(likeness\)"):
        Bank(path)


def test_a_writer_that_fails_midway_leaves_no_file(tmp_path):
    def shards():
        yield PIXELS[:4]
        raise RuntimeError("out of power")

    with pytest.raises(RuntimeError, match="out of power"):
        write_bank(tmp_path / "bank.h5", ROWS, shards(), ATTRIBUTES)

    assert list(tmp_path.iterdir()) == []


def test_a_writer_that_fails_midway_leaves_the_old_file(path):
    before = path.read_bytes()

    with pytest.raises(ValueError, match="6 rows were announced, got 4"):
        write_bank(path, ROWS, [PIXELS[:4]], ATTRIBUTES)

    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def mutated(content: bytes, rng: random.Random) -> bytes:
    """The bytes with one thing done to them that happens to files."""
    at, other = rng.randrange(len(content)), rng.randrange(len(content))
    length = rng.randrange(1, 256)
    return rng.choice(
        [
            content[:at] + bytes([content[at] ^ 1 << rng.randrange(8)]) + content[at + 1 :],
            content[:at] + rng.randbytes(8) + content[at + 8 :],
            content[:at],
            content[:at] + bytes(length) + content[at + length :],
            content[:at] + content[other : other + 64] + content[at + 64 :],
            content[:at] + content[at + length :],
        ]
    )


def same_content(one: Bank, other: Bank) -> bool:
    columns = ("pid", "camid", "source", "target", "keypoints")
    return np.array_equal(one.images(0, len(one)), other.images(0, len(other))) and all(
        np.array_equal(getattr(one.rows, name), getattr(other.rows, name), equal_nan=is_float)
        for name in columns
        for is_float in [name == "keypoints"]
    )


def test_a_thousand_mutations_are_refused_in_a_sentence_or_change_nothing(path):
    content, whole, rng = path.read_bytes(), Bank(path), random.Random(0)
    sentences = []
    for number in range(1000):
        damaged = path.with_name(f"{number}.h5")
        damaged.write_bytes(mutated(content, rng))
        try:
            bank = Bank(damaged)
            bank.check_pixels()
            assert same_content(bank, whole), number
        except UserError as error:
            sentences.append(str(error))
        damaged.unlink()
    assert 400 < len(sentences) < 1000
    assert not [text for text in sentences if "\n" in text]


def test_a_bank_that_was_stretched_is_refused_without_reading_its_hole(path):
    os.truncate(path, 2**36)

    with pytest.raises(UserError, match=r"must hold at most 268435456 bytes beside its datasets"):
        Bank(path)


def test_a_bank_that_is_replaced_stays_the_one_that_was_opened(path):
    bank = Bank(path)
    own, pixels = hashlib.sha256(path.read_bytes()).hexdigest(), bank.image(0)
    write_bank(path, ROWS, [PIXELS[::-1]], ATTRIBUTES)

    np.testing.assert_array_equal(bank.image(0), pixels)
    assert bank.file_sha256() == own
    assert Bank(path).file_sha256() != own


def test_a_bank_that_is_changed_in_place_is_not_read_on(path):
    bank = Bank(path)
    bank.image(0)
    content = path.read_bytes()
    os.utime(path, ns=(0, 0))
    path.write_bytes(content)

    for read in (lambda: bank.image(0), bank.file_sha256):
        with pytest.raises(UserError, match="was changed while it was in use; start again"):
            read()


def test_a_bank_is_refused_before_hdf5_meets_a_full_disk(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    monkeypatch.setattr(h5py, "File", None)  # which can end the process on a full disk

    with pytest.raises(UserError, match=r"bank\.h5: could not be written, no space left on device"):
        write(tmp_path / "bank.h5")

    assert list(tmp_path.iterdir()) == []
