"""Classes with gaps, without training samples, and under the names of others."""

import numpy as np
import pytest

from mcr_jax.data import Dataset, Modality, classes, load
from mcr_jax.data.checks import validate
from mcr_jax.data.labels import as_task
from mcr_jax.data.schema import Column

SPLITS = np.repeat(["train", "valid", "test"], [6, 3, 3])


def dataset(labels, **fields):
  labels = np.asarray(labels)
  return Dataset(
    ids=np.arange(len(labels)).astype(str),
    modalities={"text": Modality.from_vectors(np.ones((len(labels), 2)))},
    splits=SPLITS[: len(labels)],
    labels=labels,
    **fields,
  )


@pytest.mark.parametrize(
  "values, names, outputs",
  [
    ([1, 2, 3], ("1", "2", "3"), 3),
    ([0, 1, 7], ("0", "1", "7"), 3),
    ([5, 900, 10**9], ("5", "900", "1000000000"), 3),
    ([0, 1, 2], (), 3),
    ([False, True, True], (), 2),
  ],
)
def test_only_classes_that_occur_are_classes(values, names, outputs):
  found = validate(dataset(np.array(values * 4)))
  assert (found.class_names, found.outputs) == (names, (outputs,))
  shown = names or ("0", "1", "2")
  assert [shown[i] for i in found.labels] == [str(int(x)) for x in values * 4]


def test_every_label_of_several_has_its_own_classes():
  labels = np.stack([np.tile([1, 2, 3], 4), np.tile([0, 4], 6)], 1)
  found = validate(as_task(dataset(labels), "multitask"))
  assert found.class_names == (("1", "2", "3"), ("0", "4"))
  assert found.labels[:3].tolist() == [[0, 0], [1, 1], [2, 0]]


def test_labels_by_modality_follow():
  face = Column(np.tile([4, 2, 2], 4), "modality_label", None, "vision")
  found = validate(dataset(np.tile([1, 2, 4], 4), columns={"label_V": face}))
  assert found.class_names == ("1", "2", "4")
  assert found.columns["label_V"].values[:3].tolist() == [2, 1, 1]


def test_named_classes_stay_though_no_sample_has_them():
  found = validate(dataset(np.tile([0, 2], 6), class_names=("a", "b", "c")))
  assert found.class_names == ("a", "b", "c") and found.outputs == (3,)
  assert classes.untrained(found) == {"b": {"valid": 0, "test": 0}}


def test_classes_that_nobody_learns_are_counted(tmp_path):
  labels = np.array([0, 1, 0, 1, 0, 1, 2, 2, 0, 2, 1, 0])
  found = validate(dataset(labels))
  assert classes.untrained(found) == {"2": {"valid": 2, "test": 1}}
  assert not classes.untrained(validate(dataset(labels % 2)))
  path = tmp_path / "x.npz"
  np.savez(path, id=found.ids, split=SPLITS, label=labels, text=np.ones((12, 2)))
  assert set(classes.notes(found)) <= set(load(path).notes)


@pytest.mark.parametrize(
  "labels, own, names, right",
  [
    ([0, 1, 0], ("c", "a"), ("a", "b", "c"), [2, 0, 2]),
    ([1, 1, 2], ("x", "b", "c"), ("a", "b", "c"), [1, 1, 2]),
    ([0, 1, 0], ("x", "a"), ("a", "b", "c"), None),
    ([1, 3, 1], (), ("1", "2", "3"), [0, 2, 0]),
    ([0, 3, 1], (), ("1", "2", "3"), None),
    ([0, 2, 1], (), ("a", "b", "c"), [0, 2, 1]),
    ([0, 3, 1], (), ("a", "b", "c"), None),
  ],
)
def test_classes_of_another_file_are_found_by_name(labels, own, names, right):
  found = classes.as_named(dataset(labels, class_names=own), names)
  if right is None:
    assert found is None
  else:
    assert found.labels.tolist() == right and found.class_names == names


def test_each_of_several_labels_is_found_by_name():
  names = (("no", "yes"), ("low", "high"))
  labels = np.array([[0, 1], [1, 0], [1, 1]])
  other = dataset(labels, task="multitask", class_names=(("yes", "no"), names[1]))
  assert classes.as_named(other, names).labels.tolist() == [[1, 1], [0, 0], [0, 1]]
