"""Sentences on the curves of a run, and whether an epoch was chosen at all."""

import numpy as np
import pytest

from mcr_jax import evaluators
from mcr_jax.runs.fit import fit
from mcr_jax.runs.verdict import sentences
from mcr_jax.runs.workspace import facts
from tests.training import tiny

SEEDS = (1, 3)


def entries(train, valid, best=(1, 1), monitor=(0.5, 0.5)):
  """Curves of two seeds; `train` and `valid` of the second, the first is flat."""
  return [
    {
      "epoch": i,
      "train/loss": [1.0, a],
      "valid/loss": [1.0, b],
      "valid/corr": list(monitor),
      "best/epoch": list(best),
    }
    for i, (a, b) in enumerate(zip(train, valid, strict=True), 1)
  ]


def config(file, monitor="corr", **optim):
  train = {"epochs": 3, "monitor": monitor}
  return tiny.config(file, train=train, optim=optim)


@pytest.mark.parametrize(
  "train, valid, told",
  [
    ([1, 0.5, 0.05], [1, 0.8, 1.2], True),
    ([1, 0.5, 0.05], [1, 0.8, 0.81], False),
    ([1, 0.5, 0.2], [1, 0.8, 1.2], False),
    ([1, 0.05, None], [0.8, 1.2, 1.2], True),
    ([-1, -2, -3], [1, 0.8, 1.2], False),
  ],
)
def test_samples_learned_by_heart_are_told(train, valid, told):
  found = sentences(entries(train, valid), config("x.npz"), SEEDS)
  assert bool(found) == told
  if told:
    assert "of seed 3 fell from 1 to 0.05" in found[0]
    assert "from 0.8 to 1.2" in found[0]


def test_a_best_epoch_that_is_the_last_is_told_with_the_way_on():
  last = entries([1, 1, 1], [1, 1, 1], best=(3, 2))
  (found,) = sentences(last, config("x.npz"), SEEDS)
  assert "of seed 1 is the last, 3" in found
  assert "--resume --config.train.epochs=6" in found
  (found,) = sentences(last, config("x.npz", schedule="cosine"), SEEDS)
  assert "--resume" not in found and "cosine" in found


def test_a_score_that_was_never_defined_is_told_and_claims_no_choice():
  never = entries([1, 1, 1], [1, 1, 1], best=(3, 2), monitor=(None, 0.5))
  (found,) = sentences(never, config("x.npz"), SEEDS)
  assert "train.monitor=corr was undefined in every epoch of seed 1" in found


def test_a_run_whose_monitor_is_undefined_keeps_its_last_epoch_and_says_so(tmp_path):
  data = tiny.dataset()
  labels = np.where(data.splits == "valid", np.float32(1), data.labels)
  given = config(tiny.write(tmp_path, labels=labels))
  run = fit(given, tmp_path / "run", verbose=False)
  assert run.chosen == (False, False)
  results = evaluators.read(tmp_path / "run", "test").results
  assert results.unchosen == run.seeds
  text = evaluators.table(results, "test")
  assert "No epoch was chosen" in text
  assert "Each seed's epoch" not in text
  assert tiny.epochs(tmp_path / "run")[-1]["best/epoch"] == [3, 3]
  (told,) = facts(tmp_path / "run")["verdict"]
  assert "undefined in every epoch (the labels are constant)" in told


def test_the_seeds_that_validation_did_not_choose_are_named():
  labels = np.array([0.5, -1.0, 2.0])
  results = evaluators.summarise(
    "regression", np.stack([labels, labels]), labels, seeds=SEEDS, unchosen=(3,)
  )
  again = evaluators.Results.from_json(results.to_json())
  assert again.unchosen == (3,)
  text = evaluators.table(again, "test")
  assert "No epoch of seed 3 was chosen" in text
  assert "The epoch of seed 1 was chosen on the validation split" in text
