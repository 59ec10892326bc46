"""What a trained run does with data that it did not train on: policies and flags."""

import argparse
import dataclasses
import pathlib
import types

import numpy as np
import pytest

from mcr_jax import cli
from mcr_jax import config as configs
from mcr_jax.contract import Spec
from mcr_jax.data import alignment, npz
from mcr_jax.errors import UserError
from mcr_jax.runs import shapes
from mcr_jax.runs.reading import FIELDS, Reading, other_data
from tests.training import tiny

LONGER = {**tiny.LONGEST, "audio": 23}


def run_of(**data):
  """What reading asks of a run, without having trained one."""
  config = configs.complete({"model": tiny.CONCAT, "data": data})
  spec = Spec(lengths=tiny.LONGEST, widths=tiny.WIDTHS, task="regression")
  return types.SimpleNamespace(
    config=config, spec=spec, workdir=pathlib.Path("DIR"), extract=None
  )


def read(dataset, *, run=None, tied=("audio",), labels=False, skip=False, **fields):
  given = lambda longer: [m for m in longer if m in tied]
  reading = Reading(fields, skip)
  return other_data(dataset, run or run_of(), given, labels=labels, reading=reading)


@pytest.fixture(scope="module")
def clips():
  """Sequences of which one, of sample 0, is longer than what was trained."""
  return tiny.dataset(longest=LONGER)


def over(dataset):
  return np.flatnonzero(dataset.modalities["audio"].lengths > 17)


def test_a_model_without_parameters_by_step_reads_any_length(clips):
  found = read(clips, tied=())
  assert found.modalities["audio"].lengths.max() == 23
  assert any("23 steps" in note and "17" in note for note in found.notes)


def test_too_long_for_the_model_is_refused_with_flags_of_the_program(clips):
  with pytest.raises(UserError, match=r"'0' has 23 steps; .* 17") as error:
    read(clips)
  assert "--overlong truncate" in str(error.value)
  assert "--skip-bad" in str(error.value)
  assert "data.overlong" not in str(error.value)


def test_the_policy_of_the_run_holds_where_nothing_is_said(clips):
  long = over(clips)
  found = read(clips, run=run_of(overlong="truncate"))
  assert found.modalities["audio"].lengths[long].tolist() == [17] * len(long)
  (note,) = (x for x in found.notes if "cut" in x)
  assert all(str(clips.ids[i]) in note for i in long)
  with pytest.raises(UserError, match="has 23 steps"):
    read(clips, run=run_of(overlong="truncate"), overlong="error")


def test_a_run_cuts_other_data_to_the_lengths_that_its_own_was_cut_to(clips):
  run = run_of(overlong="truncate", lengths={"audio": 9})
  assert read(clips, run=run, tied=()).modalities["audio"].lengths.max() == 9


def test_what_is_said_of_other_data_counts(clips):
  assert read(clips, overlong="truncate").modalities["audio"].lengths.max() == 17
  spoilt = clips.modalities["text"].values.copy()
  spoilt[3] = np.nan
  text = dataclasses.replace(clips.modalities["text"], values=spoilt)
  spoilt = dataclasses.replace(clips, modalities={**clips.modalities, "text": text})
  with pytest.raises(UserError, match="--nonfinite zero"):
    read(spoilt, tied=())
  mended = read(spoilt, tied=(), nonfinite="zero").modalities["text"].values
  assert (mended[3] == 0).all()
  assert len(read(spoilt, tied=(), skip=True)) == len(clips) - 1


def test_other_data_is_aligned_as_that_of_the_run(tmp_path):
  data = tiny.dataset(longest=dict.fromkeys(tiny.LONGEST, 5))
  made = {}
  for m, x in data.modalities.items():
    within = np.arange(len(x.mask)) - np.repeat(x.offsets[:-1], x.lengths)
    times = np.stack([within, within + 1], 1) / (1 if m == "text" else 2)
    made[m] = dataclasses.replace(x, times=times)
  data = dataclasses.replace(data, modalities=made)
  npz.write(tmp_path / "x.npz", data)
  wanted = alignment.to_steps(data, "text").modalities["audio"].values
  aligned = run_of(align="text")
  for source in (data, str(tmp_path / "x.npz")):
    found = read(source, run=aligned)
    np.testing.assert_array_equal(found.modalities["audio"].values, wanted)
    same = read(found, run=aligned).modalities["audio"]
    np.testing.assert_array_equal(same.values, wanted)
    frames = read(source, run=aligned, align="").modalities["audio"]
    assert len(frames.values) == len(data.modalities["audio"].values)
  bare = dataclasses.replace(made["audio"], times=None)
  bare = dataclasses.replace(data, modalities=made | {"audio": bare})
  with pytest.raises(UserError, match="--config.data.align='text'.*audio has none"):
    read(bare, run=aligned)


def test_bad_samples_are_left_out_and_named(clips):
  long = over(clips)
  found = read(clips, skip=True)
  assert set(clips.ids) - set(found.ids) == set(clips.ids[long])
  (entry,) = (x for x in found.ledger if not x.use)
  assert (entry.count, entry.unit) == (len(long), "samples")
  only = clips.select(long)
  with pytest.raises(UserError, match="no sample is left"):
    read(only, skip=True)


def test_samples_without_any_features_are_not_scored_and_named_where_predicted():
  dataset = tiny.dataset()
  nothing = {
    m: x.shortened(np.where(np.arange(len(dataset)) == 4, 0, x.lengths))
    for m, x in dataset.modalities.items()
  }
  dataset = dataclasses.replace(dataset, modalities=nothing)
  assert "4" not in read(dataset, labels=True).ids
  found = read(dataset)
  assert "4" in found.ids
  assert any("no features at all (4)" in note for note in found.notes)


def test_unlabelled_samples_of_other_data_are_refused_by_a_flag(tmp_path):
  dataset = tiny.dataset()
  labels = dataset.labels.copy()
  labels[[2, 5]] = np.nan
  npz.write(tmp_path / "x.npz", dataclasses.replace(dataset, labels=labels))
  with pytest.raises(UserError, match="--skip-bad") as error:
    read(tmp_path / "x.npz", labels=True)
  assert "data.unlabelled" not in str(error.value)
  left = set(dataset.ids) - set(read(tmp_path / "x.npz", labels=True, skip=True).ids)
  assert left == {"2", "5"}


def test_splits_and_ids_of_other_files_can_be_stated(tmp_path):
  dataset = tiny.dataset()
  ids = np.concatenate([np.arange(n) for n in tiny.COUNTS.values()]).astype(str)
  splits = np.where(dataset.splits == "test", "test2", dataset.splits)
  npz.write(tmp_path / "x.npz", dataclasses.replace(dataset, ids=ids, splits=splits))
  with pytest.raises(UserError, match="--config.data.parts.test=test2"):
    read(tmp_path / "x.npz", labels=True)
  found = read(tmp_path / "x.npz", labels=True, parts={"test": "test2"})
  assert (found.splits == "test").sum() == tiny.COUNTS["test"]
  assert "test/0" in found.ids and "train/0" in found.ids


def arguments(*argv):
  parser = argparse.ArgumentParser()
  parser.add_argument("--input")
  cli.reading_arguments(parser)
  own = [x for x in argv if not x.startswith("--config")]
  found = parser.parse_args(own)
  found.overrides = [x for x in argv if x.startswith("--config")]
  return found


def test_flags_become_fields():
  config = run_of().config
  given = ("--overlong", "truncate", "--skip-bad", "--config.data.ids=by_split")
  found = Reading.of(arguments(*given), config)
  assert found == Reading({"overlong": "truncate", "ids": "by_split"}, skip_bad=True)
  assert not Reading.of(arguments(), config)
  with pytest.raises(UserError, match="'buckets'"):
    Reading.of(arguments("--config.data.buckets=3"), config)
  with pytest.raises(UserError, match="--config.optim.lr=1"):
    Reading.of(arguments("--config.optim.lr=1"), config)
  with pytest.raises(UserError, match="data.ids='twice'"):
    Reading.of(arguments("--config.data.ids=twice"), config)


def test_every_field_that_can_be_stated_is_one_of_the_config():
  assert set(FIELDS) <= set(configs.default().data)


def test_flags_for_other_data_need_other_data():
  cli.check_reading(arguments("--input", "x.npz", "--skip-bad"))
  with pytest.raises(UserError, match="--skip-bad is for other data"):
    cli.check_reading(arguments("--skip-bad"))


@pytest.mark.parametrize("model, found", [(tiny.CONCAT, ()), (tiny.MCR, ("audio",))])
def test_mcr_has_parameters_by_step(model, found):
  config = configs.complete({"model": model})
  spec = Spec(lengths=tiny.LONGEST, widths=tiny.WIDTHS)
  assert shapes.tied(config, spec, {"audio": 23}) == found
