"""Train a :class:`FlowGenerator` on the pairs of a data set, drawn as train-generator does it.

    python -m flow_generator DATA --steps N --out FILE [--keep K] [--start FILE] [--batch B]
        [--lr LR] [--seed S] [--bf16]

DATA is a data set of reid-aug with keypoints.csv; only its kept training images are used, and their
fingerprints are written into the checkpoint, so reid-aug knows its leak status. Prints the loss and
the seconds of the processor.
"""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel

import reid_aug as ra
from flow_generator.network import FlowConfig, FlowGenerator, known_planes, metadata_of
from reid_aug.data.dataset import DataConfig, kept
from reid_aug.data.keypoints import read_keypoints
from reid_aug.data.provenance import fingerprints, joined_fingerprints, recorded_fingerprints
from reid_aug.generator import load_with_metadata, to_signed
from reid_aug.runtime.errors import UserError
from reid_aug.runtime.weights import write_tensors
from reid_aug.stages.train_generator.pairs import PairBatch, Pairs

EMA = 0.998  # largest decay of the running average of the weights
WARM_UP = 100  # steps over which the learning rate rises
LOGGED = 100  # steps between two lines of output


def flow_loss(network: FlowGenerator, pairs: PairBatch, random: torch.Generator) -> Tensor:
    """The squared error of the predicted image at one random time per pair."""
    images, truth = to_signed(pairs.image), to_signed(pairs.truth)
    known = known_planes(images, pairs.source, pairs.target)
    noise = torch.randn(truth.shape, generator=random).to(truth.device)
    when = torch.rand(len(truth), generator=random).to(truth.device)
    point = torch.lerp(noise, truth, when[:, None, None, None])
    cameras = pairs.cameras if network.config.cameras else None
    return F.mse_loss(network(point, when, known, cameras).float(), truth)


def running_average(average: Tensor, current: Tensor, count: Tensor | int) -> Tensor:
    """The running average of a weight; early in a training it forgets faster.

    Args:
        count: number of steps before this one.
    """
    decay = min(EMA, (1 + int(count)) / (10 + int(count)))
    return torch.lerp(average, current, 1 - decay)


def train(
    pairs: Pairs,
    network: FlowGenerator,
    lr: float,
    seed: int,
    bf16: bool = False,
    device: torch.device = torch.device("cpu"),
) -> FlowGenerator:
    """Train ``network`` on all steps of ``pairs``; the running average of its weights."""
    network.to(device).train()
    averaged = AveragedModel(network, avg_fn=running_average)
    optimizer = torch.optim.AdamW(network.parameters(), lr=lr, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, lr, total_steps=len(pairs) + 1, pct_start=min(0.3, WARM_UP / len(pairs))
    )
    random, began, losses = torch.Generator().manual_seed(seed), time.process_time(), []
    for step in range(len(pairs)):
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            loss = flow_loss(network, pairs[step].to(device), random)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        averaged.update_parameters(network)
        losses.append(float(loss.detach()))
        if (step + 1) % LOGGED == 0 or step + 1 == len(pairs):
            mean = sum(losses) / len(losses)
            seconds = time.process_time() - began
            print(f"step {step + 1}: loss {mean:.4f}, {seconds:.0f} s of the processor", flush=True)
            losses.clear()
    result: FlowGenerator = averaged.module.eval()
    return result


def main(words: Sequence[str] | None = None) -> None:
    """Read the data set, train, and write the checkpoint."""
    parser = argparse.ArgumentParser(prog="flow_generator", description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, metavar="DATA", help="a data set with keypoints.csv")
    parser.add_argument("--steps", type=int, required=True, help="training steps")
    parser.add_argument("--out", type=Path, required=True, help="the checkpoint to write")
    parser.add_argument("--keep", type=float, default=1.0, help="part of the images, as reid-aug's")
    parser.add_argument("--start", type=Path, help="a checkpoint to train on")
    parser.add_argument("--batch", type=int, default=8, help="pairs per step")
    parser.add_argument("--lr", type=float, default=1e-3, help="largest learning rate")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--height", type=int, default=128, help="of the images, in pixels")
    parser.add_argument("--width", type=int, default=64, help="of the images, in pixels")
    parser.add_argument("--bf16", action="store_true", help="train in bfloat16")
    given = parser.parse_args(words)
    if given.out.exists():
        parser.error(f"{given.out} exists; name another file")
    try:
        _train_and_write(given)
    except UserError as error:
        parser.error(str(error))


def _train_and_write(given: argparse.Namespace) -> None:
    torch.manual_seed(given.seed)
    dataset = ra.read_dataset(given.data)
    real, poses = kept(dataset.train, given.keep), read_keypoints(given.data / "keypoints.csv")
    size = DataConfig(given.height, given.width)
    pairs = Pairs(
        real, poses, size, steps=given.steps, batch=given.batch, seed=given.seed, flip=True
    )
    seen = [fingerprints(real)]
    if given.start:
        network, before = load_with_metadata(given.start, FlowGenerator)
        seen.append(recorded_fingerprints(before))
    else:
        network = FlowGenerator(FlowConfig(cameras=max(image.camid for image in dataset.train)))
    trained = train(pairs, network, given.lr, given.seed, given.bf16)
    about = {"steps": given.steps, "seed": given.seed, "trained_on": joined_fingerprints(seen)}
    write_tensors(given.out, trained.state_dict(), about | metadata_of(trained.config))
    print(given.out)
