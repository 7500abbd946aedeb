"""The background of the target: whose pixels a generated image has where."""

import numpy as np
import pytest
import torch

from reid_aug.bank import Bank
from reid_aug.bank.methods import Scene, method_named
from reid_aug.bank.methods.background import completed, over_target, person_mask
from reid_aug.data.dataset import DataConfig, read_image, read_market1501
from reid_aug.data.keypoints import read_keypoints
from reid_aug.generator import Generator, GeneratorConfig, save_generator
from reid_aug.generator.limb_warp import warp_limbs
from reid_aug.people import read_people
from reid_aug.runtime.errors import UserError
from reid_aug.stages.synthesize import SynthesizeConfig, plan_bank, synthesize

SIZE = (128, 64)
CPU = torch.device("cpu")
STANDING = [
    (32, 12), (32, 24), (24, 25), (21, 40), (20, 54), (40, 25), (43, 40), (44, 54), (27, 60),
    (26, 84), (25, 110), (37, 60), (38, 84), (39, 110), (30, 10), (34, 10), (28, 12), (36, 12),
]  # fmt: skip


@pytest.fixture
def checkpoint(tmp_path):
    path = tmp_path / "generator.safetensors"
    save_generator(Generator(GeneratorConfig(width=4, blocks=1, cameras=6)), path)
    return path


def pose_without(*joints):
    pose = torch.tensor(STANDING, dtype=torch.float32)[None]
    pose[:, list(joints)] = torch.nan
    return pose


def job_of(people, checkpoint, method, **more):
    dataset, poses = read_market1501(people), read_keypoints(people / "keypoints.csv")
    config = SynthesizeConfig(ratio=0.25, method=method, cameras="target", **more)
    return plan_bank(dataset, poses, checkpoint, config, DataConfig(*SIZE), 0)


def masks_of(job):
    """The mask of every row, (N, H, W, 1) in [0, 1]."""
    poses = torch.from_numpy(np.stack([job.method.keypoints(row) for row in job.rows]))
    return person_mask(poses, SIZE).permute(0, 2, 3, 1).numpy()


def targets_of(job):
    return np.stack([read_image(row.target.path, *SIZE) for row in job.rows])


def test_the_mask_has_the_limbs_a_margin_and_nothing_else():
    pose = pose_without()

    mask, cover = person_mask(pose, SIZE)[0, 0], warp_limbs(torch.zeros(1, 3, *SIZE), pose, pose)[1]

    assert torch.all(mask[cover[0, 0] == 1] == 1)
    assert mask[100, 25] == mask[100, 38] == 1
    # the torso is 35 pixels long, so a wrist is 3.5 wide to either side; margin 4, soft edge 2
    assert mask[:, :10].max() == mask[:, 54:].max() == 0


def test_the_mask_covers_true_people(people):
    dataset, poses, drawn = (
        read_market1501(people), read_keypoints(people / "keypoints.csv"), read_people(people)
    )  # fmt: skip
    inside, outside = [], []
    for image in dataset.train[::4]:
        pose = poses[image.name]
        if pose.has_torso:
            truth = drawn.draw(drawn.transferred(image.name, image.name, None)).mask
            mask = person_mask(torch.from_numpy(pose.xy)[None], truth.shape)[0, 0].numpy()
            inside.append(mask[truth > 0].mean())
            outside.append(mask[truth == 0].mean())

    assert np.mean(inside) > 0.93
    assert np.mean(outside) < 0.4


@pytest.mark.parametrize("joint", [2, 5, 8, 11])
def test_a_pose_without_a_torso_has_no_mask(joint):
    generated, target = torch.rand(2, 1, 3, *SIZE)

    assert torch.equal(person_mask(pose_without(joint), SIZE), torch.ones(1, 1, *SIZE))
    assert torch.equal(over_target(generated, target, pose_without(joint)), generated)


def test_unseen_legs_and_heads_are_placed_along_the_body():
    whole = completed(pose_without(0, 1, 9, 10, 13, 14, 15, 16, 17))[0]

    assert whole[9].tolist() == [27, 95]  # the hip, and the torso downwards
    assert whole[10].tolist() == [27, 130]
    assert whole[13].tolist() == [39, 108]  # the knee, and the thigh again
    assert whole[1].tolist() == [32, 25]
    assert whole[0].tolist() == pytest.approx([32, 25 - 0.35 * 35])
    assert torch.equal(completed(pose_without()), pose_without())


def test_an_unseen_arm_stays_unseen():
    assert completed(pose_without(3, 4)).isnan().any(2).nonzero()[:, 1].tolist() == [3, 4]


def test_a_generated_person_stands_before_the_background_of_the_target(people, checkpoint):
    plain, job = (
        job_of(people, checkpoint, "generator", background=background)
        for background in ("generated", "target")
    )
    rows = slice(8)

    own, over = (one.method.generate(one.rows[rows]).astype(float) for one in (plain, job))

    mask, target = masks_of(job)[rows], targets_of(job)[rows]
    assert np.array_equal(
        over[np.broadcast_to(mask == 0, over.shape)], target[np.broadcast_to(mask == 0, over.shape)]
    )
    assert np.array_equal(
        over[np.broadcast_to(mask == 1, over.shape)], own[np.broadcast_to(mask == 1, over.shape)]
    )
    assert np.abs(over - (mask * own + (1 - mask) * target)).max() < 1.01
    assert 0.1 < (mask == 0).mean() < 0.9


def test_moved_limbs_stand_before_the_background_of_the_target(people):
    job = job_of(people, None, "limb-warp", background="target")

    images = job.method.generate(job.rows).astype(float)

    mask, target = masks_of(job), targets_of(job)
    outside = np.broadcast_to(mask == 0, images.shape)
    sources, poses = job.method.sources(job.rows), torch.from_numpy(job.method.poses(job.rows))
    moved, cover = warp_limbs(torch.from_numpy(sources).permute(0, 3, 1, 2).float(), *poses)
    limbs = np.broadcast_to(cover.permute(0, 2, 3, 1).numpy() == 1, images.shape)
    person = np.broadcast_to(mask == 1, images.shape) & ~limbs
    assert np.array_equal(images[outside & ~limbs], target[outside & ~limbs])
    assert np.abs(images - moved.permute(0, 2, 3, 1).numpy())[limbs].max() <= 0.5
    assert np.abs(images - target)[person].mean() > 5  # the other person is gone


def test_the_plan_and_the_description_of_a_bank_name_the_background(people, checkpoint, tmp_path):
    from reid_aug.stages.bank.verify import describe

    config = {"background": "target"}
    bank = Bank(synthesize(job_of(people, checkpoint, "generator", **config), tmp_path, CPU))
    copies = SynthesizeConfig(ratio=0.25, method="copies")
    dataset, poses = read_market1501(people), read_keypoints(people / "keypoints.csv")

    assert bank.plan.background == "target"
    assert "camera of the: target; background: target; seed 0" in "\n".join(describe(bank))
    planned = plan_bank(dataset, poses, None, copies, DataConfig(*SIZE), 0)
    assert planned.attributes.plan.background is None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"background": "sky"}, "background must be one of generated, target, got 'sky'"),
        ({"background": "target"},
         "for cameras source, got 'target'; set synthesize.background to generated"),
        ({"background": "target", "cameras": "target", "method": "renderer"},
         "background must be generated for method renderer"),
        ({"cameras": "target", "method": "limb-warp"},
         "cameras must be source, or background target for method limb-warp"),
    ],
)  # fmt: skip
def test_a_background_that_cannot_be_shown_is_refused(settings, message):
    with pytest.raises(UserError, match=message):
        SynthesizeConfig(**settings)


def test_only_methods_that_compute_a_person_use_it():
    named = {name: method_named(name).uses_background for name in ("copies", "renderer")}

    assert named == {"copies": False, "renderer": False}
    assert method_named("generator").uses_background
    assert method_named("limb-warp").uses_background
    assert Scene.__dataclass_fields__["background"].default == "generated"
