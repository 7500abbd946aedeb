"""Compare the keypoints of the built-in people with those of Market-1501.

    python benchmarks/people.py [--market market-annotation-train.csv]

Prints a table in markdown: how often each joint is missing, where it lies in the image of 128 x 64
pixels, the width of the shoulders and the direction that people face. With the keypoints of
Market-1501 (the file of PATN and pose-gan) it prints both side by side.
"""

import argparse
from pathlib import Path

import numpy as np

from reid_aug.data.keypoints import JOINTS, TORSO, read_keypoints
from reid_aug.people import People, PeopleConfig

PEOPLE = 70  # identities, about 900 images
RIGHT_SHOULDER, LEFT_SHOULDER = 2, 5
SIDE = 0.15  # a smaller shoulder width (in image widths) is a side view
WIDTH = 64  # pixels
RIGHT_ANKLE, LEFT_ANKLE, RIGHT_EAR, LEFT_EAR = 10, 13, 16, 17


def statistics(xy: np.ndarray) -> dict[str, list[float]]:
    """The rows of the table for keypoints (n, 18, 2) in pixels, NaN where unseen."""
    seen = ~np.isnan(xy[..., 0])
    rows = {}
    for joint, name in enumerate(JOINTS):
        x, y = xy[seen[:, joint], joint].T
        missing = 100 * (1 - seen[:, joint].mean())
        rows[name] = [missing, *np.percentile(x, [25, 50, 75]), *np.percentile(y, [25, 50, 75])]
    return rows


def summary(xy: np.ndarray) -> dict[str, float]:
    """Statistics of whole people, for keypoints (n, 18, 2)."""
    seen = ~np.isnan(xy[..., 0])
    breadth = (xy[:, LEFT_SHOULDER, 0] - xy[:, RIGHT_SHOULDER, 0]) / WIDTH
    breadth = breadth[~np.isnan(breadth)]
    quartiles = np.percentile(breadth, [25, 50, 75])
    ankles, ears = seen[:, [RIGHT_ANKLE, LEFT_ANKLE]], seen[:, [RIGHT_EAR, LEFT_EAR]]
    return {
        "both shoulders and both hips seen, %": 100 * seen[:, list(TORSO)].all(1).mean(),
        "no person found, %": 100 * (~seen).all(1).mean(),
        "both ankles missing, %": 100 * (~ankles).all(1).mean(),
        "both ears missing, %": 100 * (~ears).all(1).mean(),
        "both ears seen, %": 100 * ears.all(1).mean(),
        "shoulder width, lower quartile": quartiles[0],
        "shoulder width, median": quartiles[1],
        "shoulder width, upper quartile": quartiles[2],
        "seen from the front, %": 100 * (breadth > SIDE).mean(),
        "seen from behind, %": 100 * (breadth < -SIDE).mean(),
        "seen from the side, %": 100 * (np.abs(breadth) <= SIDE).mean(),
    }


def rendered(count: int, seed: int) -> np.ndarray:
    """The keypoints of all images of ``count`` identities, (n, 18, 2)."""
    people = People(PeopleConfig(identities=count, seed=seed))
    pids = range(1, count + 1)
    return np.array([people.draw(shot).xy for pid in pids for _, _, shot in people.files(pid)])


def table(ours: np.ndarray, market: np.ndarray | None) -> str:
    """Both tables, in markdown."""
    sources = [ours] if market is None else [ours, market]
    joints, wholes = [statistics(xy) for xy in sources], [summary(xy) for xy in sources]
    marks = "" if market is None else ", ours / Market-1501"
    lines = [
        f"| joint{marks} | missing, % | x, quartiles | y, quartiles |",
        "| --- | --- | --- | --- |",
    ]
    for name in JOINTS:
        rows = [each[name] for each in joints]
        missing = " / ".join(f"{row[0]:.0f}" for row in rows)
        x = " / ".join("{:.0f} {:.0f} {:.0f}".format(*row[1:4]) for row in rows)
        y = " / ".join("{:.0f} {:.0f} {:.0f}".format(*row[4:7]) for row in rows)
        lines.append(f"| {name.replace('_', ' ')} | {missing} | {x} | {y} |")
    lines += ["", f"| whole people{marks} | |", "| --- | --- |"]
    for name in wholes[0]:
        digits = 1 if name.endswith("%") else 2
        values = " / ".join(f"{each[name]:.{digits}f}" for each in wholes)
        lines.append(f"| {name} | {values} |")
    return "\n".join(lines)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--market", type=Path, help="keypoints of Market-1501, a CSV file")
    parser.add_argument("--people", type=int, default=PEOPLE, help="number of identities")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    market = None
    if arguments.market:
        market = np.array([pose.xy for pose in read_keypoints(arguments.market).values()])
    print(table(rendered(arguments.people, arguments.seed), market))


if __name__ == "__main__":
    main()
