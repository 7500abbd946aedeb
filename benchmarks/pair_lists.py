"""Count the pairs of a keypoint file by the published rule, and the effect of its row order.

    python benchmarks/pair_lists.py market-annotation-train.csv

Prints the number of all pairs, the SHA-256 of the list of 12,000 of them, and how many pairs that
list has in common with the list of the same file with its rows sorted by name.
"""

import argparse
import sys
from pathlib import Path

from reid_aug.data.keypoints import read_keypoints
from reid_aug.data.pair_lists import all_pairs, pairs_sha256, sampled_pairs
from reid_aug.runtime.errors import UserError


def main() -> None:
    """Print the counts of a file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("keypoints", type=Path)
    try:
        poses = read_keypoints(parser.parse_args().keypoints)
        sampled = sampled_pairs(poses)
    except UserError as error:
        sys.exit(f"error: {error}")
    pairs = all_pairs(poses)
    by_name = sampled_pairs(dict(sorted(poses.items())))
    cameras = [tuple(name.split("_")[1][:2] for name in pair) for pair in pairs]
    across = sum(source != target for source, target in cameras) / len(pairs)
    print(f"{len(poses)} rows, {len(pairs)} pairs, {100 * across:.1f} % of them across cameras")
    print(f"{len(sampled)} sampled: list {pairs_sha256(sampled)}")
    print(f"in common with the list of the rows sorted by name: {len({*sampled} & {*by_name})}")


if __name__ == "__main__":
    main()
