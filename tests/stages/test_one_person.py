"""One person in given poses, and on a walk around the circle."""

import numpy as np
import pytest
import torch
from PIL import Image
from tfjs_graphs import write_movenet

from reid_aug.data.dataset import read_market1501
from reid_aug.data.keypoints import DIRECTIONS, read_keypoints, write_keypoints
from reid_aug.generator import Generator, GeneratorConfig, generate, save_generator
from reid_aug.runtime.errors import UserError
from reid_aug.stages import pose, walk
from reid_aug.stages.stage import open_stage
from reid_aug.stages.walk import WalkConfig


@pytest.fixture
def dataset(people):
    return read_market1501(people)


@pytest.fixture
def poses(people):
    return read_keypoints(people / "keypoints.csv")


@pytest.fixture
def source(dataset, poses):
    return next(image for image in dataset.train if poses[image.name].seen.sum() > 14)


def stage_of(people, tmp_path, cameras=6, keypoints=None):
    torch.manual_seed(0)
    network = Generator(GeneratorConfig(width=4, blocks=1, cameras=cameras))
    save_generator(network, tmp_path / "run/generator.safetensors")
    sizes = ("data.height=32", "data.width=16")
    options = {"device": "cpu", "settings": sizes, "keypoints": keypoints}
    return open_stage(data=str(people), out=str(tmp_path / "run"), **options), network.eval()


def save(image, path):
    with Image.open(image) as file:
        file.save(path)


def test_a_person_is_shown_in_poses_of_library_keypoints_and_images(
    people, tmp_path, source, dataset, poses
):
    stage, network = stage_of(people, tmp_path)
    other = next(i for i in dataset.query if poses[i.name].has_torso)
    file = tmp_path / dataset.gallery[-1].name
    save(other.path, file)
    write_movenet(tmp_path / "movenet.json", np.full((17, 3), 0.5))

    job = pose.prepare(
        stage,
        source.name,
        ["walk/3", "stand/0/front", other.name, str(other.path)],
        weights=str(tmp_path / "movenet.json"),
    )

    assert len(job.poses) == 8 + 3
    assert [*job.poses][:8] == [f"walk/3/{direction}" for direction in DIRECTIONS]
    assert job.describe() == (
        f"{source.name} in 11 poses, by generator {tmp_path}/run/generator.safetensors"
    )
    assert job.poses[other.name].xy == pytest.approx(job.poses[str(other.path)].xy, nan_ok=True)
    assert job.cost(torch.device("cpu")).bytes == 11 * 2 * 3 * 32 * 16 * 4
    assert job.run() == tmp_path / "run/poses" / f"{source.path.stem}.png"
    with Image.open(job.path) as picture:
        assert picture.width == 6 * (2 * 32 + 8) - 8
    target = job.poses["stand/0/front"].xy[None]
    own = poses[source.name].resized((128, 64), (32, 16)).xy[None]
    cameras = np.array([source.camid])
    wanted = generate(network, job.person.image()[None], own, target, cameras, cameras)
    assert np.array_equal(job.person.generate([job.poses["stand/0/front"]])[0], wanted[0])


def test_a_walk_is_an_animation_and_a_sheet_and_the_same_bytes_again(people, tmp_path, source):
    stage, _ = stage_of(people, tmp_path)

    job = walk.prepare(stage, source.name, WalkConfig(frames=9, zoom=3))

    assert job.cost(torch.device("cpu")).bytes == 9 * 2 * 3 * 32 * 16 * 9
    assert not job.path.exists()
    assert job.run() == tmp_path / "run/walks" / f"{source.path.stem}.gif"
    with Image.open(job.path) as animation:
        assert (animation.n_frames, animation.size) == (9, (2 * 16 * 3, 32 * 3))
        assert (animation.info["loop"], animation.info["duration"]) == (0, 80)
    assert job.outcome() == f"contact sheet: {job.path.with_suffix('.png')}"
    with Image.open(job.sheet) as sheet:
        assert sheet.size == (6 * (2 * 32 + 8) - 8, 18 + 2 * (64 + 18) + 18)
    before = [path.read_bytes() for path in (job.path, job.sheet)]
    walk.prepare(stage, source.name, WalkConfig(frames=9, zoom=3)).run()
    assert before == [path.read_bytes() for path in (job.path, job.sheet)]


def test_any_image_file_with_keypoints_of_a_file_of_its_own(people, tmp_path, source, poses):
    save(source.path, tmp_path / "me.png")
    write_keypoints(tmp_path / "me.csv", {"me.png": poses[source.name]})
    stage, _ = stage_of(people, tmp_path, keypoints=str(tmp_path / "me.csv"))

    job = pose.prepare(stage, str(tmp_path / "me.png"), ["walk/0/front"], camera=2)

    assert (job.person.camid, job.path.name) == (2, "me.png")


def refusal(stage, source, poses=("walk",), **options):
    with pytest.raises(UserError) as error:
        pose.prepare(stage, source, poses, **options)
    return str(error.value)


def test_what_cannot_be_posed_is_one_sentence(people, tmp_path, source, dataset, poses):
    stage, _ = stage_of(people, tmp_path)
    checkpoint, file = tmp_path / "run/generator.safetensors", people / "keypoints.csv"
    save(source.path, tmp_path / "me.png")

    assert refusal(stage, "nobody") == (
        "nobody: SOURCE must be an image file, or the file name of an image of the data set, got "
        "neither"
    )
    assert refusal(stage, source.name, ["wolk/3"]) == (
        f"wolk/3: POSE must be a name of the pose library, as walk/3/front or walk/3, a name in "
        f"{file}, or an image file, got none of them"
    )
    assert refusal(stage, str(tmp_path / "me.png")) == (
        f"me.png: the image must be of a camera from 1 to 6 for the camera-conditioned generator "
        f"{checkpoint}, got no camera; name the most similar one with --camera N"
    )
    assert refusal(stage, str(tmp_path / "me.png"), camera=1) == (
        f"me.png: must have keypoints in {file}, got none; name its keypoint file with "
        f"--keypoints FILE, or weights of a pose estimator with --weights FILE"
    )
    bare = next(i for i in (*dataset.train, *dataset.gallery) if not poses[i.name].has_torso)
    assert refusal(stage, bare.name) == (
        f"{bare.name}: both shoulders and both hips must be seen, got "
        f"{int(poses[bare.name].seen.sum())} joints without these four; choose another image"
    )
    plain, _ = stage_of(people, tmp_path, cameras=0)
    assert refusal(plain, source.name, camera=2) == (
        f"--camera must not be given for a generator that is not camera-conditioned, "
        f"{checkpoint}, got 2"
    )


@pytest.mark.parametrize("wrong", [{"frames": 7}, {"zoom": 0}, {"zoom": 9}])
def test_a_walk_of_another_size_is_refused(wrong):
    with pytest.raises(UserError, match=r"frames must be 8 or more and zoom in 1\.\.8"):
        WalkConfig(**wrong)
