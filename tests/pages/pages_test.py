"""What a page says, and that nothing in the data can change what it is."""

import json
import re
import sys

import numpy as np
import pytest

from mcr_jax import evaluators, report
from mcr_jax.data.schema import Dataset, Modality
from mcr_jax.errors import UserError
from mcr_jax.evaluators import Evaluation, summarise
from mcr_jax.figures.maps import Map
from mcr_jax.figures.samples import Choice
from mcr_jax.figures.sources import Source
from mcr_jax.pages import assets, charts, heat, run, samples, significance, tables
from tests.pages import made

pytest.importorskip("jinja2", reason="pages need the extra report")
pytest.importorskip("vl_convert", reason="pages need the extra report")


@pytest.fixture(scope="module")
def pages(workdir):
  """What is said of the run, without its attention."""
  return run.page(Source("run", workdir), Choice(), attention=False)


def test_json_in_a_page_ends_no_script():
  text = assets.json_for_page({"a": "</script><!--", "b": float("nan"), "c": "&"})
  assert not set("<>&") & set(text)
  assert json.loads(text) == {"a": "</script><!--", "b": None, "c": "&"}


def test_no_script_of_the_page_ends_too_early():
  for script in (assets.sort_script(), assets.charts_script()):
    assert "</script" not in script and "<!--" not in script
  policy = assets.policy(["a", "b"])
  assert policy.startswith("default-src 'none'; script-src 'sha256-")
  assert "unsafe-eval" not in policy and "http" not in policy


def test_a_run_has_its_results_charts_samples_and_commands(pages):
  assert [c.title for c in pages.charts] == [
    "By epoch",
    "Calibration",
    "Error by label",
    "Confusion",
    "Robustness: drop",
  ]
  assert pages.head == ["mean", "std", "ensemble", "seed 1", "seed 3"]
  mae = next(m for m in pages.metrics if m.name == "mae")
  assert mae.better == "lower" and mae.cells[0] == "0.5000" and mae.definition
  assert any("mcr_jax.evaluate --workdir" in line for line in pages.commands)


def test_samples_are_sorted_from_the_worst_and_have_their_words(pages):
  errors = [s.error for s in pages.samples]
  # Eleven samples, of which the last is the worst.
  assert pages.samples[0].id == f"{made.EVIL}10" and errors[0] == pytest.approx(1.0)
  assert errors == sorted(errors, reverse=True)
  assert pages.samples[0].words.startswith(made.EVIL)
  assert len({s.id for s in pages.samples}) == len(pages.samples) == 11


def test_words_that_are_not_to_be_had_are_said(workdir, tmp_path):
  (tmp_path / "eval").mkdir()
  for end in ("json", "npz"):
    (tmp_path / "eval" / f"test.{end}").symlink_to(workdir / "eval" / f"test.{end}")
  found = run.page(Source("x", tmp_path), Choice())
  assert found.metrics and found.samples and not found.samples[0].words
  assert any("No words" in note for note in found.notes)


def test_classes_are_sorted_by_the_probability_of_the_true_one():
  logits = np.log(np.array([[[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]]]))
  labels = np.array([0, 0, 1])
  results = summarise("multiclass", logits, labels, ("no", "yes"))
  found = Evaluation("x", results, np.array(list("abc")), labels, logits)
  listed = samples.listed(found, None)
  assert [(s.id, s.label, s.predicted) for s in listed] == [
    ("b", "no", "yes (80%)"),
    ("c", "yes", "no (60%)"),
    ("a", "no", "no (90%)"),
  ]
  np.testing.assert_allclose([s.error for s in listed], [0.8, 0.6, 0.1])
  sure, right = samples.confidences(found)
  np.testing.assert_allclose(sure, [0.9, 0.8, 0.6])
  assert right.tolist() == [True, False, False]


@pytest.mark.parametrize(
  ("task", "logits", "labels"),
  [
    ("binary", np.zeros((1, 2, 3, 2)), np.array([[0, 1, 0], [1, 1, 0]])),
    ("regression", np.zeros((1, 2, 2)), np.array([[0.0, 1.0], [2.0, 2.0]])),
  ],
)
def test_several_labels_have_one_error(task, logits, labels):
  names = ("a", "b", "c") if task == "binary" else ()
  results = summarise(task, logits, labels, names)
  found = Evaluation("x", results, np.array(["p", "q"]), labels, logits)
  want = [0.5, 0.5] if task == "binary" else [2, 0.5]
  np.testing.assert_allclose([s.error for s in samples.listed(found, None)], want)


def test_holm_multiplies_by_what_is_left_and_never_falls():
  np.testing.assert_allclose(
    significance.holm([0.01, 0.04, np.nan, 0.03]), [0.03, 0.06, np.nan, 0.06]
  )


def test_a_clear_difference_is_marked_on_both_sides(monkeypatch):
  monkeypatch.setattr(significance, "RESAMPLES", 100)
  labels = np.linspace(-2, 2, 40)
  ids = np.array([str(i) for i in range(40)])

  def evaluation(error):
    predictions = np.stack([labels + error, labels + 1.1 * error])[..., None]
    results = summarise("regression", predictions, labels)
    return Evaluation("x", results, ids, labels, predictions)

  runs = {"good": evaluation(0.1), "bad": evaluation(1.0)}
  labels_, cells = significance.matrix(runs, "mae")
  assert labels_ == ["good", "bad"] and cells[0][0].text == ""
  assert (cells[0][1].text, cells[0][1].verdict) == ("-0.9450", "better")
  assert (cells[1][0].text, cells[1][0].verdict) == ("+0.9450", "worse")


def test_a_table_has_ours_beside_the_published(tmp_path, workdir):
  folder = made.table(tmp_path / "t", workdir)
  (section,) = tables.sections(json.loads((folder / "table.json").read_text()), folder)
  mine, missing = (row["cells"][0] for row in section["rows"])
  assert (mine.ours, mine.published, mine.difference) == (
    "0.850 ± 0.010",
    "0.800",
    "+0.050",
  )
  assert mine.marks == "†" and mine.best and mine.words == "seeds 0.840, 0.860"
  assert (missing.ours, missing.published, missing.sort) == ("", "0.900", "0.9")
  with pytest.raises(UserError, match="decimals"):
    tables.sections({"columns": [{"id": "a"}], "sections": _one_cell()}, folder)


def _one_cell():
  return [{"title": "", "rows": [{"name": "x", "cells": {"a": {"mean": 1.0}}}]}]


def test_a_comparison_has_digits_that_can_be_read():
  column = {"id": "mae", "group": "", "title": "MAE", "decimals": 3}
  entry = {"section": 0, "column": "mae", "best": "A", "other": "B", "low": 5e-17}
  entry |= {"difference": -0.04873, "p_seeds": 9e-05, "p_seeds_holm": 0.22}
  table = {"columns": [column], "sections": [{"title": ""}], "comparisons": [entry]}
  (found,) = tables.comparisons(table)
  texts = [text for text, _ in found["numbers"]]
  assert texts == ["-0.0487", "< 0.001", "0.220", "n/a", "+0.0000", "n/a"]
  assert float(found["numbers"][1][1]) == 9e-05  # it sorts by


def test_long_sequences_fit_into_a_small_page():
  steps = {"text": 50, "vision": 500, "audio": 375}
  modalities = {
    m: Modality(np.ones((n, 1), np.float32), np.array([0, n]), np.ones(n, bool))
    for m, n in steps.items()
  }
  draw = np.random.default_rng(0).random
  found = [
    Map(kind, layer, (t,), (s,), draw((steps[t], steps[s])))
    for kind in ("cmu", "scu")
    for layer in range(1)
    for t in steps
    for s in steps
  ]
  spec = heat.chart(Dataset(np.array(["a"]), modalities), found)
  # Three layers of it, and the scripts, in 5 MB.
  assert 3 * len(assets.json_for_page(spec)) < 2.5e6
  (first,) = {len(v["w"]) for v in spec["data"]["values"] if "vision" in v["kind"][-6:]}
  assert first == heat.MOST_COLUMNS


@pytest.mark.parametrize(
  "weights", [np.ones((2, 1)), np.zeros((2, 3)), np.ones((0, 3))]
)
def test_who_reads_one_step_alone_or_nothing_is_not_drawn(weights):
  one = Map("cmu", 0, ("text",), ("audio",), weights)
  data = Dataset(np.array(["a"]), {"text": Modality.from_vectors(np.ones((1, 1)))})
  assert heat.chart(data, [one]) is None


def test_bins_are_of_values_that_are_alike():
  by = np.array([0.0, 0, 1])
  assert charts.bins(by, np.array([1.0, 3, 5])) == [(0.0, 2.0, 2), (1.0, 5.0, 1)]
  found = charts.bins(np.linspace(0, 13, 131), np.ones(131))
  assert len(found) == 13 and sum(n for *_, n in found) == 131
  assert found[0][0] == 0.5


@pytest.mark.parametrize(
  ("arguments", "value"),
  [
    (["nowhere", "--out", "x.html"], "nowhere"),
    (["EMPTY", "--out", "x.html"], "no run"),
    (["RUN", "--out", "x.pdf"], "x.pdf"),
    (["RUN", "--out", "x.html", "--split", "valid"], None),
  ],
)
def test_mistakes_are_named(arguments, value, workdir, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  (tmp_path / "empty").mkdir()
  named = {"RUN": str(workdir), "EMPTY": str(tmp_path / "empty")}
  if value is None:
    # What is not evaluated still has its curves; no heat map, which takes seconds.
    monkeypatch.setattr(run, "_attention", lambda *_: None)
    report.main([named.get(x, x) for x in arguments])
    text = (tmp_path / "x.html").read_text("utf-8")
    assert "eval/valid.json does not exist" in text and "By epoch" in text
    return
  with pytest.raises(UserError, match=value):
    report.main([named.get(x, x) for x in arguments])
  assert not (tmp_path / "x.html").exists()


@pytest.mark.parametrize("package", ["jinja2", "vl_convert"])
def test_without_the_extra_the_error_names_it(package, monkeypatch):
  monkeypatch.setitem(sys.modules, package, None)
  assets.charts_script.cache_clear()
  with pytest.raises(UserError, match=r"mcr_jax\[report\]"):
    assets.charts_script() if package == "vl_convert" else assets.render("page.html")


def test_runs_of_other_samples_are_not_compared(tmp_path):
  labels = np.arange(4.0)
  predictions = np.zeros((1, 4, 1))
  results = summarise("regression", predictions, labels)
  runs = {
    name: evaluators.Evaluation(name, results, np.array(list(ids)), labels, predictions)
    for name, ids in (("a", "pqrs"), ("b", "wxyz"))
  }
  _, cells = significance.matrix(runs, "mae")
  assert cells[1][0].text == "n/a" and re.search("'[pqrswxyz]'", cells[1][0].words)


def test_one_of_many_runs_can_be_shown_alone():
  rows = [{"epoch": n, "valid/loss": [1.0 / n]} for n in (1, 2)]
  alone = charts.history({"a": rows}, "loss", ["loss"])
  both = charts.history({"a": rows, "b": rows}, "loss", ["loss"])
  assert [x["name"] for x in alone["params"]] == ["metric"]
  assert both["params"][1]["bind"]["options"] == ["all", "a", "b"]
  # Its colour stays, and epochs are whole numbers.
  assert both["encoding"]["color"]["scale"]["domain"] == ["a", "b"]
  assert both["encoding"]["x"]["axis"]["values"] == [1, 2]
