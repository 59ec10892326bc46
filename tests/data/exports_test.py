"""Quirks of files as spreadsheets, pandas and NumPy write them, by what is read."""

import numpy as np
import pytest

from mcr_jax.data import labels, readers, report
from mcr_jax.data.readers.common import orders
from mcr_jax.errors import UserError

FEATURES = np.arange(12, dtype=np.float32).reshape(6, 2)


def table(path, **columns):
  rows = [columns, *zip(*columns.values(), strict=True)]
  path.write_text("".join(",".join(map(str, x)) + "\n" for x in rows))
  return path


def features(**more):
  return more | {f"audio_{i}": FEATURES[:, i].tolist() for i in range(2)}


@pytest.mark.parametrize("cell", ['"1,234.5"', "1'234.5", "1 234 567", "12.5%", "7 %"])
def test_a_column_of_numbers_for_people_is_never_left_out(tmp_path, cell):
  path = table(tmp_path / "x.csv", **features(id=list("abcdef"), audio_2=[cell] * 6))
  with pytest.raises(UserError, match="6 of 6 entries of 'audio_2'"):
    readers.read(path)


def test_times_of_a_clock_are_no_ids(tmp_path):
  times = [f'"00:16:0{i},059"' for i in range(6)]
  path = table(tmp_path / "x.csv", **features(StartTime=times, label=range(6)))
  found = readers.read(path)
  assert "00:16:00,059" not in found.ids.tolist() and len(set(found.ids)) == 6
  assert [x.name for x in found.ledger if not x.use] == ["StartTime"]


def test_a_hidden_label_among_words_is_no_label(tmp_path):
  words = np.array(["pos", "neg", "neu", "pos", None, None], object)
  np.savez(tmp_path / "x.npz", id=list("abcdef"), labels=words, audio=FEATURES)
  found = readers.read(tmp_path / "x.npz")
  assert found.labels.tolist() == [2, 0, 1, 2, -1, -1]
  assert list(found.class_names) == ["neg", "neu", "pos"]
  assert [x.count for x in found.ledger if not x.use] == [2]


def test_segments_that_are_named_alike_take_the_name_of_their_video():
  own = {str(i): {"audio": FEATURES, "label": i} for i in range(2)}
  (part,) = orders.of({"v1": own, "v2": own}).parts
  assert part.columns["id"] == ["v1_0", "v1_1", "v2_0", "v2_1"]
  assert part.columns["video_id"] == ["v1", "v1", "v2", "v2"]


def test_what_is_wrong_beside_absent_splits_is_told_too(tmp_path):
  labels = np.array([0, 1, 0, 1, -1, -1])
  np.savez(tmp_path / "x.npz", id=list("abcdef"), label=labels, audio=FEATURES)
  found = report.problem(readers.read(tmp_path / "x.npz"))
  assert "no 'split'" in found and "2 of 6 labels are -1" in found


def test_minus_one_that_becomes_a_number_is_told(tmp_path):
  for hidden, told in (([50, 3, -1, -1], "2 of 6"), ([50, 3, -1, -2], None)):
    path = tmp_path / "x.npz"
    np.savez(path, id=list("abcdef"), label=[0, 9, *hidden], audio=FEATURES)
    found = labels.as_task(readers.read(path), "regression")
    assert found.labels.tolist() == [0, 9, *hidden]
    assert [x[:6] for x in found.notes if "the number -1" in x] == [told] * bool(told)
