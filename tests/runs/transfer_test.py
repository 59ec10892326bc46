"""Starting from another run: what is taken over, what is fresh, what is refused."""

import dataclasses
import shutil

import jax
import numpy as np
import pytest

from mcr_jax.data import npz
from mcr_jax.errors import Interrupted, UserError
from mcr_jax.runs.fit import fit
from mcr_jax.runs.trainer import Trainer
from tests.runs.resume_test import signal_after
from tests.training import tiny

SHORT = {"epochs": 1}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  return tmp_path_factory.mktemp("transfer")


@pytest.fixture(scope="module")
def before(folder):
  """A regression of two seeds."""
  config = tiny.config(tiny.write(folder), train=SHORT)
  return fit(config, folder / "before", verbose=False)


def config_from(before, path, model=tiny.CONCAT, seeds=(1, 3), **fields):
  fields = {**SHORT, "init_from": str(before.workdir), **fields}
  return tiny.config(path, model, seeds=seeds, train=fields)


def same(tree, other):
  jax.tree.map(np.testing.assert_array_equal, tree, other)


def test_weights_and_normalisation_are_taken_over(before, folder, tmp_path):
  config = config_from(before, tiny.write(tmp_path, seed=1))
  trainer = Trainer(config, tmp_path / "run", verbose=False)
  same(trainer.loop.state.params, before.variables[0])
  assert trainer.normalizer.mean.keys() == before.normalizer.mean.keys()
  same(dict(trainer.normalizer.mean), dict(before.normalizer.mean))
  assert trainer.spec.lengths == before.spec.lengths


def test_one_seed_may_serve_all(before, folder, tmp_path):
  path = tiny.write(tmp_path)
  one = tiny.config(path, seeds=(1,), train=SHORT)
  one = fit(one, tmp_path / "one", verbose=False)
  trainer = Trainer(
    config_from(one, path, seeds=(4, 5)), tmp_path / "run", verbose=False
  )
  for new, old in zip(
    jax.tree.leaves(trainer.loop.state.params),
    jax.tree.leaves(one.variables),
    strict=True,
  ):
    np.testing.assert_array_equal(new, np.broadcast_to(old, new.shape))
  with pytest.raises(UserError, match="has 2 seeds and this run 1"):
    Trainer(config_from(before, path, seeds=(4,)), tmp_path / "run")


@pytest.mark.parametrize("task", ["multiclass", "binary"])
def test_the_head_alone_learns_another_task(before, tmp_path, task):
  config = config_from(before, tiny.write(tmp_path, task), only="head")
  trainer = Trainer(config, tmp_path / "run", verbose=False)
  fresh = jax.device_get(trainer.loop.state.params)
  found = fit(config, tmp_path / "run", verbose=False)
  params, trained = found.variables[0], before.variables[0]
  same(params["hidden_0"], trained["hidden_0"])
  assert params["output"]["kernel"].shape[1:] != trained["output"]["kernel"].shape[1:]
  # Away from where it began, in every seed.
  change = np.abs(params["output"]["kernel"] - fresh["output"]["kernel"])
  assert (change.max((1, 2)) > 0).all()


def test_classes_in_another_order_are_another_task(tmp_path):
  data = tiny.dataset("multiclass")
  npz.write(tmp_path / "one.npz", data)
  names = data.class_names[::-1]
  npz.write(tmp_path / "two.npz", dataclasses.replace(data, class_names=names))
  config = tiny.config(tmp_path / "one.npz", train=SHORT)
  one = fit(config, tmp_path / "one", verbose=False)
  for path, fresh in (("one.npz", False), ("two.npz", True)):
    config = config_from(one, tmp_path / path)
    state = Trainer(config, tmp_path / "run", verbose=False).loop.state
    same(state.params["hidden_0"], one.variables[0]["hidden_0"])
    taken = state.params["output"]["kernel"] == one.variables[0]["output"]["kernel"]
    assert bool(taken.all()) is not fresh


def test_what_does_not_fit_is_named(before, tmp_path):
  path = tiny.write(tmp_path)
  config = config_from(before, path, tiny.CONCAT | {"width": 16})
  with pytest.raises(UserError) as error:
    Trainer(config, tmp_path / "run")
  assert "does not fit this model" in str(error.value)
  assert "['hidden_0']['bias'] is (16,) here and (8,) there" in str(error.value)
  config = config_from(before, path, tiny.CONCAT | {"depth": 2})
  with pytest.raises(UserError, match=r"'hidden_1'.*and nothing there"):
    Trainer(config, tmp_path / "run")


def test_other_features_are_refused(before, tmp_path):
  config = config_from(before, tiny.write(tmp_path))
  reordered = config.copy_and_resolve_references().unlock()
  reordered.data.modalities = ("audio", "text", "vision")
  with pytest.raises(UserError, match="data.modalities sets it"):
    Trainer(reordered, tmp_path / "run")
  reordered.data.modalities = ("audio", "text")
  with pytest.raises(UserError, match="was trained on"):
    Trainer(reordered, tmp_path / "run")


@pytest.mark.parametrize(
  ("field", "value", "there"), [("normalize", False, True), ("clip", 2.0, 5.0)]
)
def test_features_are_made_as_those_that_the_weights_are_for(
  before, tmp_path, field, value, there
):
  config = config_from(before, tiny.write(tmp_path)).unlock()
  trainer = Trainer(config, tmp_path / "run", verbose=False)
  note = f"Features are normalised by the statistics of {before.workdir}."
  assert note in trainer.facts["data"]["notes"]
  config.data[field] = value
  message = f"data.{field}={value} here and {there} in train.init_from=.*before"
  with pytest.raises(UserError, match=f"{message}.* set --config.data.{field}={there}"):
    Trainer(config, tmp_path / "run", verbose=False)


def test_what_is_not_normalised_may_have_another_clip(tmp_path):
  path = tiny.write(tmp_path)
  config = tiny.config(path, data={"normalize": False}, train=SHORT)
  one = fit(config, tmp_path / "one", verbose=False)
  config = config_from(one, path).unlock()
  config.data.normalize, config.data.clip = False, 2.0
  config.evals.metrics = "regression"  # a choice of them would be noted, too
  assert not Trainer(config, tmp_path / "run", verbose=False).facts["data"]["notes"]


def test_a_run_outlives_the_one_that_it_started_from(
  before, folder, tmp_path, monkeypatch
):
  shutil.copytree(before.workdir, tmp_path / "source")
  source = dataclasses.replace(before, workdir=tmp_path / "source")
  config = config_from(source, folder / "regression.npz", epochs=2)
  whole = fit(config, tmp_path / "whole", verbose=False)
  with monkeypatch.context() as patch:
    signal_after(patch, 2, 15)
    with pytest.raises(Interrupted):
      fit(config, tmp_path / "run", verbose=False)
  shutil.rmtree(tmp_path / "source")
  found = fit(config, tmp_path / "run", resume=True, verbose=False)
  same(found.variables, whole.variables)
  # Without a checkpoint it would have to begin from there.
  shutil.rmtree(tmp_path / "run" / "checkpoints")
  (tmp_path / "run" / "digests.json").unlink()
  tiny.unfinish(tmp_path / "run")
  with pytest.raises(UserError, match="source holds no run"):
    fit(config, tmp_path / "run", resume=True, verbose=False)
