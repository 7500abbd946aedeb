"""The wheel: what an installation without a clone contains."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_wheel_holds_modules_recipes_grids_and_the_demo_generator(tmp_path):
    source = tmp_path / "source"
    for name in ("reid_aug", "recipes", "benchmarks"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "wheel",
            "--no-deps",
            "--no-build-isolation",
            "-w",
            tmp_path,
            source,
        ],
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    packaged = {
        "reid_aug/recipes/demo.toml": ROOT / "recipes/demo.toml",
        "reid_aug/recipes/market1501.toml": ROOT / "recipes/market1501.toml",
        "reid_aug/grids/demo.toml": ROOT / "benchmarks/grids/demo.toml",
        "reid_aug/assets/demo_generator.safetensors": ROOT
        / "reid_aug/assets/demo_generator.safetensors",
        "reid_aug/assets/poses.csv": ROOT / "reid_aug/assets/poses.csv",
        "reid_aug/study/report/published.toml": ROOT / "reid_aug/study/report/published.toml",
    }
    packaged |= {str(p.relative_to(ROOT)): p for p in ROOT.glob("reid_aug/runtime/templates/*")}
    packaged |= {str(path.relative_to(ROOT)): path for path in ROOT.glob("reid_aug/**/*.py")}
    assert packaged.keys() <= names
    assert "reid_aug/py.typed" in names
    grids = [name for name in names if name.startswith("reid_aug/grids/")]
    assert [name for name in grids if not name.endswith(".toml")] == ["reid_aug/grids/__init__.py"]
    assert not [name for name in names if name.startswith(("benchmarks", "tests"))]
    with zipfile.ZipFile(wheel) as file:
        for name, original in packaged.items():
            assert file.read(name) == original.read_bytes()
