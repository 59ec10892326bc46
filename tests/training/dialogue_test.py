"""Training on dialogues: a sample is a dialogue, what one reads is by utterance."""

import dataclasses

import numpy as np
import pytest

from mcr_jax.data import npz
from mcr_jax.data.schema import Column
from mcr_jax.errors import UserError
from mcr_jax.runs.fit import fit
from mcr_jax.runs.run import load_run
from tests.training import tiny

MODEL = {"name": "bc_lstm", "width": 3, "hidden": 4}


def dialogues(**changes):
  """The utterances of `tiny` in shuffled dialogues of 1 to 4 turns, two speakers.

  Two turns have no label: they are context.
  """
  plain = tiny.dataset("multiclass")
  random, name, turn = np.random.default_rng(3), [], []
  for split, count in tiny.COUNTS.items():
    sizes = []
    while sum(sizes) < count:
      sizes.append(min(1 + len(sizes) % 4, count - sum(sizes)))
    name += [f"{split}{i}" for i, size in enumerate(sizes) for _ in range(size)]
    turn += [3 * t for size in sizes for t in range(size)]
  speaker = np.array(["ann", "bob"])[random.integers(0, 2, len(name))]
  columns = {
    "dialogue_id": Column(np.array(name), "dialogue"),
    "turn": Column(np.array(turn), "turn"),
    "speaker": Column(speaker, "speaker"),
  }
  labels = plain.labels.copy()
  labels[[2, len(name) - 1]] = -1
  data = dataclasses.replace(plain, columns=columns, labels=labels, **changes)
  return data.select(random.permutation(len(data)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  folder = tmp_path_factory.mktemp("dialogues")
  npz.write(folder / "dialogues.npz", dialogues())
  return folder


def config(folder, **groups):
  groups = {"train": {"epochs": 2, "batch_size": 4, "steps_per_call": 1}} | groups
  return tiny.config(folder / "dialogues.npz", MODEL, **groups)


@pytest.fixture(scope="module")
def run(folder):
  return fit(config(folder), folder / "run", verbose=False)


def test_results_are_by_labelled_utterance_in_the_order_of_the_file(run, folder):
  data = npz.read(folder / "dialogues.npz")
  scored = (data.splits == "test") & (data.labels >= 0)
  with np.load(run.workdir / "eval" / "test.npz") as found:
    np.testing.assert_array_equal(found["ids"], data.ids[scored])
    np.testing.assert_array_equal(found["labels"], data.labels[scored])
    saved = found["predictions"]
  assert scored.sum() == tiny.COUNTS["test"] - 1 and saved.shape[:2] == (
    2,
    scored.sum(),
  )
  everything = load_run(run.workdir).predict()
  assert everything.shape == (2, len(data), 3)
  np.testing.assert_allclose(everything[:, scored], saved, rtol=1e-5, atol=1e-6)


def test_a_dialogue_alone_is_predicted_as_among_others(run, folder):
  data = npz.read(folder / "dialogues.npz")
  everything, name = run.predict(data), data.columns["dialogue_id"].values
  sizes = {n: (name == n).sum() for n in name}
  for chosen in (min(sizes, key=sizes.get), max(sizes, key=sizes.get)):
    rows = np.flatnonzero(name == chosen)
    alone = run.predict(data.select(rows))
    np.testing.assert_allclose(alone, everything[:, rows], rtol=1e-5, atol=1e-6)


def test_the_turns_before_change_a_prediction(run, folder):
  data = npz.read(folder / "dialogues.npz")
  name = data.columns["dialogue_id"].values
  chosen = max(name, key=lambda n: (name == n).sum())
  rows = np.flatnonzero(name == chosen)
  rows = rows[np.argsort(data.columns["turn"].values[rows])]
  whole, rest = run.predict(data.select(rows)), run.predict(data.select(rows[1:]))
  assert np.abs(whole[:, 1:] - rest).max() > 1e-4


@pytest.mark.parametrize("placement", ["stream"])
def test_streamed_trimmed_and_spread_dialogues_train_alike(
  run, folder, placement, tmp_path
):
  other = config(
    folder,
    data={"placement": placement, "buckets": 2, "trim": False},
    mesh={"seed": 1, "data": 2},
  )
  fit(other, tmp_path / "run", verbose=False)
  tiny.assert_close(tiny.epochs(tmp_path / "run"), tiny.epochs(run.workdir), 1e-4)


def test_a_model_of_dialogues_wants_dialogues(folder, tmp_path):
  npz.write(tmp_path / "plain.npz", tiny.dataset("multiclass"))
  with pytest.raises(UserError, match="dialogue_id"):
    fit(tiny.config(tmp_path / "plain.npz", MODEL), tmp_path / "run", verbose=False)
  with pytest.raises(UserError, match="utterance"):
    fit(config(folder, data={"unit": "utterance"}), tmp_path / "run", verbose=False)
  assert not (tmp_path / "run").exists()


def test_a_dialogue_lies_in_one_split_where_it_trains(run, folder, tmp_path):
  data = dialogues()
  splits = data.splits.copy()
  row = np.flatnonzero(data.columns["dialogue_id"].values == "train3")[0]
  splits[row] = "test"
  npz.write(tmp_path / "dialogues.npz", dataclasses.replace(data, splits=splits))
  with pytest.raises(UserError, match="train3"):
    fit(config(tmp_path), tmp_path / "run", verbose=False)
  expected = run.predict(folder / "dialogues.npz")
  np.testing.assert_array_equal(run.predict(tmp_path / "dialogues.npz"), expected)
