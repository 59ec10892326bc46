"""The notebooks run from their first cell to their last."""

import pathlib

import pytest

from docs.generate import notebooks

nbclient = pytest.importorskip("nbclient", reason="needs the extra dev")
nbformat = pytest.importorskip("nbformat", reason="needs the extra dev")
FOLDER = pathlib.Path(__file__).resolve().parent.parent / "notebooks"


EACH = pytest.mark.parametrize(
  "path", sorted(FOLDER.glob("*.ipynb")), ids=lambda path: path.stem
)


@EACH
def test_a_notebook_begins_as_all_do(path):
  text = path.read_text("utf-8")
  anew = "python -m docs.generate.notebooks writes it anew"
  assert notebooks.updated(path.name, text) == text, anew


def test_an_address_makes_links_to_notebooks(monkeypatch):
  monkeypatch.setattr(notebooks, "address", lambda: "https://github.com/us/it.git")
  link = "https://colab.research.google.com/github/us/it/blob/main/notebooks/a.ipynb"
  assert notebooks.badge("a.ipynb").endswith(f"({link})")


@EACH
def test_a_notebook_runs_and_carries_no_outputs(path):
  notebook = nbformat.read(path, as_version=4)
  code = [cell for cell in notebook.cells if cell.cell_type == "code"]
  assert not any(cell.outputs or cell.execution_count for cell in code)
  client = nbclient.NotebookClient(
    notebook, timeout=580, resources={"metadata": {"path": str(FOLDER)}}
  )
  client.execute()
