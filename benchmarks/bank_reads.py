"""Measure how fast images are read from a bank, and from the same images as JPEG files.

    python benchmarks/bank_reads.py BANK

Prints random single-image reads per second, and the images per second of a shuffled DataLoader on
the bank and on JPEG files (quality 95) of the same rows in a temporary folder, in this process and
in two workers. Each figure is the median of five passes that take turns, so that the ratio holds
when the machine's speed drifts. The files are in the page cache.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from reid_aug.bank import Bank
from reid_aug.runtime.errors import UserError

PASSES, READS, BATCH = 5, 5_000, 32


class Rows(Dataset[Tensor]):
    """The images of a bank."""

    def __init__(self, bank: Bank) -> None:
        self.bank = bank

    def __len__(self) -> int:
        return len(self.bank)

    def __getitem__(self, row: int) -> Tensor:
        return torch.from_numpy(self.bank.image(row).copy())


class Files(Dataset[Tensor]):
    """The same images as files."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = paths

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, row: int) -> Tensor:
        with Image.open(self.paths[row]) as image:
            return torch.from_numpy(np.asarray(image.convert("RGB")).copy())


def write_files(bank: Bank, folder: Path) -> list[Path]:
    """Write every row as a JPEG file; return the paths."""
    paths = [folder / f"{row:06d}.jpg" for row in range(len(bank))]
    for row, path in enumerate(paths):
        Image.fromarray(bank.image(row)).save(path, quality=95)
    return paths


def reads_per_second(bank: Bank) -> float:
    """The rate of random single-image reads."""
    rows = np.random.default_rng(0).integers(len(bank), size=READS).tolist()
    return _rate(READS, lambda: [bank.image(row) for row in rows])


def images_per_second(data: Dataset[Tensor], workers: int) -> float:
    """The rate of one shuffled pass of a DataLoader."""
    order = torch.Generator().manual_seed(0)
    loader = DataLoader(data, BATCH, shuffle=True, num_workers=workers, generator=order)
    return _rate(len(data), lambda: sum(len(batch) for batch in loader))  # type: ignore[arg-type]


def _rate(count: int, work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return count / (time.perf_counter() - began)


def main(words: Sequence[str] | None = None) -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bank", type=Path)
    try:
        bank = Bank(parser.parse_args(words).bank)
    except UserError as error:
        sys.exit(f"error: {error}")
    with tempfile.TemporaryDirectory() as folder:
        files = Files(write_files(bank, Path(folder)))
        reads_per_second(bank)  # the first pass warms up
        print(f"{len(bank)} images of {bank.height}x{bank.width}")
        rate = statistics.median(reads_per_second(bank) for _ in range(PASSES))
        print(f"random single reads: {rate:.0f} per second")
        for workers in (0, 2):
            pairs = [
                [images_per_second(data, workers) for data in (Rows(bank), files)]
                for _ in range(PASSES)
            ]
            ours, theirs = (statistics.median(column) for column in zip(*pairs, strict=True))
            ratio = statistics.median(a / b for a, b in pairs)
            print(
                f"DataLoader, {workers} workers: bank {ours:.0f}, JPEG {theirs:.0f} images per "
                f"second; ratio {ratio:.1f}"
            )


if __name__ == "__main__":
    main()
