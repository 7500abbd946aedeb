"""More training data for person re-identification, and an honest answer to whether it helps.

The public library is what this module names, imported on first use: ``import reid_aug as ra`` loads
neither torch nor torchreid, and ``ra.Bank`` loads what a bank needs. The stages are modules with
the name of their command, as ``ra.synthesize``.

Packages in order of dependency; each imports only those above it:

- runtime: errors, files, weights, progress, processes
- data: data set, keypoints, formats, checks, provenance
- people: the built-in data set
- pose_estimators: a crop -> 18 joints
- generator: the PATN network, its checkpoints and discriminators
- backbones: re-ID networks
- image_quality: metrics of generated images
- bank: the HDF5 file of generated images
- evaluation: distances -> mAP, CMC, mINP
- mixing: the training set out of real and generated images
- stages: every command that writes a file of the contract
- study: grids of trainings, benchmark, report
- cli: the command line
"""

from importlib import import_module
from typing import Any

__version__ = "0.2.0"

_HOMES = {
    "reid_aug.data.dataset": (
        "Dataset", "PersonImage", "kept", "read_market1501",
    ),
    "reid_aug.data.formats": ("read_dataset",),
    "reid_aug.data.keypoints": ("Pose", "read_keypoints", "write_keypoints"),
    "reid_aug.runtime.errors": ("UserError",),
    "reid_aug.generator": (
        "Generator", "GeneratorConfig", "generate", "import_official", "load_generator",
        "save_generator",
    ),
    "reid_aug.generator.adversary": ("Discriminator", "import_official_discriminator"),
    "reid_aug.bank": ("Bank", "Entry"),
    "reid_aug.mixing": ("Mix", "MixDataset"),
    "reid_aug.stages.train_reid.stock_torchreid": ("register_torchreid",),
    "reid_aug.backbones.feature_networks": ("register_backbone",),
    "reid_aug.evaluation": ("Scores", "evaluate"),
    "reid_aug.evaluation.reranking": ("rerank",),
    "reid_aug.study.report.rows": ("gains",),
}  # fmt: skip
_STAGES = (
    "estimate_poses", "evaluate_generator", "evaluate_reid", "export_reid", "extract_features",
    "synthesize", "train_generator", "train_reid", "user_study",
)  # fmt: skip
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = ["__version__", *_HOME_OF, *_STAGES]


def __getattr__(name: str) -> Any:
    """Import a public name on first use."""
    if name in _HOME_OF:
        return getattr(import_module(_HOME_OF[name]), name)
    if name in _STAGES:
        return import_module(f"reid_aug.stages.{name}")
    raise AttributeError(f"module 'reid_aug' has no attribute {name!r}")


def __dir__() -> list[str]:
    """The public names, and what the module has already."""
    return sorted({*globals(), *__all__})
