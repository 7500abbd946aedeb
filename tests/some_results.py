"""Made-up results for tests of tables, in the form that train-reid writes."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from reid_aug.study.report.results import Result, result_from

BASELINE, MIXED = (0.50, 0.52, 0.54), (0.56, 0.57, 0.61)
RECIPE = {
    "backbone": "osnet_x0_25", "steps": 300, "batch": 32, "height": 64, "width": 32, "lr": 1e-3,
    "weight_decay": 5e-4, "schedule": "cosine", "label_smooth": True, "flip": True, "crop": True,
    "erase": False, "weights": "", "workers": 0,
}  # fmt: skip


def result(ratio: float, seed: int, score: float, **changes: Any) -> dict[str, Any]:
    return {
        "format": "reid_aug.result/1",
        "mAP": score,
        "rank1": min(1.0, score + 0.1),
        "rank5": 0.9,
        "rank10": 0.95,
        "rank20": 0.97,
        "mINP": score / 2,
        "ap_definition": "step",
        "queries": 10,
        "gallery": 40,
        "ap": {},
        "mode": "supplement",
        "ratio": ratio,
        "keep": 0.2,
        "keep_seed": 0,
        "real": 120,
        "generated": int(120 * ratio),
        "generator_data": "external" if ratio else None,
        "starting_weights": None,
        "dataset_sha256": "d" * 64,
        "leak_free": True,
        "bank_sha256": "0" * 64 if ratio else None,
        "seed": seed,
        "backbone": "osnet_x0_25",
        "recipe": RECIPE,
        "steps": 300,
        "classes": 60,
        "parameters": 200_000,
        "device": "cpu",
        "threads": 1,
        "host": "somewhere",
        "seconds": 61.5,
        "versions": {},
        **changes,
    }


def results(ratio: float, scores: tuple[float, ...], **changes: Any) -> list[dict[str, Any]]:
    return [result(ratio, seed, score, **changes) for seed, score in enumerate(scores)]


def records(contents: Iterable[Mapping[str, Any]], file: str = "result.json") -> list[Result]:
    return [result_from(content, file) for content in contents]


def write(folder: Path, *given: dict[str, Any]) -> None:
    for number, one in enumerate(given):
        place = folder / "reid" / f"cell{number}"
        place.mkdir(parents=True)
        (place / "result.json").write_text(json.dumps(one))
