"""The tables as data: published rows, configs that load, metrics that exist."""

import numpy as np
import pytest
from ml_collections import ConfigDict

from mcr_jax import metrics
from mcr_jax.data import load, synthetic
from mcr_jax.evaluators import paired
from mcr_jax.papers import (
  catalog,
  cells,
  estimate,
  inputs,
  jobs,
  plan,
  published,
  render,
)
from mcr_jax.papers.definition import Source
from mcr_jax.sweeps.points import Point


@pytest.mark.parametrize("name", catalog.TABLES)
def test_every_row_can_be_planned_on_synthetic_data(name, tmp_path):
  table = catalog.TABLES[name]
  made = plan.make(plan.Request(table, quick=True), tmp_path)
  rows = [row for section in made.document["sections"] for row in section["rows"]]
  assert not [row["reason"] for row in rows if row["status"] == "impossible"]
  assert {key for row in rows for key in row["runs"].values()} >= {
    job.key for job in made.jobs if not job.after
  }
  keys = [job.key for job in made.jobs]
  assert len(set(keys)) == len(keys)
  by_key = dict(zip(keys, made.jobs, strict=True))
  for job in made.jobs:
    assert not job.after or keys.index(job.after) < keys.index(job.key)
  for row in rows:
    for corpus, key in row["runs"].items():
      spec, own = by_key[key].spec, [c for c in table.columns if c.corpus == corpus]
      # Transfer goes between tasks, of which each has columns of its own.
      if spec and name != "mia-net-table5":
        assert {c.metric for c in own} <= inputs.metric_names(spec)


@pytest.mark.parametrize("name", catalog.TABLES)
def test_rows_are_those_of_the_paper(name):
  table = catalog.TABLES[name]
  for section in table.sections:
    printed = published.rows(table.paper, table.source, section.published)
    if table.figure:
      assert not printed
      continue
    rows = [r for r in section.rows if table.paper != published.PUBLIC or not r.sources]
    assert {row.published or row.name for row in rows} == set(printed)
    columns = {column.key for column in table.columns}
    assert all(set(row) == columns for row in printed.values())


def test_the_papers_daggers_and_best_are_marked(tmp_path):
  made = plan.make(plan.Request(catalog.TABLES["mcr-table2"], quick=True), tmp_path)
  for section in made.document["sections"]:
    for row in section["rows"]:
      for cell in row["cells"].values():
        assert cell["published_best"] == (row["name"] == "MCR")
        assert cell["published_dagger"] == (row["name"] == "MCR")


def test_every_metric_has_a_direction():
  for table in catalog.TABLES.values():
    for column in table.columns:
      assert column.better or metrics.find(column.metric).direction


@pytest.mark.parametrize("corpus", synthetic.SHAPES)
def test_synthetic_data_have_the_labels_of_a_corpus(corpus):
  found = load({"path": f"synthetic:{corpus}"})
  assert [(found.splits == s).sum() for s in ("train", "valid", "test")] == [
    *synthetic.FEW
  ]
  if corpus == "meld":
    assert found.class_names == synthetic.EMOTIONS
    counts = np.bincount(found.labels)
    assert len(counts) == 7 and counts.argmax() == 0 and counts.min() > 40


def test_holm_corrects_by_how_many_tests_are_left():
  found = paired.holm([0.01, np.nan, 0.04, 0.03, 0.5])
  np.testing.assert_allclose(found, [0.04, np.nan, 0.09, 0.09, 0.5])


def test_overrides_of_a_sweep_point_reach_the_config():
  source = catalog.TABLES["mcr-table5"].rows[10].sources["mosi"]
  config = jobs.config_of(source, "x.npz", ("--config.optim.lr=0.5",), quick=False)
  assert (config.model.cmu, config.optim.lr, config.data.path) == (False, 0.5, "x.npz")


def test_latex_of_a_name_is_escaped():
  assert render.escape("A_b & 50% [V -> L]") == r"A\_b \& 50\% [V -$>$ L]"


def test_how_long_it_takes_is_promised_only_where_more_follows():
  part = [Point("a", {}, ConfigDict())]
  assert "after the first program" in estimate.heading({})([part, part])
  assert estimate.heading({})([part]) == ""


def test_a_table_that_is_counted_speaks_of_no_seeds(tmp_path):
  counted = catalog.find("mia-net-table10")[0]
  document = plan.make(plan.Request(counted), tmp_path).document
  text = render.text(cells.fill(document, tmp_path))
  assert "deviation over seeds" not in text and "the best of ours" in text


def test_an_update_goes_through_every_parameter():
  config = jobs.config_of(Source("mia_net_mosi"), "synthetic:mosi", (), quick=True)
  machine = estimate.Machine(operation=0.0, equation=0.0, parameter=1e-9)
  samples = {"train": 10 * config.train.batch_size, "valid": 1}
  work = estimate.Work(operations=1.0, equations=1, parameters=1_000)
  updates = 10 * config.train.epochs * len(config.seeds)
  found = estimate.training(config, work, samples, machine)
  assert found == pytest.approx(updates * 1e-6)
