"""Re-ID training: torchreid's engine on a mix, equal steps whatever the mix, an honest result."""

import hashlib
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch

from reid_aug.backbones import build_backbone
from reid_aug.backbones.checkpoint import MODEL_FORMAT
from reid_aug.bank import Bank
from reid_aug.data.dataset import DataConfig, read_market1501
from reid_aug.data.keypoints import read_keypoints
from reid_aug.data.provenance import fingerprints, joined_fingerprints, leak_status
from reid_aug.evaluation import RESULT_FORMAT
from reid_aug.generator import Generator, GeneratorConfig, save_generator
from reid_aug.mixing import Mix
from reid_aug.people import PeopleConfig, write_people
from reid_aug.runtime.errors import UserError
from reid_aug.runtime.files import sha256, write_json
from reid_aug.runtime.weights import read_tensors, write_tensors
from reid_aug.stages.synthesize import SynthesizeConfig, plan_bank, synthesize
from reid_aug.stages.train_reid import experiment, starting_data, train_reid
from reid_aug.stages.train_reid.folder import (
    LOG,
    MODEL,
    RESULT,
    STATE,
    finished,
    read_state,
    write_state,
)
from reid_aug.stages.train_reid.settings import PRESETS, TrainReidConfig

CPU = torch.device("cpu")
SMALL = TrainReidConfig("osnet_x0_25", steps=3, batch=4, height=32, width=16)


@pytest.fixture(scope="module")
def bank(people, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bank")
    checkpoint = folder / "generator.safetensors"
    save_generator(
        Generator(GeneratorConfig(width=4, blocks=1)), checkpoint, {"trained_on": "0" * 12}
    )
    dataset, poses = read_market1501(people), read_keypoints(people / "keypoints.csv")
    data = DataConfig(32, 16)
    job = plan_bank(dataset, poses, checkpoint, SynthesizeConfig(), data, 0)
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
    assert result["generator_sha256"] == bank.attributes.generator_sha256
    assert result["model_sha256"] == sha256(tmp_path / MODEL)
    assert result["leak_free"] is True
    counted = [ap for ap in result["ap"].values() if ap is not None]
    assert result["queries"] == len(counted)
    assert result["mAP"] == pytest.approx(np.mean(counted), abs=1e-6)
    lines = [line.split("  ") for line in (tmp_path / "images.txt").read_text().splitlines()]
    assert [name for _, name in lines] == [
        *(image.name for image in Mix(real).real),
        *(f"bank:{i}" for i in range(len(real))),
    ]
    assert lines[0][0] == hashlib.sha256(Mix(real).real[0].path.read_bytes()).hexdigest()
    assert lines[-1][0] == hashlib.sha256(bank.image(len(real) - 1).tobytes()).hexdigest()
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


@pytest.fixture
def changed(people, tmp_path):
    """The same people under the same names, but for one byte of one image."""
    data = shutil.copytree(people, tmp_path / "changed")
    path = read_market1501(data).train[0].path
    path.write_bytes(path.read_bytes() + b"\0")
    return data


def test_a_bank_of_another_data_set_with_the_same_names_is_refused(people, changed, bank, tmp_path):
    mix = Mix(read_market1501(changed).train, bank, 1.0)

    with pytest.raises(UserError, match=r"bank\.h5: must be a bank of this data set, .*, got .*"):
        run(changed, tmp_path / "cell", mix)

    assert not (tmp_path / "cell").exists()
    baseline = run(changed, tmp_path / "cell", Mix(read_market1501(changed).train, bank))
    assert baseline["generated"] == 0


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
        (about(config=longer), "recipe.steps;"),
        (about(seed=1), "seed"),
        (about(dataset=fewer), "dataset_sha256"),
        (about(mix=Mix(dataset.train, bank, 1.0)), "rows_sha256"),
        (about(mix=Mix(dataset.train, keep=0.5, keep_seed=1)), "kept_sha256"),
    ):
        with pytest.raises(UserError, match=f"another experiment, which differs in .*{key}"):
            finished(tmp_path, other)


def test_what_changes_no_bit_makes_no_other_experiment(people, tmp_path):
    dataset = read_market1501(people)

    def about(**changes):
        return experiment(Mix(dataset.train), dataset, replace(SMALL, **changes), 0)

    older = about()
    del older["recipe"]["weights_data"]
    write_json(tmp_path / RESULT, {"format": RESULT_FORMAT, **older})
    write_state(tmp_path, older, 2, {"a": torch.zeros(1)})

    assert finished(tmp_path, about(workers=3))
    assert read_state(tmp_path, about(workers=3))[0] == 2
    for look in (finished, read_state):
        with pytest.raises(UserError, match=r"differs in recipe\.lr, recipe\.flip;"):
            look(tmp_path, about(workers=3, lr=1.0, flip=False))


def test_starting_weights_are_known_by_their_content_whatever_the_name_of_their_file(
    people, tmp_path
):
    dataset = read_market1501(people)

    def about(name, content):
        (tmp_path / name).write_bytes(content)
        config = replace(SMALL, weights=str(tmp_path / name))
        return experiment(Mix(dataset.train), dataset, config, 0)

    write_json(tmp_path / RESULT, {"format": RESULT_FORMAT, **about("one.pth", b"1")})
    write_state(tmp_path, about("one.pth", b"1"), 2, {"a": torch.zeros(1)})

    assert finished(tmp_path, about("other.pth", b"1"))
    assert read_state(tmp_path, about("other.pth", b"1"))[0] == 2
    for look in (finished, read_state):
        with pytest.raises(UserError, match=r"differs in starting_weights;"):
            look(tmp_path, about("one.pth", b"2"))


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
    assert read_tensors(tmp_path / "b" / "model.safetensors")[1]["trained_on"] == ""


def test_starting_weights_may_be_declared_external(people, tmp_path):
    torch.save(build_backbone("osnet_x0_25", 3, 32, 16).state_dict(), tmp_path / "found.pth")
    config = replace(start_from(tmp_path / "found.pth"), weights_data="external")
    dataset = read_market1501(people)

    result = run(people, tmp_path / "cell", Mix(dataset.train), config)

    assert (result["starting_data"], result["leak_free"]) == ("external", True)
    assert result["recipe"]["weights_data"] == "external"
    seen = read_tensors(tmp_path / "cell" / MODEL)[1]["trained_on"]
    declared = result["starting_weights"][:12]
    assert seen == joined_fingerprints([declared, fingerprints(dataset.train)])
    assert leak_status(seen, dataset, dataset.train) == "external"


@pytest.mark.parametrize(("seen", "data"), [("kept", "kept"), ("left out", "whole"), ("", "whole")])
def test_what_a_network_notes_counts_more_than_what_is_declared(people, tmp_path, seen, data):
    dataset = read_market1501(people)
    mix = Mix(dataset.train, keep=0.5)
    known = {"kept": mix.real, "left out": dataset.train}.get(seen, ())
    path = tmp_path / MODEL
    notes = {"format": MODEL_FORMAT, "trained_on": fingerprints(known)}
    write_tensors(path, {"a": torch.zeros(1)}, notes)
    declared = replace(start_from(path), weights_data="external")

    assert starting_data(mix, dataset, start_from(path)) == data
    with pytest.raises(UserError, match=f"must not contradict .* 'external', got '{data}'"):
        starting_data(mix, dataset, declared)

    write_tensors(path, {"a": torch.zeros(1)}, {**notes, "trained_on": "0" * 12})
    assert starting_data(mix, dataset, declared) == "external"


def test_a_network_says_what_it_has_seen_to_those_that_start_from_it(people, tmp_path):
    train = read_market1501(people).train
    half, whole = Mix(train, keep=0.5), Mix(train)
    first = run(people, tmp_path / "half", half)
    assert (first["starting_data"], first["leak_free"]) == (None, True)
    seen = read_tensors(tmp_path / "half" / "model.safetensors")[1]["trained_on"]
    assert seen == fingerprints(half.real)
    path = tmp_path / "half" / "model.safetensors"
    for mix, data in ((half, "kept"), (whole, "kept"), (Mix(train, keep=0.25), "whole")):
        result = run(people, tmp_path / f"{len(mix)}", mix, start_from(path))
        assert (result["starting_data"], result["leak_free"]) == (data, data != "whole")
    notes = read_tensors(tmp_path / f"{len(whole)}" / "model.safetensors")[1]
    assert notes["trained_on"] == fingerprints(train)


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


@pytest.mark.parametrize(
    ("about", "seen_before", "status"),
    [
        ({}, "0" * 12, "external"),
        ({"trained_on": "", "generator_sha256": "1" * 64}, "1" * 12, "external"),
        ({"trained_on": "", "generator_data": "whole"}, None, "whole"),
        ({"trained_on": "", "generator_data": "kept"}, "", "kept"),
    ],
    ids=["recorded", "declared", "unknown", "kept"],
)
def test_a_network_records_the_images_of_the_generator_whose_images_train_it(
    people, bank, tmp_path, about, seen_before, status
):
    dataset, mixed = read_market1501(people), Bank(bank.path)
    mixed.attributes = replace(mixed.attributes, **about)
    result = run(people, tmp_path / "first", Mix(dataset.train, mixed, 1.0))
    assert (result["method"], result["cameras"]) == ("generator", "source")
    seen = read_tensors(tmp_path / "first" / MODEL)[1]["trained_on"]
    kept = fingerprints(dataset.train)
    assert seen == ("" if seen_before is None else joined_fingerprints([seen_before or kept, kept]))

    next_one = run(
        people, tmp_path / "next", Mix(dataset.train), start_from(tmp_path / "first" / MODEL)
    )
    assert (next_one["starting_data"], next_one["leak_free"]) == (status, status != "whole")


def test_a_result_records_the_weights_that_its_pre_training_started_from(people, tmp_path):
    mix = Mix(read_market1501(people).train)
    first = run(people, tmp_path / "first", mix)
    second = run(people, tmp_path / "second", mix, start_from(tmp_path / "first" / MODEL))
    third = run(people, tmp_path / "third", mix, start_from(tmp_path / "second" / MODEL))

    assert first["pre_trained_from"] is None
    assert (second["starting_weights"], second["pre_trained_from"]) == (first["model_sha256"], None)
    assert third["pre_trained_from"] == first["model_sha256"]


def test_a_bank_that_says_nothing_known_of_its_generator_is_not_leak_free(people, bank, tmp_path):
    odd = Bank(bank.path)
    odd.attributes = replace(odd.attributes, generator_data="Kept")

    result = run(people, tmp_path, Mix(read_market1501(people).train, odd, 1.0))

    assert result["leak_free"] is False


def test_a_baseline_has_no_artist(people, tmp_path):
    result = run(people, tmp_path, Mix(read_market1501(people).train))
    assert (result["method"], result["cameras"], result["generator_sha256"]) == (None, None, None)


def test_a_training_that_diverges_at_once_leaves_no_folder(people, tmp_path):
    config = TrainReidConfig("osnet_x0_25", 20, 4, 32, 16, lr=1e30)

    with pytest.raises(UserError, match="no longer a number"):
        run(people, tmp_path / "reid" / "cell", Mix(read_market1501(people).train), config)

    assert list(tmp_path.iterdir()) == []


def test_a_diverged_training_is_one_sentence_and_saves_no_state_of_it(
    people, tmp_path, monkeypatch
):
    monkeypatch.setattr("reid_aug.stages.train_reid.SAVED_EVERY", 0.0)
    config = TrainReidConfig("osnet_x0_25", 20, 4, 32, 16, lr=1e30)
    with pytest.raises(UserError, match="no longer a number") as caught:
        run(people, tmp_path, Mix(read_market1501(people).train), config)
    assert not (tmp_path / "result.json").exists()
    saved = read_tensors(tmp_path / STATE)[1]["step"]
    assert f"no longer a number at step {saved + 1};" in str(caught.value)


STRONG = replace(SMALL, batch=4, preset="strong", **{**PRESETS["strong"], "instances": 2,
                 "last_stride": 0})  # fmt: skip


class KilledError(Exception):
    pass


def stop_after(monkeypatch, steps):
    """Let a training die right after it saved the state of so many steps."""
    from reid_aug.stages import train_reid as module

    write = module.write_state

    def write_and_die(folder, about, step, tensors):
        write(folder, about, step, tensors)
        if step == steps:
            raise KilledError

    monkeypatch.setattr(module, "write_state", write_and_die)
    monkeypatch.setattr(module, "SAVED_EVERY", 0.0)


def test_images_that_change_during_the_training_are_one_sentence(people, tmp_path, monkeypatch):
    from reid_aug.stages import train_reid as module

    data = shutil.copytree(people, tmp_path / "data")
    dataset = read_market1501(data)
    write = module.write_tensors

    def change_and_write(*arguments):
        os.truncate(dataset.train[0].path, dataset.train[0].path.stat().st_size - 1)
        write(*arguments)

    monkeypatch.setattr(module, "write_tensors", change_and_write)

    with pytest.raises(UserError, match="data: images were changed while they were in use; bring"):
        run(data, tmp_path / "cell", Mix(dataset.train), replace(SMALL, steps=1))

    assert not (tmp_path / "cell").exists()


def test_the_log_is_flushed_before_the_state_that_relies_on_it(people, tmp_path, monkeypatch):
    from reid_aug.stages import train_reid as module

    done = []
    sync, write = module.sync, module.write_state
    monkeypatch.setattr(module, "sync", lambda log: (done.append("log"), sync(log)))
    monkeypatch.setattr(module, "write_state", lambda *a: (done.append("state"), write(*a)))
    monkeypatch.setattr(module, "SAVED_EVERY", 0.0)

    run(people, tmp_path, Mix(read_market1501(people).train), replace(SMALL, steps=2))

    assert done == ["log", "state", "log", "state", "log"]


@pytest.mark.parametrize("config", [SMALL, STRONG], ids=["plain", "strong"])
def test_a_training_that_was_stopped_ends_in_the_same_weights(
    people, bank, tmp_path, monkeypatch, config
):
    mix = Mix(read_market1501(people).train, bank, 1.0)
    config = replace(config, steps=4)
    monkeypatch.setattr(
        "reid_aug.stages.train_reid.LOGGED_EVERY", 3
    )  # so the state is of a step between
    with monkeypatch.context() as patch:
        stop_after(patch, 2)
        with pytest.raises(KilledError):
            run(people, tmp_path / "stopped", mix, config)
    assert (tmp_path / "stopped" / STATE).is_file()

    again, whole = (run(people, tmp_path / name, mix, config) for name in ("stopped", "whole"))

    ours, theirs = ((tmp_path / name) for name in ("stopped", "whole"))
    assert (ours / MODEL).read_bytes() == (theirs / MODEL).read_bytes()
    assert (ours / LOG).read_text() == (theirs / LOG).read_text()
    steps = [json.loads(line)["step"] for line in (ours / LOG).read_text().splitlines()]
    assert steps == [3, 4]
    assert again["ap"] == whole["ap"]
    assert not (ours / STATE).exists()


def test_the_state_of_another_training_is_left_alone(people, tmp_path, monkeypatch):
    mix = Mix(read_market1501(people).train)
    with monkeypatch.context() as patch:
        stop_after(patch, 1)
        with pytest.raises(KilledError):
            run(people, tmp_path, mix)

    with pytest.raises(UserError, match="an unfinished training that differs in seed"):
        run(people, tmp_path, mix, seed=1)

    assert (tmp_path / STATE).is_file()
    assert not (tmp_path / "result.json").exists()


@pytest.mark.slow
@pytest.mark.parametrize("wait", [0.5, 1.0, 2.0])
def test_a_training_that_was_killed_ends_in_the_same_weights(people, tmp_path, wait):
    script = tmp_path / "train.py"
    script.write_text(KILLED)
    folders = [tmp_path / "killed", tmp_path / "whole"]

    def start(folder):
        return subprocess.Popen([sys.executable, script, people, folder])

    process = start(folders[0])
    while not (folders[0] / LOG).is_file() or not (folders[0] / LOG).read_text():
        time.sleep(0.05)
    time.sleep(wait)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert not (folders[0] / "result.json").exists()

    assert [start(folder).wait() for folder in folders] == [0, 0]

    killed, whole = ((folder / MODEL).read_bytes() for folder in folders)
    assert killed == whole


KILLED = """
import sys
from pathlib import Path
import torch
from reid_aug.stages import train_reid as module
from reid_aug.data.dataset import read_market1501
from reid_aug.mixing import Mix
from reid_aug.stages.train_reid.settings import TrainReidConfig

module.SAVED_EVERY, module.LOGGED_EVERY = 0.0, 1
dataset, folder = read_market1501(sys.argv[1]), Path(sys.argv[2])
config = TrainReidConfig("osnet_x0_25", 60, 4, 64, 32)
module.train_reid(Mix(dataset.train), dataset, config, folder, 0, torch.device("cpu"))
"""


def test_a_data_set_that_could_not_be_evaluated_is_not_trained_on(people, tmp_path):
    dataset = read_market1501(people)
    unmatched = replace(dataset, gallery=tuple(i for i in dataset.gallery if i.pid <= 0))

    with pytest.raises(UserError, match="no query has a match in the gallery"):
        train_reid(Mix(dataset.train), unmatched, SMALL, tmp_path / "cell", 0, CPU)

    assert not (tmp_path / "cell").exists()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"backbone": "resnet5"}, r"there is no backbone 'resnet5'; did you mean resnet50\?"),
        ({"batch": 1000}, r"train_reid\.batch \(1000\) takes 1000 images at once"),
        ({"batch": 20, "instances": 2}, "needs 10 identities, and the kept set has 4"),
        ({"last_stride": 1}, r"train_reid\.last_stride must be 0 for osnet_x0_25"),
        ({"backbone": "pcb_p4", "height": 64, "bnneck": True}, "one vector of features"),
    ],
    ids=str,
)
def test_what_cannot_be_trained_is_one_sentence_before_anything_is_written(
    people, tmp_path, changes, sentence
):
    with pytest.raises(UserError, match=sentence):
        run(
            people, tmp_path / "cell", Mix(read_market1501(people).train), replace(SMALL, **changes)
        )

    assert not (tmp_path / "cell").exists()
