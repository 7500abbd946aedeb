"""Re-ID training: torchreid's engine on a mix, equal steps whatever the mix, an honest result."""

import json
import math
import shutil
import warnings
from dataclasses import replace
from itertools import chain

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from reid_aug.backbones import build_backbone, torchreid_library
from reid_aug.bank import Bank
from reid_aug.dataset import DataConfig, read_market1501
from reid_aug.errors import UserError
from reid_aug.generator import Generator, GeneratorConfig, save_generator
from reid_aug.mixing import Mix
from reid_aug.people import PeopleConfig, write_people
from reid_aug.poses import read_keypoints
from reid_aug.provenance import seen_images
from reid_aug.reid_folder import MODEL, finished
from reid_aug.reid_settings import TrainReidConfig
from reid_aug.synthesize import SynthesizeConfig, prepare, synthesize
from reid_aug.train_reid import (
    Shuffles,
    Training,
    _transforms,
    experiment,
    train_reid,
)
from reid_aug.weights import read_tensors

CPU = torch.device("cpu")
SMALL = TrainReidConfig("osnet_x0_25", steps=3, batch=4, height=32, width=16)


@pytest.fixture(scope="module")
def bank(people, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bank")
    checkpoint = folder / "generator.safetensors"
    save_generator(Generator(GeneratorConfig(width=4, blocks=1)), checkpoint, {"seen": "0" * 12})
    dataset, poses = read_market1501(people), read_keypoints(people / "keypoints.csv")
    data = DataConfig(32, 16)
    job = prepare(dataset, poses, checkpoint, SynthesizeConfig(), data, 0)
    return Bank(synthesize(job, folder, CPU))


def run(people, folder, mix, config=SMALL, seed=0):
    path = train_reid(mix, read_market1501(people), config, folder, seed, CPU)
    return json.loads(path.read_text())


def test_a_result_says_what_a_table_needs(people, bank, tmp_path):
    real = read_market1501(people).train
    result = run(people, tmp_path, Mix(real, bank, 1.0))
    assert (result["real"], result["generated"]) == (len(real), len(real))
    assert result["classes"] == len({image.pid for image in real})
    assert result["generator_data"] == "external"
    assert result["leak_free"] is True
    counted = [ap for ap in result["ap"].values() if ap is not None]
    assert result["queries"] == len(counted)
    assert result["mAP"] == pytest.approx(np.mean(counted), abs=1e-6)
    names = (tmp_path / "images.txt").read_text().split()
    assert names == [
        *(image.name for image in Mix(real).real),
        *(f"bank:{i}" for i in range(len(real))),
    ]
    steps = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert steps[-1]["step"] == SMALL.steps
    assert math.isfinite(steps[-1]["loss"])


def test_the_same_seed_gives_the_same_weights_and_scores(people, bank, tmp_path):
    mix = Mix(read_market1501(people).train, bank, 1.0)
    first, again, other = (
        run(people, tmp_path / name, mix, seed=seed)
        for name, seed in (("a", 0), ("b", 0), ("c", 1))
    )
    weights = [read_tensors(tmp_path / name / "model.safetensors")[0] for name in ("a", "b", "c")]
    assert first["ap"] == again["ap"]
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])
    assert not torch.equal(weights[0]["classifier.weight"], weights[2]["classifier.weight"])
    assert other["seed"] == 1


def test_generated_images_are_nobody_new(people, bank):
    real = read_market1501(people).train
    training = Training(Mix(real, bank, 1.0), np.asarray)
    pids = {index: training.mix.identity(index)[0] for index in range(len(training))}
    labels = {pids[index]: training[index]["pid"] for index in range(len(training))}
    assert labels == {pid: label for label, pid in enumerate(sorted({i.pid for i in real}))}
    assert [training[i]["is_generated"] for i in (0, len(real) - 1, len(real))] == [
        False,
        False,
        True,
    ]


def test_steps_do_not_depend_on_the_size_of_the_mix():
    for size in (3, 10, 1000):
        batches = list(Shuffles(size, batch=4, steps=7, seed=0))
        assert [len(batch) for batch in batches] == [4] * 7
        seen = list(chain(*batches))
        assert sorted(seen[:size]) == list(range(size))[: len(seen)] or size > len(seen)
        assert max(seen) < size


def test_every_image_is_seen_once_before_any_is_seen_twice():
    flat = list(chain(*Shuffles(10, batch=4, steps=5, seed=3)))
    assert sorted(flat[:10]) == sorted(flat[10:]) == list(range(10))


def test_the_loss_is_the_stock_engine_s(people):
    # in double precision: Adam makes a step of the rounding of a gradient that should be 0
    real = read_market1501(people).train
    config = TrainReidConfig("resnet18", steps=4, batch=4, height=32, width=16, lr=1e-3)
    torchreid = torchreid_library()
    torchreid.utils.set_random_seed(5)
    training = Training(Mix(real), _transforms(config)[0])
    batches = [[training[i] for i in batch] for batch in Shuffles(len(training), 4, 4, 0)]
    model = build_backbone("resnet18", len(training.labels), 32, 16).double().train()
    optimiser = torch.optim.Adam(model.parameters(), 1e-3, weight_decay=5e-4)
    losses = []
    for step, batch in enumerate(batches):
        for group in optimiser.param_groups:
            group["lr"] = 1e-3 * config.rate(step)
        images = torch.stack([item["img"] for item in batch]).double()
        labels = torch.tensor([item["pid"] for item in batch])
        loss = F.cross_entropy(model(images), labels, label_smoothing=0.1)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] != pytest.approx(losses[0])
    torchreid.utils.set_random_seed(5)
    batches = [[training[i] for i in batch] for batch in Shuffles(len(training), 4, 4, 0)]
    model = build_backbone("resnet18", len(training.labels), 32, 16).double().train()
    from reid_aug.train_reid import _engine

    engine, _ = _engine(model, training, config, 0, CPU)
    ours = []
    for batch in batches:
        whole = {
            "img": torch.stack([item["img"] for item in batch]).double(),
            "pid": torch.tensor([item["pid"] for item in batch]),
        }
        ours.append(engine.forward_backward(whole)["loss"])
        engine.update_lr()
    assert ours == pytest.approx(losses, rel=1e-4)


def test_a_finished_cell_is_recognised_and_another_one_s_is_not_overwritten(people, bank, tmp_path):
    dataset = read_market1501(people)
    mix = Mix(dataset.train, bank, 0.5)
    run(people, tmp_path, mix)

    def about(mix=mix, dataset=dataset, config=SMALL, seed=0):
        return experiment(mix, dataset, config, seed)

    fewer = replace(dataset, query=dataset.query[1:])
    longer = replace(SMALL, steps=4)
    assert finished(tmp_path, about())
    assert not finished(tmp_path / "nowhere", about())
    for other, key in (
        (about(config=longer), "recipe"),
        (about(seed=1), "seed"),
        (about(dataset=fewer), "dataset_sha256"),
        (about(mix=Mix(dataset.train, bank, 1.0)), "rows_sha256"),
        (about(mix=Mix(dataset.train, keep=0.5, keep_seed=1)), "kept_sha256"),
    ):
        with pytest.raises(UserError, match=f"another experiment, which differs in .*{key}"):
            finished(tmp_path, other)


def test_the_baseline_is_one_experiment_in_both_modes(people):
    dataset = read_market1501(people)
    add, swap = (Mix(dataset.train, mode=mode) for mode in ("supplement", "replace"))
    assert experiment(add, dataset, SMALL, 0) == experiment(swap, dataset, SMALL, 0)


def test_an_unreadable_test_image_stops_a_training_before_it_begins(people, tmp_path):
    data = shutil.copytree(people, tmp_path / "data")
    read_market1501(data).gallery[0].path.write_bytes(b"no image")
    with pytest.raises(UserError, match="must be an image"):
        run(data, tmp_path / "cell", Mix(read_market1501(data).train))
    assert not (tmp_path / "cell").exists()


def start_from(path):
    return replace(SMALL, weights=str(path))


def test_starting_weights_of_which_nobody_knows_cost_the_leak_free_mark(people, tmp_path):
    model = build_backbone("osnet_x0_25", 3, 32, 16)
    torch.save(model.state_dict(), tmp_path / "found.pth")
    mix = Mix(read_market1501(people).train)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = run(people, tmp_path / "b", mix, start_from(tmp_path / "found.pth"))
    assert result["leak_free"] is False
    assert result["starting_data"] == "whole"
    assert len(result["starting_weights"]) == 64
    assert result["recipe"]["weights"] == "found.pth"
    assert read_tensors(tmp_path / "b" / "model.safetensors")[1]["seen"] == ""


def test_a_network_says_what_it_has_seen_to_those_that_start_from_it(people, tmp_path):
    train = read_market1501(people).train
    half, whole = Mix(train, keep=0.5), Mix(train)
    first = run(people, tmp_path / "half", half)
    assert (first["starting_data"], first["leak_free"]) == (None, True)
    seen = read_tensors(tmp_path / "half" / "model.safetensors")[1]["seen"]
    assert seen == seen_images(half.real)
    path = tmp_path / "half" / "model.safetensors"
    for mix, data in ((half, "kept"), (whole, "kept"), (Mix(train, keep=0.25), "whole")):
        result = run(people, tmp_path / f"{len(mix)}", mix, start_from(path))
        assert (result["starting_data"], result["leak_free"]) == (data, data != "whole")
    notes = read_tensors(tmp_path / f"{len(whole)}" / "model.safetensors")[1]
    assert notes["seen"] == seen + seen_images(train)


def test_a_network_of_other_people_is_external_and_starts_the_training(people, tmp_path):
    others = tmp_path / "others"
    write_people(others, PeopleConfig(identities=2, test_identities=1, first=50))
    run(others, tmp_path / "first", Mix(read_market1501(others).train))
    path = tmp_path / "first" / "model.safetensors"
    mix = Mix(read_market1501(people).train)
    result = run(people, tmp_path / "second", mix, start_from(path))
    assert (result["starting_data"], result["leak_free"]) == ("external", True)
    assert result["mAP"] != run(people, tmp_path / "fresh", mix)["mAP"]


def test_a_network_that_saw_test_images_is_refused(people, tmp_path):
    dataset = read_market1501(people)
    peeping = replace(dataset, train=(*dataset.train, *dataset.query))
    path = train_reid(Mix(peeping.train), peeping, SMALL, tmp_path / "a", 0, CPU)
    with pytest.raises(UserError, match=r"network of train_reid\.weights was .* query or gallery"):
        run(people, tmp_path / "b", Mix(dataset.train), start_from(path.parent / MODEL))
    assert not (tmp_path / "b").exists()


def test_a_network_that_saw_drawings_by_outsiders_does_not_say_what_it_knows(
    people, bank, tmp_path
):
    mix = Mix(read_market1501(people).train, bank, 1.0)
    result = run(people, tmp_path, mix)
    assert (result["artist"], result["cameras"]) == ("generator", "source")
    assert read_tensors(tmp_path / MODEL)[1]["seen"] == ""


def test_a_baseline_has_no_artist(people, tmp_path):
    result = run(people, tmp_path, Mix(read_market1501(people).train))
    assert (result["artist"], result["cameras"]) == (None, None)


def test_a_diverged_training_is_one_sentence(people, tmp_path):
    config = TrainReidConfig("osnet_x0_25", 20, 4, 32, 16, lr=1e30)
    with pytest.raises(UserError, match="no longer a number"):
        run(people, tmp_path, Mix(read_market1501(people).train), config)
    assert not (tmp_path / "result.json").exists()
