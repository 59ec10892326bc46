"""Situations that users reported, each by the value that it comes to.

The files are made by small scripts, in the folder that MCR_JAX_CASES names; where there
is none, the tests skip. What they show is tried elsewhere in this folder as well, on
files of our own.
"""

import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from mcr_jax.data import readers
from mcr_jax.data.load import load
from mcr_jax.errors import UserError

ROOT = pathlib.Path(__file__).resolve().parents[2]
CASES = pathlib.Path(os.environ.get("MCR_JAX_CASES", ROOT.parent / "shared/cases"))
pytestmark = pytest.mark.skipif(
  not CASES.is_dir(), reason="MCR_JAX_CASES names no folder"
)
SCRIPTS = (1, 3, 6, 7, 9, 12, 16, 17, 18, 21, 22, 23, 25, 26)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  """All files of the cases, made in one process."""
  out = tmp_path_factory.mktemp("cases")
  scripts = [str(next(CASES.glob(f"case_{i:02}_*.py"))) for i in SCRIPTS]
  code = "import runpy, sys; sys.path.insert(0, sys.argv[2])\n"
  code += "for x in sys.argv[3:]: sys.modules.pop('base', None); runpy.run_path(x)"
  command = [sys.executable, "-B", "-c", code, str(out), str(CASES), *scripts]
  subprocess.run(command, check=True, capture_output=True)
  return out


def told(path, **config) -> str:
  with pytest.raises(UserError) as caught:
    load({"path": path, **config})
  return str(caught.value)


def left(dataset) -> dict[str, int]:
  return {x.name: x.count for x in dataset.ledger if not x.use}


@pytest.mark.parametrize(
  "name", ["list_labels", "nested_labels", "ragged_lists", "object_arrays"]
)
def test_lists_and_objects_are_arrays(folder, name):
  data = load(folder / f"c01_{name}.pkl")
  assert data.task == "regression" and len(data) == 72
  assert [x.width for x in data.modalities.values()] == [12, 4, 5]
  if name in ("ragged_lists", "object_arrays"):
    lengths = data.modalities["audio"].lengths
    assert len(set(lengths.tolist())) > 3 and lengths.max() == 6


def test_labels_that_a_split_lacks_change_no_task(folder):
  answer = told(folder / "c03_train_lacks.pkl")
  assert "40 in train" in answer
  kept = load({"path": folder / "c03_train_lacks.pkl", "unlabelled": "keep"}, splits=())
  assert kept.task == "regression" and (~kept.labelled).sum() == 40
  assert load(folder / "c03_class_only.pkl").task == "multiclass"
  assert {x.name: x.use for x in load(folder / "c03_labels_key.pkl").ledger}[
    "labels"
  ] == "labels"
  assert "'label'" in told(folder / "c03_no_labels.pkl")


@pytest.mark.parametrize("split", ["train", "test"])
def test_labels_that_are_no_numbers_are_counted_by_id(folder, split):
  path = folder / f"c06_nan_{split}.pkl"
  answer = told(path)
  assert f"4 in {split}" in answer and f"'{split}$_$3'" in answer
  data = load({"path": path, "unlabelled": "drop"})
  assert len(data) == 68 and left(data)["samples"] == 4
  assert "'train$_$3'" in told(folder / "c06_inf.pkl")


def test_stated_lengths_are_believed_as_far_as_they_can_be(folder):
  whole = load(folder / "c07_floats.pkl").modalities["audio"]
  for name in ("lists", "too_long", "zero"):
    data = load(folder / f"c07_{name}.pkl")
    found = data.modalities["audio"]
    if name == "lists":
      assert found.lengths.tolist() == whole.lengths.tolist() == [20] * 72
    if name == "zero":
      assert left(data)["audio_lengths"] == 9 and (~found.present).sum() == 9
    if name == "too_long":
      assert left(data)["audio_lengths"] == 39 and found.lengths[0] == 10
  for name, value in (("short", "39"), ("negative", "int64")):
    assert value in told(folder / f"c07_{name}.pkl")


@pytest.mark.parametrize(
  ("name", "value"),
  [
    ("c09_lfs.pkl", "12,345 bytes"),
    ("c09_html.pkl", "'Virus scan warning'"),
    ("c09_zeros.pkl", "zeros"),
    ("c09_empty.pkl", "0 bytes"),
    ("c09_cut.pkl", "19451"),
    ("c09_crlf.pkl", "\\r\\n"),
    ("c09_cut.npz", "truncated"),
  ],
)
def test_a_file_is_named_for_what_it_is(folder, name, value):
  assert value in told(folder / name)


@pytest.mark.parametrize("name", ["c09_gz.pkl.gz", "c09_zip.zip"])
def test_packed_files_are_read(folder, name):
  data = load(folder / name)
  assert len(data) == 72 and data.task == "regression"


@pytest.mark.parametrize("name", ["mag", "misa"])
def test_tuples_are_read(folder, name):
  data = load(folder / f"c12_{name}.pkl")
  assert [(k, x.width) for k, x in data.modalities.items()] == [
    ("vision", 47),
    ("audio", 74),
  ]
  assert np.unique(data.splits, return_counts=True)[1].tolist() == [8, 20, 8]
  assert data.task == "regression" and left(data)["words"] == 36
  one = readers.read(folder / "c12_misa_train_only.pkl")
  assert len(one) == 20 and one.splits is None


@pytest.mark.parametrize(
  ("name", "names"),
  [
    ("one_to_three", ("1", "2", "3")),
    ("gap", ("0", "1", "7")),
    ("text", ("neg", "neu", "pos")),
    ("bool", ()),
    ("column", ()),
    ("uint8", ()),
    ("absent_in_train", ()),
    ("absent_in_test", ()),
    ("one_test", ()),
    ("imbalanced", ()),
  ],
)
def test_classes_are_those_that_occur(folder, name, names):
  data = load(folder / f"c16_{name}.npz")
  assert data.task == "multiclass" and data.class_names == names
  if name == "absent_in_train":
    assert any("2" in x and "train" in x for x in data.notes)


def test_labels_that_are_no_classes_are_refused_by_value(folder):
  assert "-1" in told(folder / "c16_minus.npz")
  assert "0 to 0" in told(folder / "c16_one_class.npz")


@pytest.mark.parametrize(
  "name",
  [
    *("plain", "bom_crlf", "semicolon", "tab", "utf16", "spaces", "capital_header"),
    *("capital_split", "backslash", "quoted", "blank_lines", "empty_cell", "old_mac"),
  ],
)
def test_tables_are_read_as_programs_save_them(folder, name):
  data = load(folder / f"c17_{name}")
  assert len(data) == 24 and data.task == "regression" and data.ids[0] == "视0"
  assert data.modalities["text"].present.sum() == 24 - (name == "empty_cell")
  expected = {"blank_lines": {"rows": 1}, "empty_cell": {".npy files": 1}}
  assert left(data) == expected.get(name, {})


def test_what_a_table_cannot_say_itself_is_asked_for(folder):
  assert "data.encoding=gbk" in told(folder / "c17_gbk")
  assert load({"path": folder / "c17_gbk", "encoding": "gbk"}).ids[0] == "视0"
  assert "row 2 '0,5'" in told(folder / "c17_decimal_comma")
  data = load({"path": folder / "c17_decimal_comma", "decimal": ","})
  assert data.task == "regression" and set(data.labels.tolist()) == {0.5, 1.5, 2.5}
  assert "row 5: 't333.npy'" in told(folder / "c17_missing_file")
  assert load(folder / "c17_words").class_names == ("neg", "pos")


def test_nothing_of_a_corpus_vanishes(folder):
  assert load(folder / "c18_named").class_names == (
    *("angry", "happy", "neutral", "sad", "surprise", "worried"),
  )
  data = load(folder / "c18_empty")
  assert left(data)["wavlm-base-UTT/*.npy"] == 2
  assert (~data.modalities["audio"].present).sum() == 2
  assert (~load(folder / "c18_lost").modalities["audio"].present).sum() == 2
  answer = told(folder / "c18_test1_test2")
  assert "test1_corpus" in answer and "data.parts.valid=" in answer
  parts = {"valid": "test1", "test": "test2"}
  data = load({"path": folder / "c18_test1_test2", "parts": parts})
  assert np.unique(data.splits, return_counts=True)[1].tolist() == [8, 20, 8]


@pytest.mark.parametrize(
  ("name", "cell"),
  [
    ("na", "N/A"),
    ("question", "?"),
    ("nan", "nan"),
    ("comma", "1,5"),
    ("percent", "50%"),
  ],
)
def test_one_bad_label_is_named_by_row_and_cell(folder, name, cell):
  path = folder / f"c21_{name}" / "table.csv"
  assert f"row 9 {cell!r}" in told(path)
  if name in ("na", "question", "nan"):
    data = load({"path": path, "unlabelled": "drop"})
    assert data.task == "regression" and len(data) == 29


@pytest.mark.parametrize(
  "name",
  [
    *("dev", "capital", "float_mask", "object_ids", "bytes_ids", "labels_plural"),
    *("nan_in_padding", "big_endian", "f16", "compressed"),
  ],
)
def test_odd_feature_files_are_those_that_are_plain(folder, name):
  plain, found = (load(folder / f"c22_{x}.npz") for x in ("plain", name))
  assert found.ids.tolist() == plain.ids.tolist()
  assert found.splits.tolist() == plain.splits.tolist()
  np.testing.assert_array_equal(found.labels, plain.labels)
  tolerance = 2e-3 if name == "f16" else 0
  text = (x.modalities["text"] for x in (plain, found))
  a, b = (x.values[x.mask] for x in text)
  np.testing.assert_allclose(b, a, rtol=tolerance, atol=tolerance)


def test_a_mask_that_is_not_there_is_named(folder):
  assert "'text_mask'" in told(folder / "c22_no_mask.npz")
  assert "-3" in told(folder / "c22_int_label_regression.npz")


def test_segments_of_computational_sequences(folder):
  data = load(folder / "c23_zero_segment")
  assert len(data) == 24 and left(data)["samples"] == 6
  assert load(folder / "c23_eleven").labels.shape == (30, 11)
  assert load(folder / "c23_seven").labels.shape == (30,)
  lost = load(folder / "c23_lost").modalities["audio"].present
  assert (~lost).sum() == 5
  assert "'vid0[0]'" in told(folder / "c23_inf")
  assert "'split'" in told(folder / "c23_no_splits")


def test_a_longer_clip_is_cut_or_refused_by_value(folder):
  path = folder / "c25_new.pkl"
  config = {"path": path, "lengths": {"audio": 20}}
  with pytest.raises(UserError, match="31"):
    load(config, for_training=False)
  data = load(config | {"overlong": "truncate"}, for_training=False)
  assert data.modalities["audio"].lengths.tolist() == [20, 12, 12]


def test_ids_of_a_split_are_made_unique(folder):
  path = folder / "c26_meld_ids.pkl"
  assert "data.ids=by_split" in told(path)
  data = load({"path": path, "ids": "by_split"})
  assert len(set(data.ids.tolist())) == 72 and data.ids[0] == "train/dia0_utt0"
