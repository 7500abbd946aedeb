import math
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from reid_aug.bank import Bank, BankAttributes, BankPlan, Rows, write_bank
from reid_aug.data.dataset import PersonImage, by_identity, read_market1501, seats
from reid_aug.data.provenance import names_sha256
from reid_aug.mixing import Mix, MixDataset, effective_keep, floor_note, share_out
from reid_aug.runtime.errors import UserError

MARKET_IMAGES, MARKET_IDENTITIES = 12_936, 751


def market() -> list[PersonImage]:
    rng = np.random.default_rng(0)
    drawn = rng.gamma(2.0, size=MARKET_IDENTITIES)
    spread = rng.multinomial(MARKET_IMAGES - 2 * MARKET_IDENTITIES, drawn / drawn.sum())
    return images_of({pid: 2 + int(more) for pid, more in enumerate(spread, start=2)})


def images_of(counts: dict[int, int], folder: Path = Path("data")) -> list[PersonImage]:
    return [
        PersonImage(folder / f"{pid:04d}_c{1 + i % 6}s1_{i:06d}_01.jpg", pid, 1 + i % 6)
        for pid, count in counts.items()
        for i in range(count)
    ]


def bank_of(kept, count: int, path: Path, keep: float = 1.0, size: int = 2) -> Bank:
    groups = by_identity(kept)
    order = islice(seats({pid: len(group) for pid, group in groups.items()}), count)
    sources = [groups[pid][seat % len(groups[pid])] for pid, seat in order]
    rows = Rows(
        pid=np.array([image.pid for image in sources]),
        camid=np.array([image.camid for image in sources]),
        source=np.array([image.name for image in sources]),
        target=np.array([image.name for image in reversed(sources)]),
        keypoints=np.zeros((count, 18, 2)),
    )
    attributes = {
        "keep": keep,
        "keep_seed": 0,
        "kept_sha256": names_sha256(kept),
        "dataset_sha256": "0" * 64,
        "keypoints_sha256": "0" * 64,
        "generator_sha256": "1" * 64,
        "generator_data": "kept",
        "ratio": count / len(kept),
        "mode": "supplement",
        "plan": BankPlan("random", "source", "generator", 32, height=size, width=size),
        "seed": 0,
    }
    pixels = np.arange(count * size * size * 3).astype(np.uint8).reshape(count, size, size, 3)
    write_bank(path, rows, [pixels], BankAttributes(**attributes))
    return Bank(path)


@pytest.fixture(scope="module")
def real() -> list[PersonImage]:
    return market()


@pytest.fixture(scope="module")
def whole(real, tmp_path_factory) -> Bank:
    return bank_of(real, MARKET_IMAGES, tmp_path_factory.mktemp("whole") / "bank.h5")


@pytest.fixture(scope="module")
def fifth(real, tmp_path_factory) -> Bank:
    kept, _ = share_out(real, 0.0, "supplement", 0.2, 0)
    path = tmp_path_factory.mktemp("fifth") / "bank.h5"
    return bank_of(kept, MARKET_IMAGES - len(kept), path, keep=0.2)


@pytest.mark.parametrize(
    ("ratio", "generated"), [(0.0, 0), (0.01, 751), (0.1, 1294), (0.5, 6468), (1.0, 12936)]
)
def test_supplement_adds_a_share_of_the_real_images(real, whole, ratio, generated):
    mix = Mix(real, whole, ratio)

    assert len(mix.real) == MARKET_IMAGES
    assert mix.generated == generated
    assert len(mix) == MARKET_IMAGES + generated
    assert sum(mix.is_generated(i) for i in range(len(mix))) == generated


def test_a_supplement_counts_from_the_kept_images(real, fifth):
    mix = Mix(real, fifth, 0.5, keep=0.2)

    assert (len(mix.real), mix.generated) == (2587, 1294)


def test_a_supplement_may_exceed_the_real_images(real, fifth):
    mix = Mix(real, fifth, 3.5, keep=0.2)

    assert (len(mix.real), mix.generated) == (2587, math.floor(3.5 * 2587 + 0.5))


def test_keep_leaves_a_fifth_of_the_images_of_every_identity(real):
    mix = Mix(real, keep=0.2)

    assert len(mix) == len(mix.real) == 2587
    assert len({image.pid for image in mix.real}) == MARKET_IDENTITIES


def test_replace_fills_up_to_the_old_number(real, fifth):
    mix = Mix(real, fifth, 0.8, mode="replace")

    assert len(mix.real) == 2587
    assert mix.generated == MARKET_IMAGES - 2587
    assert len(mix) == MARKET_IMAGES


def test_replace_stands_on_the_same_kept_set_as_keep(real, fifth):
    assert Mix(real, fifth, 0.8, mode="replace").real == Mix(real, keep=0.2).real


def test_replace_by_nothing_is_the_baseline(real):
    mix = Mix(real, ratio=0.0, mode="replace")

    assert sorted(mix.real) == sorted(real)
    assert mix.generated == 0


@pytest.mark.parametrize("ratio", [0.1, 0.3, 0.7, 0.9])
def test_what_replace_keeps_is_the_decimal_that_is_left(ratio):
    assert effective_keep(ratio, "replace", 1.0) == round(1 - ratio, 1)


def test_a_generated_image_keeps_the_identity_of_its_source(real, whole):
    mix = Mix(real, whole, 0.5)

    shown = {i: mix.identity(i) for i in range(len(mix))}

    by_name = {image.name: (image.pid, image.camid) for image in real}
    for i in range(len(real), len(mix)):
        assert shown[i] == by_name[str(whole.rows.source[i - len(real)])]
    for i, image in enumerate(mix.real):
        assert shown[i] == (image.pid, image.camid)


@pytest.mark.parametrize("ratio", [0.0, 0.01, 0.5, 1.0])
def test_the_number_of_identities_does_not_depend_on_the_ratio(real, whole, ratio):
    mix = Mix(real, whole, ratio)

    assert len({mix.identity(i)[0] for i in range(len(mix))}) == MARKET_IDENTITIES


def test_every_identity_gets_a_generated_image_at_the_smallest_ratio(real, whole):
    mix = Mix(real, whole, 0.01)

    found = Counter(mix.identity(i)[0] for i in range(len(mix.real), len(mix)))

    assert set(found.values()) == {1}
    assert len(found) == MARKET_IDENTITIES


def test_images_come_from_their_files_and_from_the_bank(people, tmp_path):
    real = read_market1501(people).train
    kept, _ = share_out(real, 0.0, "supplement", 1.0, 0)
    bank = bank_of(kept, len(kept), tmp_path / "bank.h5", size=4)

    mix = Mix(real, bank, 1.0)

    for i, image in enumerate(mix.real):
        with Image.open(image.path) as file:
            np.testing.assert_array_equal(mix.image(i), np.asarray(file.convert("RGB")))
        assert mix.name(i) == image.path.name
    for row in range(len(bank)):
        np.testing.assert_array_equal(mix.image(len(kept) + row), bank.image(row))
        assert mix.name(len(kept) + row) == f"bank:{row}"


def test_an_index_past_the_end_is_an_index_error(real, whole):
    mix = Mix(real, whole, 0.5)

    with pytest.raises(IndexError, match=str(len(mix))):
        mix.identity(len(mix))


def test_a_bank_of_another_kept_set_is_refused(real, whole):
    with pytest.raises(
        UserError,
        match=r"synthesize --ratio 0\.5 --keep 0\.2 --out \S+-2 \(a generator: reid-aug train",
    ) as caught:
        Mix(real, whole, 0.5, keep=0.2)

    assert str(whole.path) in str(caught.value)
    assert "another kept set (keep 1); use it with keep 1, or make" in str(caught.value)


def test_a_bank_that_replaces_images_says_how_it_is_used(real, tmp_path, fifth):
    replacing = Bank(fifth.path)
    replacing.attributes = replace(replacing.attributes, mode="replace", ratio=0.8)

    with pytest.raises(UserError) as caught:
        Mix(real, replacing, 0.5)

    assert "got a bank of another kept set (mode replace, ratio 0.8); use it with mode replace" in (
        str(caught.value)
    )
    assert len(Mix(real, replacing, 0.8, mode="replace").real) == len(Mix(real, keep=0.2).real)


def test_a_bank_of_another_keep_seed_is_refused(real, fifth):
    with pytest.raises(
        UserError,
        match=r"\(keep 0\.2\); make .* --keep 0\.2 --set data\.keep_seed=1 --out \S+-2 \(a gen",
    ):
        Mix(real, fifth, 0.5, keep=0.2, keep_seed=1)


def test_a_bank_of_the_whole_set_is_refused_for_replacing(real, whole):
    with pytest.raises(
        UserError,
        match=r"\(keep 1\); make .* synthesize --ratio 0\.8 --mode replace --out \S+-2 \(a gen",
    ):
        Mix(real, whole, 0.8, mode="replace")


def test_a_bank_that_is_too_small_is_refused(real, fifth):
    with pytest.raises(UserError, match="extend it with: reid-aug synthesize --ratio 9") as caught:
        Mix(real, fifth, 9.0, keep=0.2)

    assert str(fifth.path) in str(caught.value)
    assert str(len(fifth)) in str(caught.value)


def test_generated_images_without_a_bank_name_the_command_that_makes_one(real):
    with pytest.raises(UserError, match=r"no bank.*reid-aug synthesize --ratio 0\.5$"):
        Mix(real, ratio=0.5)


def test_the_baseline_does_not_use_the_bank(real, fifth):
    assert len(Mix(real, fifth, 0.0)) == MARKET_IMAGES


@pytest.mark.parametrize("ratio", [math.nan, math.inf, -math.inf, -0.1])
@pytest.mark.parametrize("mode", ["supplement", "replace"])
def test_a_ratio_that_is_no_share_is_refused(real, whole, ratio, mode):
    with pytest.raises(UserError, match="ratio"):
        Mix(real, whole, ratio, mode)


@pytest.mark.parametrize("ratio", [1.0, 1.5])
def test_replacing_everything_is_refused(real, whole, ratio):
    with pytest.raises(UserError, match="ratio must be below 1 in mode replace"):
        Mix(real, whole, ratio, "replace")


def test_keep_beside_replace_is_refused(real, fifth):
    with pytest.raises(UserError, match="keep must be 1 in mode replace"):
        Mix(real, fifth, 0.8, "replace", keep=0.2)


@pytest.mark.parametrize("keep", [0.0, -0.5, 1.5, math.nan])
def test_a_keep_that_keeps_nothing_or_too_much_is_refused(real, keep):
    with pytest.raises(UserError, match="keep must be above 0 and at most 1"):
        Mix(real, keep=keep)


def test_an_unknown_mode_is_refused_with_the_choices(real):
    with pytest.raises(UserError, match="supplement, replace, got 'mixed'"):
        Mix(real, mode="mixed")


def test_the_note_of_a_mix_states_that_the_minimum_changed_the_ratio():
    assert floor_note(187, 187, 58, 0.2, "supplement").endswith("more than the 37 of ratio 0.2")
    assert floor_note(187, 58, 129, 0.8, "replace").endswith("so 58 and not 37 stay")
    assert floor_note(187, 187, 94, 0.5, "supplement") == ""
    assert floor_note(187, 94, 93, 0.5, "replace") == ""
    assert floor_note(187, 187, 0, 0.0, "supplement") == ""


@pytest.fixture(scope="module")
def small_mix(people, tmp_path_factory) -> Mix:
    """A mix of the built-in people, with as many generated images of the same size."""
    real = read_market1501(people).train
    height, width = 128, 64
    kept, count = share_out(real, 1.0, "supplement", 1.0, 0)
    groups = by_identity(kept)
    order = list(islice(seats({pid: len(group) for pid, group in groups.items()}), count))
    sources = [groups[pid][seat % len(groups[pid])] for pid, seat in order]
    template = bank_of(kept, count, tmp_path_factory.mktemp("mix") / "template.h5")
    pixels = np.arange(count, dtype=np.uint8)[:, None, None, None]
    pixels = np.broadcast_to(pixels, (count, height, width, 3)).copy()
    path = tmp_path_factory.mktemp("mix") / "bank.h5"
    write_bank(path, template.rows, [pixels], template.attributes)
    assert [image.pid for image in sources] == template.rows.pid.tolist()
    return Mix(real, Bank(path), 1.0)


def test_an_item_of_the_dataset_is_the_image_of_the_mix_and_its_labels(small_mix):
    dataset = MixDataset(small_mix)

    assert len(dataset) == len(small_mix)
    pids = sorted({image.pid for image in small_mix.real})
    assert dataset.classes == tuple(pids)
    for index in (0, len(small_mix.real) - 1, len(small_mix.real), len(small_mix) - 1):
        item, (pid, camid) = dataset[index], small_mix.identity(index)
        assert set(item) == {"img", "pid", "camid", "is_generated", "name"}
        assert item["img"].dtype == torch.float32
        assert item["img"].shape == (3, 128, 64)
        wanted = torch.tensor(small_mix.image(index)).permute(2, 0, 1) / 255
        assert torch.equal(item["img"], wanted)
        assert (item["pid"], item["camid"]) == (pids.index(pid), camid)
        assert item["is_generated"] == small_mix.is_generated(index)
        assert item["name"] == small_mix.name(index)
    with pytest.raises(IndexError):
        dataset[len(dataset)]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_shuffled_loader_gives_every_item_once_with_its_own_values(small_mix, workers):
    dataset = MixDataset(small_mix)
    generator = torch.Generator().manual_seed(0)
    loader = DataLoader(
        dataset, batch_size=16, shuffle=True, num_workers=workers, generator=generator
    )

    batches = list(loader)

    names = [name for batch in batches for name in batch["name"]]
    expected = [small_mix.name(index) for index in range(len(small_mix))]
    assert sorted(names) == sorted(expected)
    assert names != expected
    for batch in batches:
        assert batch["img"].dtype == torch.float32
        assert 0 <= batch["img"].min() <= batch["img"].max() <= 1
        for place, name in enumerate(batch["name"]):
            index = expected.index(name)
            pid, camid = small_mix.identity(index)
            assert dataset.classes[batch["pid"][place]] == pid
            assert batch["camid"][place] == camid
            assert batch["is_generated"][place] == (index >= len(small_mix.real))
            wanted = torch.tensor(small_mix.image(index)).permute(2, 0, 1) / 255
            assert torch.equal(batch["img"][place], wanted)


def test_a_transform_receives_the_rgb_image(small_mix):
    dataset = MixDataset(small_mix, transform=lambda image: (image.mode, image.size))

    assert dataset[0]["img"] == ("RGB", (64, 128))


def test_a_mix_itself_is_no_dataset(small_mix):
    with pytest.raises(TypeError):
        next(iter(DataLoader(small_mix)))


def test_the_module_needs_no_torch():
    code = "import sys, reid_aug.mixing; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
