"""Valid files of every format, and the code of the package that reads them."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from reid_aug.backbones.checkpoint import load_reid_network
from reid_aug.bank import Bank, opening
from reid_aug.bank.shards import Shard, _commit, _read
from reid_aug.data.dataset import DataConfig, Dataset, image_size, open_image, read_market1501
from reid_aug.data.keypoints import Pose, read_keypoints
from reid_aug.data.pair_lists import read_pairs, sampled_pairs, write_pairs
from reid_aug.data.provenance import leak_status, recorded_fingerprints
from reid_aug.generator import Generator, GeneratorConfig, load_with_metadata
from reid_aug.mixing import Mix
from reid_aug.people import PeopleConfig, write_people
from reid_aug.people.folder import read_people
from reid_aug.pose_estimators.files import read_pose_files
from reid_aug.pose_estimators.graph_model import GraphModel
from reid_aug.runtime.errors import UserError
from reid_aug.runtime.weights import fitting, read_weights
from reid_aug.stages import estimate_poses, evaluate_reid
from reid_aug.stages.bank.import_ import read_csv
from reid_aug.stages.bank.verify import verify_bank
from reid_aug.stages.evaluate_generator import QUALITY_FORMAT, read_quality, table
from reid_aug.stages.recipe import load_recipe
from reid_aug.stages.synthesize import SynthesizeConfig, plan_bank, synthesize
from reid_aug.stages.train_generator import (
    describe_best,
    pairs_of,
    train_generator,
    training_metadata,
)
from reid_aug.stages.train_generator.folder import TrainingFolder
from reid_aug.stages.train_generator.settings import TrainGeneratorConfig
from reid_aug.stages.train_generator.trainer import Trainer
from reid_aug.stages.train_reid import experiment, train_reid
from reid_aug.stages.train_reid import folder as reid_folder
from reid_aug.stages.train_reid.settings import TrainReidConfig
from reid_aug.stages.train_reid.trainer import ReidTrainer
from reid_aug.stages.user_study import UserStudyConfig, outcome, write_user_study
from reid_aug.study.grid import grid_recipe, load_grid
from reid_aug.study.report import find_results, report
from tests.tfjs_graphs import write_movenet

CPU = torch.device("cpu")
SIZE = DataConfig(height=32, width=16)
NETWORK = GeneratorConfig(width=4, blocks=1)
SMALL = TrainReidConfig("osnet_x0_25", steps=3, batch=4, height=32, width=16)
RECIPE = """
seed = 3
[data]
height = 64
width = 32
keep = 0.5
[generator]
width = 8
[train_generator]
steps = 20
lr = 2e-4
[synthesize]
ratio = 0.5
method = "copies"
[train_reid]
backbone = "osnet_x0_25"
steps = 30
"""
GRID = """
recipe = "demo"
backbone = ["osnet_x0_25"]
ratio = [0.0, 1.0]
keep = [0.5, 1.0]
seed = [0, 1]
min_score = ["", "sharpness=0.5"]
[set]
"train_reid.steps" = 30
[[also]]
method = ["copies"]
"""


@dataclass(frozen=True, slots=True)
class Format:
    """A format: a folder of valid files, the one that is attacked, and its reader."""

    name: str
    folder: Path
    file: str
    read: Callable[[Path], object]
    """Reads the copy of the folder that it gets."""
    is_text: bool = True


def formats(top: Path) -> list[Format]:
    """Make one valid file of every format below ``top``."""
    people = top / "data" / "people"
    write_people(people, PeopleConfig(identities=4, test_identities=4))
    dataset, poses = read_market1501(people), read_keypoints(people / "keypoints.csv")
    parts = (_of_data, _of_bank, _of_generator, _of_reid, _of_evaluations, _of_texts)
    return [one for part in parts for one in part(top, dataset, poses)]


def _folder(top: Path, name: str) -> Path:
    folder = top / "formats" / name
    folder.mkdir(parents=True)
    return folder


Poses = dict[str, Pose]


def _of_data(top: Path, dataset: Dataset, poses: Poses) -> Iterator[Format]:
    people = dataset.train[0].path.parents[1]
    folder = _folder(top, "keypoints")
    (folder / "k.csv").write_bytes((people / "keypoints.csv").read_bytes()[:6000])
    last = (folder / "k.csv").read_text().rpartition("\n")[0]
    (folder / "k.csv").write_text(last + "\n")
    yield Format("keypoints.csv", folder, "k.csv", lambda at: read_keypoints(at / "k.csv"))
    folder = _folder(top, "image")
    (folder / "a.jpg").write_bytes(dataset.train[0].path.read_bytes())
    yield Format("image .jpg", folder, "a.jpg", lambda at: _image(at / "a.jpg"), is_text=False)
    folder = _folder(top, "png")
    from PIL import Image

    Image.open(dataset.train[0].path).save(folder / "a.png")
    yield Format("image .png", folder, "a.png", lambda at: _image(at / "a.png"), is_text=False)
    folder = _folder(top, "pairs")
    write_pairs(folder / "p.csv", sampled_pairs(poses)[:20])
    yield Format("pairs CSV", folder, "p.csv", lambda at: read_pairs(at / "p.csv"))
    folder = _folder(top, "label")
    (folder / "people.json").write_bytes((people / "people.json").read_bytes())
    yield Format("people.json", folder, "people.json", read_people)
    folder = _folder(top, "coco")
    (folder / "coco.json").write_text(json.dumps(_coco(poses)))
    yield Format("COCO JSON", folder, "coco.json", lambda at: read_pose_files(at / "coco.json"))
    folder = _folder(top, "openpose")
    people_ = {"people": [{"pose_keypoints_2d": [5.0, 6.0, 0.9] * 25}]}
    (folder / "a_keypoints.json").write_text(json.dumps(people_))
    yield Format("OpenPose JSON", folder, "a_keypoints.json", read_pose_files)
    folder = _folder(top, "movenet")
    write_movenet(folder / "model.json", np.full((17, 3), 0.5))
    yield Format("graph model", folder, "model.json", lambda at: GraphModel(at / "model.json"))
    yield from _of_journal(top, people)


def _image(path: Path) -> None:
    image_size(path)
    open_image(path)


def _coco(poses: Poses) -> dict[str, Any]:
    names = list(poses)[:4]
    return {
        "images": [{"id": i, "file_name": name} for i, name in enumerate(names)],
        "annotations": [
            {"image_id": i, "keypoints": [3, 4, 2] * 17, "score": 0.5} for i in range(len(names))
        ],
    }


def _of_journal(top: Path, people: Path) -> Iterator[Format]:
    settings = {"format": "x", "threshold": 0.2}
    folder = _folder(top, "journal")
    poses = dict(list(read_keypoints(people / "keypoints.csv").items())[:5])
    journal = estimate_poses.Journal(folder / "k.csv", settings)
    journal.close(poses)
    list(journal.kept([[(name, pose)] for name, pose in poses.items()]))

    def read(at: Path) -> object:
        return estimate_poses.Journal(at / "k.csv", settings).done()

    for name in ("k.journal", "k.json"):
        yield Format(f"estimate-poses {name}", folder, name, read)


def _of_bank(top: Path, dataset: Dataset, poses: Poses) -> Iterator[Format]:
    folder = _folder(top, "bank")
    config = SynthesizeConfig(0.5, method="copies")
    synthesize(plan_bank(dataset, poses, None, config, SIZE, 0), folder, CPU)
    path = "bank.h5"

    def here(at: Path) -> None:  # what the child process of a command does
        opening._ask = opening.read_contents
        verify_bank(Bank(at / path), dataset)

    yield Format("bank.h5", folder, path, here, is_text=False)
    yield Format("bank.h5, by a command", folder, path, lambda at: Bank(at / path), is_text=False)

    def card(at: Path) -> None:
        opening._ask = opening.read_contents
        verify_bank(Bank(at / path))

    yield Format("bank.json", folder, "bank.json", card)
    folder = _folder(top, "shard")
    shard = Shard(0, 4, folder / "0.npy")
    _commit(shard, [np.zeros((4, 8, 4, 3), np.uint8)])
    yield Format("shard .npy", folder, "0.npy", _read_shard, is_text=False)
    folder = _folder(top, "import")
    (folder / "a.jpg").touch()
    head = "file,pid,camid,source,target\n"
    (folder / "a.csv").write_text(head + "a.jpg,1,2,,\n" * 9)
    yield Format("bank import CSV", folder, "a.csv", lambda at: read_csv(at / "a.csv", at))


def _read_shard(at: Path) -> None:
    _read(Shard(0, 4, at / "0.npy"))


def _of_generator(top: Path, dataset: Dataset, poses: Poses) -> Iterator[Format]:
    folder = _folder(top, "generator")
    config = TrainGeneratorConfig(
        steps=4, batch=2, discriminator_width=4, pool=2, save_every=2, held_out=1
    )
    pairs = pairs_of(dataset.train, poses, SIZE, config, 0)
    metadata = training_metadata(pairs, NETWORK, config, dataset.train, poses)
    train_generator(pairs, NETWORK, config, folder, metadata, CPU)
    trainer = Trainer(NETWORK, config, 0, CPU)

    def checkpoint(at: Path) -> None:
        _, found = load_with_metadata(at / "generator.safetensors")
        leak_status(recorded_fingerprints(found), dataset, dataset.train)
        TrainingFolder(at, metadata).is_finished()

    def state(at: Path) -> None:
        files = TrainingFolder(at, metadata)
        step, tensors = files.newest_state()
        if step:
            with fitting(files.states, "a state of this training", "remove it"):
                trainer.restore(tensors)
            trainer.step(pairs[0], 0)
        files.open_log(step).close()
        files.learning_curve(2)

    name = "generator.safetensors"
    yield Format(name, folder, name, checkpoint, is_text=False)
    yield Format("generator state", folder, "training/00000004.safetensors", state, is_text=False)
    yield Format("generator log", folder, "training/log.jsonl", state)
    best = "training/best.safetensors"
    yield Format("best generator", folder, best, describe_best, is_text=False)
    folder = _folder(top, "pth")
    torch.save(Generator(NETWORK).state_dict(), folder / "w.pth")
    yield Format("weights .pth", folder, "w.pth", lambda at: read_weights(at / "w.pth"), False)


def _of_reid(top: Path, dataset: Dataset, poses: Poses) -> Iterator[Format]:
    folder = _folder(top, "reid") / "cell"
    mix = Mix(dataset.train)
    train_reid(mix, dataset, SMALL, folder, 0, CPU)
    about = experiment(mix, dataset, SMALL, 0)
    network = load_reid_network(folder / "model.safetensors").model
    trainer = ReidTrainer(network, SMALL, 0, CPU)
    reid_folder.write_state(folder, about, 2, trainer.state())

    def result(at: Path) -> None:
        results, faults = find_results(at)
        for style in ("terminal", "csv", "latex"):
            report(results, style)
        if faults:
            raise UserError(faults[0])

    def again(at: Path) -> None:
        reid_folder.finished(at, about)
        reid_folder.describe(at / "result.json")
        reid_folder.steps_done(at)
        reid_folder.open_log(at, 2).close()

    def state(at: Path) -> None:
        with fitting(at, "a state of this training", "remove it"):
            trainer.restore(reid_folder.read_state(at, about)[1])

    yield Format("result.json, report", folder, "result.json", result)
    yield Format("result.json, again", folder, "result.json", again)
    yield Format("re-ID log", folder, "log.jsonl", again)
    yield Format("re-ID state", folder, "state.safetensors", state, is_text=False)
    name = "model.safetensors"
    load = partial(_load_network, name=name)
    yield Format(name, folder, name, load, is_text=False)


def _load_network(at: Path, name: str) -> None:
    load_reid_network(at / name)


def _of_evaluations(top: Path, dataset: Dataset, poses: Poses) -> Iterator[Format]:
    folder = _folder(top, "evaluation")
    about = {"format": evaluate_reid.EVALUATION_FORMAT, "gallery": 4}
    scores = {"mAP": 0.5, "rank1": 0.5, "rank5": 0.6, "rank10": 0.7, "rank20": 1.0, "mINP": 0.2}
    row = {"row": "plain", "settings": {}, **scores, "queries": 2, "ap": {"a": 0.5, "b": None}}
    other = {**row, "row": "rerank", "settings": {"rerank": {"k1": 20}}}
    (folder / "e.json").write_text(json.dumps({**about, "rows": [row, other], "versions": {}}))

    def rows(at: Path) -> None:
        list(evaluate_reid.table(evaluate_reid.read_rows(at / "e.json", about)))

    yield Format("evaluation JSON", folder, "e.json", rows)
    folder = _folder(top, "quality")
    quality = {
        "format": QUALITY_FORMAT, "pairs": 3, "pairs_sha256": "a" * 64, "missing": {"FID": "none"},
        "measures": {"SSIM": {"patn": 0.5, "clean": None}},
    }  # fmt: skip
    (folder / "q.json").write_text(json.dumps(quality))
    yield Format(
        "quality.json", folder, "q.json", lambda at: list(table(read_quality(at / "q.json")))
    )
    folder = _folder(top, "study")
    crops = [np.full((8, 4, 3), 9 * i, np.uint8) for i in range(3)]
    write_user_study(crops, crops, UserStudyConfig(count=2, practice=1), folder, 0)
    key = json.loads((folder / "user_study.json").read_text())
    given = [{"image": i, "answer": "real"} for i in range(6)]
    answers = {"format": "reid_aug.answers/1", "study": key["study"], "answers": given}
    (folder / "a.json").write_text(json.dumps(answers))

    def count(at: Path) -> None:
        outcome(at, [at / "a.json"]).describe()

    yield Format("user study key", folder, "user_study.json", count)
    yield Format("user study answers", folder, "a.json", count)


def _of_texts(top: Path, dataset: Dataset, poses: Poses) -> Iterator[Format]:
    folder = _folder(top, "recipe")
    (folder / "r.toml").write_text(RECIPE)
    yield Format("recipe TOML", folder, "r.toml", lambda at: load_recipe(str(at / "r.toml")))
    folder = _folder(top, "grid")
    (folder / "g.toml").write_text(GRID)

    def grid(at: Path) -> None:
        loaded = load_grid(str(at / "g.toml"))
        recipe = grid_recipe(loaded, {})
        for cell in loaded.cells()[:50]:
            replace(recipe, seed=cell.seed)

    yield Format("grid TOML", folder, "g.toml", grid)
