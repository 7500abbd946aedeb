"""The notebooks: they have outputs, and run."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).parents[1] / "examples").glob("*.ipynb"))
LARGEST = 300_000  # bytes of a notebook with its pictures


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_small_and_every_result_is_shown(path):
    notebook = nbformat.read(path, as_version=4)

    assert path.stat().st_size < LARGEST
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert {"display_data", "stream"} & {output.output_type for output in outputs}
    assert not [output for output in outputs if output.output_type == "error"]
    assert not [output for output in outputs if output.get("name") == "stderr"]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of the client and its kernel
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    notebook = nbformat.read(path, as_version=4)

    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": tmp_path}}).execute()
