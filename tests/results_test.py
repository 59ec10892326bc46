"""The results in README.md are those of the tables that are kept."""

import json
import pathlib

import pytest

from docs.generate import results, saved
from mcr_jax.errors import UserError

README = pathlib.Path(__file__).resolve().parent.parent / "README.md"


def cell(mean, std=None, published=None, *, best=False, dagger=False):
  marks = {"best": best, "dagger": dagger, "holm": False}
  return {"mean": mean, "std": std, "published": published, **marks}


def table(**more):
  """A table of three systems of ours, one that a paper quotes, and simple methods."""
  column = {"id": "mae", "title": "MAE", "group": "", "better": "lower", "decimals": 3}
  row = lambda name, own, status="done": {
    **{"name": name, "kind": "exact", "status": status, "cells": {"mae": own}}
  }
  ours = [
    row("MulT", cell(0.95, 0.01)),
    row("MCR", cell(0.9, 0.02, 0.802, best=True, dagger=True)),
    row("PMR", cell(None, published=0.8), "missing"),
    row("TFN", cell(1.1, 0.03)),
  ]
  simple = [row("Ridge", cell(None, published=0.931), "cited")]
  return {
    **{"kind": "table", "name": "words", "title": "Words", "paper": "P"},
    **{"source": "Table 1", "synthetic": "", "notes": ["A note."], "columns": [column]},
    "sections": [{"title": "Simple", "rows": simple}, {"title": "Ours", "rows": ours}],
    "comparisons": [
      {"section": 1, "column": "mae", "best": "MCR", "other": "MulT", "p_samples": 0.2},
      {"section": 1, "column": "mae", "best": "MCR", "other": "TFN", "p_samples": 0.01},
    ],
    "runs": {},
    "command": "python -m mcr_jax.reproduce words --data mosi=/home/me/words.npz",
    **more,
  }


def test_the_readme_shows_the_tables_that_are_kept():
  text, kept = README.read_text("utf-8"), saved.tables()
  assert results.BEGIN in text and results.END in text and kept
  assert results.updated(text, kept) == text, "bin/results writes it anew"


def test_the_readme_names_the_best_and_the_papers_own():
  shown = results.block([table()])
  lines = [line for line in shown.splitlines() if line.startswith("| ")]
  names = [line.split(" | ")[0].removeprefix("| ") for line in lines[2:]]
  assert names == ["*Simple*", "Ridge", "*Ours*", "MCR", "MulT", "TFN"]
  assert "| Ridge | (0.931) |" in lines
  assert "| MCR | **0.900 ± 0.020**† (0.802) |" in lines


def test_the_site_shows_every_row_and_which_differences_may_be_chance():
  text = results.page([table()])
  assert "| PMR | (0.800) |" in text and "A note." in text
  assert "MCR is better than every other of its section except MulT." in text


def test_a_changed_number_is_seen():
  text, one = README.read_text("utf-8"), table()
  before = results.updated(text, [one])
  one["sections"][1]["rows"][1]["cells"]["mae"]["mean"] = 0.91
  assert results.updated(text, [one]) != before


def test_a_table_is_kept_without_the_places_of_a_machine(tmp_path):
  (tmp_path / "run").mkdir()
  (tmp_path / "run/table.json").write_text(json.dumps(table()))
  kept = saved.keep(tmp_path / "run", tmp_path)
  assert kept == tmp_path / "words.json"
  command = saved.read(kept)["command"]
  assert command == "python -m mcr_jax.reproduce words --data mosi=words.npz"


def test_what_is_no_result_is_not_kept(tmp_path):
  path = tmp_path / "table.json"
  path.write_text(json.dumps(table(synthetic="SYNTHETIC DATA.")))
  with pytest.raises(UserError, match="SYNTHETIC"):
    saved.keep(path, tmp_path)
  path.write_text("{}")
  with pytest.raises(UserError, match=str(path)):
    saved.keep(path, tmp_path)


def test_a_protocol_is_read_as_a_table(tmp_path):
  scores = {"mae": [0.9, 1.1], "corr": [float("nan")] * 2}
  methods = {
    "ridge": {"scores": {"mae": [0.965], "corr": [0.58]}},
    "MIA-Net": {"scores": scores, "trained": True},
  }
  path = tmp_path / "mosi_vectors.json"
  path.write_text(json.dumps({"note": "N.", "samples": 7, "methods": methods}))
  shown = results.block(saved.tables(tmp_path))
  assert "| ridge | 0.965 | 0.580 |" in shown
  assert "| MIA-Net | 1.000 ± 0.141 | – |" in shown
