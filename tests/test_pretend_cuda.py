"""Every stage on a pretend GPU, and a planted fault in each that the pretend GPU must find."""

import inspect
import json
import textwrap

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from reid_aug.bank import Bank
from reid_aug.bank.methods.generator import GeneratorMethod
from reid_aug.bank.methods.limb_warp import LimbWarpMethod
from reid_aug.evaluation import features, reranking
from reid_aug.image_quality import networks
from reid_aug.stages import (
    evaluate_generator,
    evaluate_reid,
    synthesize,
    train_generator,
    train_reid,
)
from reid_aug.stages.bank import score
from reid_aug.stages.stage import open_stage
from reid_aug.stages.train_generator.trainer import Trainer
from reid_aug.stages.train_reid.trainer import ReidTrainer
from reid_aug.study.report import flips
from tests.pretend_cuda import pretend_cuda

SMALL = (
    "data.height=32", "data.width=16", "generator.width=4", "generator.blocks=1",
    "generator.cameras=6", "generator.limbs=true", "train_generator.steps=2",
    "train_generator.batch=2", "train_generator.discriminator_width=4",
    "train_generator.discriminator_blocks=1", "train_generator.discriminator_start=0.5",
    "train_generator.save_every=2", "train_generator.held_out=1", "train_generator.pool=2",
    "train_generator.identity_model=", "train_generator.bf16=false", "synthesize.batch=8",
    "synthesize.cameras=target", "train_reid.backbone=resnet18", "train_reid.steps=2",
    "train_reid.batch=4", "train_reid.height=32", "train_reid.width=16", "train_reid.workers=0",
)  # fmt: skip
BFLOAT16 = ("train_generator.bf16=true", "train_reid.bf16=true")
MIXED = "Expected all tensors to be on the same device"


@pytest.fixture
def cuda():
    with pretend_cuda():
        yield torch.device("cuda")


@pytest.fixture
def open_run(people, tmp_path):
    def opened(*settings, device="cuda"):
        return open_stage(None, str(people), str(tmp_path / "run"), device, None, SMALL + settings)

    return opened


@pytest.fixture(scope="module")
def trained(people, tmp_path_factory):
    """A generator and two re-ID networks, trained on the CPU."""
    out = str(tmp_path_factory.mktemp("trained"))
    stage = open_stage(None, str(people), out, "cpu", None, SMALL)
    train_generator.prepare(stage).run()
    bank = synthesize.prepare(stage, 0.5).run()
    paths = [train_reid.prepare(stage, ratio=ratio).run() for ratio in (0, 0.5)]
    return stage.run.generator, bank, [path.with_name("model.safetensors") for path in paths]


def test_the_pretend_device_computes_and_keeps_its_results(cuda):
    numbers = torch.tensor([1.0, 2.0], device=cuda)

    assert numbers.device == torch.device("cuda:0")
    assert numbers.to("cuda") is numbers
    assert (2 * numbers + torch.tensor(1.0)).tolist() == [3.0, 5.0]
    assert numbers[torch.tensor([1])].is_cuda
    assert not numbers.cpu().is_cuda
    assert torch.zeros(3, device=cuda).is_cuda
    assert torch.zeros_like(numbers).is_cuda
    assert numbers.double().is_cuda


@pytest.mark.parametrize(
    "refused",
    [
        lambda numbers: numbers + torch.ones(2),
        lambda numbers: torch.stack([numbers[0], torch.tensor(1.0)]),
        lambda numbers: torch.ones(2)[numbers.long() - 1],
        lambda numbers: torch.tensor(1.0).add_(numbers[0]),
        lambda numbers: F.embedding(torch.tensor([0]), numbers[:, None]),
        lambda numbers: nn.Linear(2, 2)(numbers),
        lambda numbers: numbers.numpy(),
        lambda numbers: np.asarray(numbers),
        lambda numbers: torch.randn(2, device="cuda", generator=torch.Generator()),
    ],
    ids=[
        "sum", "stack", "index", "in place", "embedding", "linear", "numpy", "asarray", "generator",
    ],
)  # fmt: skip
def test_the_pretend_device_refuses_what_cuda_refuses(cuda, refused):
    with pytest.raises((RuntimeError, TypeError), match=r"same device|host memory|'cuda' device"):
        refused(torch.tensor([1.0, 2.0], device=cuda))


@pytest.mark.parametrize("is_half", [False, True])
def test_a_network_on_the_pretend_device_trains_as_on_the_cpu(is_half):
    def trained_on(device):
        torch.manual_seed(0)
        network = nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(144, 2)
        )
        weight = network[0].weight
        network.to(device).to(memory_format=torch.channels_last)
        assert network[0].weight is weight
        optimiser = torch.optim.Adam(network.parameters(), 0.1, fused=True)
        for _ in range(3):
            with torch.autocast(device.type, torch.bfloat16, enabled=is_half):
                logits = network(torch.randn(2, 3, 8, 8).to(device))
            assert logits.dtype == (torch.bfloat16 if is_half else torch.float32)
            optimiser.zero_grad()
            F.cross_entropy(logits.float(), torch.tensor([0, 1]).to(device)).backward()
            optimiser.step()
        return weight.detach().cpu().numpy()

    expected = trained_on(torch.device("cpu"))
    with pretend_cuda():
        found = trained_on(torch.device("cuda"))

    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_the_autocast_of_the_cpu_has_no_effect_on_the_pretend_device(cuda):
    layer = nn.Linear(2, 2).to(cuda)
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(torch.ones(1, 2, device=cuda)).dtype == torch.float32


def test_nothing_remains_of_the_pretend_device():
    def state():
        return torch.cuda.is_available, torch.autocast, torch.tensor, torch.Tensor.to

    before = state()
    with pretend_cuda():
        inside = state()

    assert not [one for one, other in zip(inside, before, strict=True) if one is other]
    assert state() == before
    assert type(torch.ones(1).to("cpu")) is torch.Tensor


def run_train_generator(stage, trained):
    path = train_generator.prepare(stage).run()
    lines = (stage.run.path / "training" / "log.jsonl").read_text().splitlines()
    last = json.loads(lines[-1])
    assert {"l1", "fool_pose", "identity", "held_out_ssim"} <= last.keys()
    assert path.is_file()


def run_synthesize(stage, trained):
    bank = Bank(synthesize.prepare(stage, 0.5, generator=str(trained[0])).run())
    on_cpu = Bank(trained[1])
    apart = bank.images(0, len(bank)).astype(int) - on_cpu.images(0, len(bank))
    assert abs(apart).max() <= 1


def run_limb_warp(stage, trained):
    stage = stage.with_options({"synthesize.method": "limb-warp", "synthesize.cameras": "source"})
    assert len(Bank(synthesize.prepare(stage, 0.5).run()))


def run_score(stage, trained):
    found = score.score_bank(
        Bank(trained[1]), stage.dataset, {"scorer": trained[2][0]}, stage.device
    )
    assert {"identity", "margin"} <= found.keys()


def run_train_reid(stage, trained):
    result = json.loads(train_reid.prepare(stage, ratio=0.5, bank=trained[1]).run().read_text())
    if not stage.recipe.train_reid.bf16 and stage.recipe.train_reid.preset == "plain":
        on_cpu = json.loads(trained[2][1].with_name("result.json").read_text())
        assert result["mAP"] == pytest.approx(on_cpu["mAP"], abs=1e-3)
    assert result["device"] == "cuda"


def run_strong(stage, trained):
    strong = {"train_reid.preset": "strong", "train_reid.instances": 2}
    run_train_reid(stage.with_options(strong), trained)


def run_evaluate_reid(stage, trained):
    job = evaluate_reid.prepare(stage, trained[2][0], True, str(trained[0]), 2)
    job.run()
    assert [row["row"] for row in job.results()] == [
        "plain", "centralised", "rerank", "centralised + rerank",
    ]  # fmt: skip


def run_rank(stage, trained):
    assert evaluate_reid.prepare_ranking(stage, trained[2][0], "worst", 2, 3).run().is_file()


def run_evaluate_generator(stage, trained):
    weights = {"reid": str(trained[2][0])}
    job = evaluate_generator.prepare(stage, str(trained[0]), count=8, weights=weights)
    measures = json.loads(job.run().read_text())["measures"]
    assert json.dumps(measures).count("identity")


def run_flips(stage, trained):
    ranking = flips._Ranking(trained[2][0], stage.dataset, stage.device)
    assert len(ranking.first_hits()) == len(stage.dataset.query)


# for each stage: a run of it, and a fault: a function, a text in it, and what replaces the text
STAGES = {
    "train-generator": (
        run_train_generator, (Trainer, "_inputs", "batch.to(self.device)", "batch"),
    ),
    "synthesize": (
        run_synthesize, (GeneratorMethod, "compute", ".to(self.device) for", " for"),
    ),
    "synthesize, limb warp": (
        run_limb_warp, (LimbWarpMethod, "compute", ".cpu().numpy()", ".numpy()"),
    ),
    "bank score": (
        run_score, (score.NetworkScore, "scores", "inputs.to(self.device)", "inputs"),
    ),
    "train-reid": (
        run_train_reid, (ReidTrainer, "__init__", "model.to(device)", "model"),
    ),
    "train-reid, strong": (
        run_strong, (ReidTrainer, "_losses", "labels, takes_part", "labels.cpu(), takes_part"),
    ),
    "reid evaluate": (
        run_evaluate_reid, (reranking, "rerank", ".clamp_(min=0).cpu()", ".clamp_(min=0)"),
    ),
    "reid rank": (
        run_rank, (evaluate_reid.EvaluatedNetwork, "ranking", "distances.cpu()", "distances"),
    ),
    "generator evaluate": (
        run_evaluate_generator, (networks.Network, "planes", ".to(self.device)", ""),
    ),
    "report": (
        run_flips, (features, "extract_features", "batch.to(device)", "batch"),
    ),
}  # fmt: skip


def plant(monkeypatch, owner, name, old, new):
    """Replace a text in the code of a function, wherever it has been imported."""
    function = inspect.unwrap(vars(owner)[name])
    source = textwrap.dedent(inspect.getsource(function))
    assert source.count(old) == 1
    scope = dict(function.__globals__)
    exec(source.replace(old, new), scope)
    monkeypatch.setattr(function, "__code__", inspect.unwrap(scope[name]).__code__)


def identity_of(trained):
    return f"train_generator.identity_model={trained[2][0]}"


@pytest.mark.parametrize("run", [run for run, _ in STAGES.values()], ids=STAGES)
def test_a_stage_runs_on_the_pretend_device(cuda, open_run, trained, run):
    run(open_run(identity_of(trained)), trained)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("run", [run for run, _ in STAGES.values()], ids=STAGES)
def test_a_stage_runs_on_a_gpu(open_run, trained, run):
    run(open_run(identity_of(trained)), trained)


@pytest.mark.parametrize("run", [run_train_generator, run_train_reid, run_strong])
def test_a_training_in_bfloat16_runs_on_the_pretend_device(cuda, open_run, trained, run):
    run(open_run(identity_of(trained), *BFLOAT16), trained)


@pytest.mark.parametrize(("run", "fault"), STAGES.values(), ids=STAGES)
def test_a_planted_fault_is_found(cuda, open_run, trained, monkeypatch, run, fault):
    plant(monkeypatch, *fault)

    with pytest.raises((RuntimeError, TypeError), match=f"{MIXED}|host memory"):
        run(open_run(identity_of(trained)), trained)
