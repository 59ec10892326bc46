"""Which epoch is kept, when a seed stops, when its learning rate falls."""

import numpy as np
import pytest

from mcr_jax.training import selection as selections
from tests.training import tiny

NAN = float("nan")


@pytest.fixture(scope="module")
def file(tmp_path_factory):
  return tiny.write(tmp_path_factory.mktemp("data"))


def follow(file, values, higher=False, **groups):
  """The selections after every epoch of values (epochs, S), and what improved."""
  config, values = tiny.config(file, **groups), np.asarray(values, float)
  selection, after, improved = selections.start(values.shape[1]), [], []
  for epoch, row in enumerate(values, 1):
    selection, better = selections.observe(selection, row, epoch, higher, config)
    after.append(selection)
    improved.append(better.tolist())
  return after, improved


def test_every_seed_keeps_its_own_best_epoch(file):
  values = [[3, 1], [2, 2], [2, 0.5], [4, 3]]
  after, improved = follow(file, values)
  assert after[-1]["epoch"].tolist() == [2, 3]
  assert after[-1]["value"].tolist() == [2, 0.5]
  # An equal value is no improvement: the earlier epoch stays.
  assert improved == [[True, True], [True, False], [False, True], [False, False]]
  assert follow(file, values, higher=True)[0][-1]["epoch"].tolist() == [4, 4]


def test_an_undefined_value_is_kept_only_until_a_defined_one(file):
  after, _ = follow(file, [[NAN, 2], [NAN, NAN], [5, 1], [NAN, 3]])
  assert [x["epoch"].tolist() for x in after] == [[1, 1], [2, 1], [3, 3], [3, 3]]
  assert after[-1]["value"].tolist() == [5, 1]


def test_where_no_value_is_defined_the_last_epoch_is_kept_and_patience_runs(file):
  after, kept = follow(file, 5 * [[NAN]], train={"patience": 3})
  assert [x["epoch"].item() for x in after] == [1, 2, 3, 4, 4]
  assert [x["active"].item() for x in after] == [True, True, True, False, False]
  assert kept == [[True], [True], [True], [True], [False]]


def test_a_seed_stops_after_its_patience_and_stays_as_it_was(file):
  values = [[5, 5], [4, 6], [3, 7], [2, 1], [1, 0]]
  after, improved = follow(file, values, train={"patience": 2})
  assert [x["active"].tolist() for x in after] == [
    [True, True],
    [True, True],
    [True, False],
    [True, False],
    [True, False],
  ]
  assert after[-1]["epoch"].tolist() == [5, 1]
  assert not any(second for _, second in improved[1:])


def test_without_patience_no_seed_stops(file):
  after, _ = follow(file, [[1]] + 50 * [[2]])
  assert after[-1]["active"].all()


def test_a_plateau_lowers_the_rate_after_more_epochs_than_its_patience(file):
  """As PyTorch's ReduceLROnPlateau: the first epoch beyond the patience pays."""
  optim = {"schedule": "plateau", "plateau_patience": 2, "plateau_factor": 0.5}
  after, _ = follow(file, [[1]] + 7 * [[2]] + [[0]] + 3 * [[1]], optim=optim)
  scales = [float(x["lr_scale"][0]) for x in after]
  assert scales == [1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25, 0.25, 0.25, 0.125]


def test_other_schedules_leave_the_scale_alone(file):
  after, _ = follow(file, [[1]] + 30 * [[2]], optim={"schedule": "cosine"})
  assert after[-1]["lr_scale"].tolist() == [1.0]
