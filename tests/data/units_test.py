"""Dialogues: which utterances they hold, in which order, and the way back to them."""

import dataclasses

import numpy as np
import pytest

from mcr_jax.data.schema import Column, Dataset, Modality
from mcr_jax.data.units import Units
from mcr_jax.errors import UserError


def conversations(**columns):
  """Two dialogues whose turns are mixed up in the file: b(2, 5, 9), a(0, 1)."""
  given = {
    "dialogue_id": np.array(["b", "a", "b", "a", "b"]),
    "turn": np.array([9, 1, 2, 0, 5]),
    "speaker": np.array(["Joey", "Ross", "Ross", "Joey", "Joey"]),
  } | columns
  roles = {"dialogue_id": "dialogue", "turn": "turn", "speaker": "speaker"}
  return Dataset(
    ids=np.array([f"u{i}" for i in range(5)]),
    modalities={"text": Modality.from_vectors(np.zeros((5, 2)))},
    splits=np.array(["test", "train", "test", "train", "test"]),
    labels=np.array([0.0, 1.0, 2.0, 3.0, 4.0], np.float32),
    columns={k: Column(x, roles[k]) for k, x in given.items() if x is not None},
    source="talk.npz",
  )


def test_an_utterance_is_a_sample_of_its_own():
  dataset = conversations()
  units = Units.of(dataset, "utterance")
  assert units.members.dtype == np.int32 and units.members.shape == (5, 1)
  np.testing.assert_array_equal(units.members[:, 0], np.arange(5))
  np.testing.assert_array_equal(units.splits(dataset), dataset.splits)
  assert not units.columns(dataset)


def test_a_dialogue_is_its_utterances_in_the_order_of_turns_with_gaps():
  dataset = conversations()
  units = Units.of(dataset, "dialogue")
  np.testing.assert_array_equal(units.members, [[2, 4, 0], [3, 1, -1]])
  np.testing.assert_array_equal(units.lengths, [3, 2])
  assert len(units) == 2 and units.members.dtype == np.int32
  assert units.splits(dataset).tolist() == ["test", "train"]


def test_without_turns_the_file_orders_the_utterances():
  units = Units.of(conversations(turn=None), "dialogue")
  np.testing.assert_array_equal(units.members, [[0, 2, 4], [1, 3, -1]])


def test_speakers_are_numbered_in_each_dialogue_by_first_appearance():
  dataset = conversations()
  columns = Units.of(dataset, "dialogue").columns(dataset)
  # b: Ross, Joey, Joey; a: Joey, Ross.
  np.testing.assert_array_equal(columns["speaker"], [1, 1, 0, 0, 1])
  assert columns["speaker"].dtype == np.int32


def test_other_names_for_the_speakers_are_the_same_numbers():
  dataset = conversations(speaker=np.array([7, -3, -3, 7, 7]))
  columns = Units.of(dataset, "dialogue").columns(dataset)
  np.testing.assert_array_equal(columns["speaker"], [1, 1, 0, 0, 1])


def test_without_speakers_everybody_is_speaker_0():
  dataset = conversations(speaker=None)
  assert not Units.of(dataset, "dialogue").columns(dataset)["speaker"].any()


def test_a_video_whose_clips_have_turns_is_a_dialogue():
  names = np.array(["b", "a", "b", "a", "b"])
  dataset = conversations(dialogue_id=None)
  columns = {"video_id": Column(names, "video"), "turn": dataset.columns["turn"]}
  found = Units.of(dataclasses.replace(dataset, columns=columns), "dialogue")
  np.testing.assert_array_equal(found.members, [[2, 4, 0], [3, 1, -1]])
  splits = np.array(["test", "train", "valid", "train", "test"])
  wrong = dataclasses.replace(dataset, columns=columns, splits=splits)
  with pytest.raises(UserError, match="two splits.*fold_by=video_id"):
    Units.of(wrong, "dialogue")
  del columns["turn"]
  with pytest.raises(UserError, match="'dialogue_id'"):
    Units.of(dataclasses.replace(dataset, columns=columns), "dialogue")


def test_dialogues_need_a_column_that_names_them():
  with pytest.raises(UserError, match="'dialogue_id'"):
    Units.of(conversations(dialogue_id=None), "dialogue")


def test_a_turn_twice_is_refused_with_both_ids():
  with pytest.raises(UserError, match="turn 2 of dialogue 'b'.*'u0' and 'u2'"):
    Units.of(conversations(turn=np.array([2, 1, 2, 0, 5])), "dialogue")


def test_equal_turns_of_two_dialogues_are_no_repeat():
  Units.of(conversations(turn=np.array([0, 0, 1, 1, 2])), "dialogue")


def test_a_dialogue_in_two_splits_is_refused_with_both():
  dataset = conversations()
  splits = np.array(["test", "train", "test", "train", "valid"])
  dataset = dataclasses.replace(dataset, splits=splits)
  with pytest.raises(UserError, match="dialogue 'b' is in two .*'u0'.*'u4' in 'valid'"):
    Units.of(dataset, "dialogue")
  Units.of(dataset, "utterance")  # of no concern to it


def test_an_unknown_unit_is_refused():
  with pytest.raises(UserError, match="data.unit='dialog'.*Did you mean"):
    Units.of(conversations(), "dialog")


def test_without_splits_dialogues_have_none():
  dataset = dataclasses.replace(conversations(), splits=None)
  assert Units.of(dataset, "dialogue").splits(dataset) is None


def test_a_label_by_modality_falls_back_to_the_label():
  face = Column(
    np.array([9.0, np.nan, 9.0, 9.0, np.nan]),
    "modality_label",
    np.array([True, False, True, True, False]),
    "vision",
  )
  classes = Column(np.arange(5), "modality_label", None, "audio")
  dataset = dataclasses.replace(
    conversations(), columns={"label_V": face, "label_A": classes}
  )
  columns = Units.of(dataset).columns(dataset)
  np.testing.assert_array_equal(columns["label_vision"], [9, 1, 9, 9, 4])
  assert columns["label_vision"].dtype == np.float32
  # Classes are of no use to a regression.
  assert "label_audio" not in columns
