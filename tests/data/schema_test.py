"""Ragged sequences: padding, trimming and choosing lose nothing that is real."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mcr_jax.data.schema import (
  Column,
  Dataset,
  Modality,
  canonical,
  chunks,
  release,
)

MASKS = hnp.arrays(bool, st.tuples(st.integers(1, 5), st.integers(1, 7)))


def padded(mask, width=3):
  values = (
    np.arange(mask.size * width, dtype=np.float32).reshape(*mask.shape, width) + 1
  )
  return np.where(mask[..., None], values, 0), mask


@given(MASKS)
@settings(deadline=None)
def test_padding_what_was_padded_gives_it_back(mask):
  values, mask = padded(mask)
  modality = Modality.from_padded(values, mask)
  again, again_mask = modality.padded(np.arange(len(mask)), mask.shape[1])
  np.testing.assert_array_equal(again, values)
  np.testing.assert_array_equal(again_mask, mask)
  np.testing.assert_array_equal(modality.present, mask.any(1))


@given(MASKS, st.integers(1, 8))
@settings(deadline=None)
def test_shortening_is_cutting_the_padded_array(mask, length):
  values, mask = padded(mask)
  modality = Modality.from_padded(values, mask)
  short = modality.shortened(np.full(len(mask), length))
  again, again_mask = short.padded(np.arange(len(mask)), mask.shape[1])
  np.testing.assert_array_equal(again[:, :length], values[:, :length])
  np.testing.assert_array_equal(again_mask[:, :length], mask[:, :length])
  assert not again_mask[:, length:].any()


@given(MASKS)
@settings(deadline=None)
def test_trimming_drops_only_what_follows_the_last_real_step(mask):
  values, mask = padded(mask)
  count, steps = mask.shape
  loose = Modality(values.reshape(-1, 3), np.arange(count + 1) * steps, mask.ravel())
  tight, right = loose.trimmed(), Modality.from_padded(values, mask)
  np.testing.assert_array_equal(tight.offsets, right.offsets)
  np.testing.assert_array_equal(tight.values, right.values)
  np.testing.assert_array_equal(tight.mask, right.mask)


def test_selecting_repeats_and_reorders_samples():
  values, mask = padded(np.array([[1, 0, 1], [0, 0, 0], [1, 1, 0]], bool))
  modality = Modality.from_padded(values, mask)
  chosen, chosen_mask = modality.select(np.array([2, 0, 2, 1])).padded(np.arange(4), 3)
  np.testing.assert_array_equal(chosen, values[[2, 0, 2, 1]])
  np.testing.assert_array_equal(chosen_mask, mask[[2, 0, 2, 1]])


def test_a_data_set_selects_its_other_arrays_with_it():
  dataset = Dataset(
    ids=np.array(["a", "b"]),
    modalities={"text": Modality.from_vectors(np.ones((2, 3)))},
    labels=np.array([1.0, 2.0]),
    extras={"label_face": np.array([3.0, 4.0]), "label_names": np.array(["x"])},
  )
  chosen = dataset.select(np.array([1]))
  assert (chosen.ids, chosen.labels, chosen.extras["label_face"]) == ("b", 2.0, 4.0)
  assert chosen.extras["label_names"] == ["x"]


def test_padding_to_less_than_the_longest_sequence_is_refused():
  modality = Modality.from_padded(*padded(np.ones((1, 5), bool)))
  with pytest.raises(ValueError, match="5 steps.* 4"):
    modality.padded(np.array([0]), 4)


def test_samples_can_lack_a_whole_modality():
  values, mask = Modality.absent(3, 7).padded(np.arange(3), 2)
  assert values.shape == (3, 2, 7) and not values.any() and not mask.any()
  assert not Modality.absent(3, 7).present.any()


def test_chunks_cover_a_mapped_file_once_and_releasing_it_loses_nothing(tmp_path):
  values = np.arange(30_000, dtype=np.float32).reshape(-1, 3)
  np.save(tmp_path / "x.npy", values)
  mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
  parts = [mapped[rows].copy() for rows in chunks(mapped, 1000)]
  assert len(parts) > 100
  np.testing.assert_array_equal(np.concatenate(parts), values)


def test_releasing_a_private_map_keeps_what_was_written_to_it(tmp_path):
  np.save(tmp_path / "x.npy", np.zeros((5000, 3), np.float32))
  private = np.load(tmp_path / "x.npy", mmap_mode="c")
  private[4] = 7
  release(private)
  assert (private[4] == 7).all()


@pytest.mark.parametrize(
  "name, right",
  [("language", "text"), ("V", "vision"), ("acoustic", "audio"), ("Gaze", "Gaze")],
)
def test_aliases_of_modalities_are_known(name, right):
  assert canonical(name) == right


def labelled(labels, **fields):
  labels = np.asarray(labels)
  modality = Modality.from_vectors(np.ones((len(labels), 3)))
  ids = np.arange(len(labels)).astype(str)
  return Dataset(ids, {"text": modality}, labels=labels, **fields)


@pytest.mark.parametrize(
  "labels, task, outputs",
  [
    ([0.5, 1.0], "regression", (1,)),
    ([[0.5, 1.0], [2.0, 1.0]], "regression", (2,)),
    ([0, 2], "multiclass", (3,)),
    ([[0, 1], [1, 1]], "binary", (2, 2)),
  ],
)
def test_a_task_that_is_not_said_is_inferred_from_the_labels(labels, task, outputs):
  dataset = labelled(labels)
  assert (dataset.task, dataset.outputs) == (task, outputs)


def test_a_multi_task_classification_has_as_many_outputs_as_its_largest_label():
  dataset = labelled(
    [[0, 3], [1, 0]],
    task="multitask",
    class_names=(("no", "yes"), ("n", "e", "s", "w", "none")),
  )
  assert dataset.outputs == (2, 5)


def test_other_labels_take_what_belonged_to_the_old_ones_away():
  dataset = labelled(
    [0, 1], class_names=("no", "yes"), label_mask=np.array([1, 0], bool)
  )
  other = dataset.relabelled(np.array([0.5, 2.0]))
  assert (other.task, other.class_names, other.label_mask) == ("regression", (), None)
  assert labelled([0, 1]).relabelled(None).task == ""


def test_columns_and_the_mask_of_labels_are_selected_with_their_samples():
  dataset = labelled(
    [0.0, 1.0, 2.0],
    columns={"turn": Column(np.arange(3), "turn", np.array([True, False, True]))},
    label_mask=np.array([True, True, False]),
  )
  chosen = dataset.select(np.array([2, 1]))
  np.testing.assert_array_equal(chosen.columns["turn"].values, [2, 1])
  np.testing.assert_array_equal(chosen.columns["turn"].known, [True, False])
  np.testing.assert_array_equal(chosen.labelled, [False, True])
