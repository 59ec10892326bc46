"""Forms in which people save features of their own: tables, samples, columns, JSON."""

import gzip
import json

import h5py
import numpy as np
import pytest

from mcr_jax.data import readers
from mcr_jax.data.readers.common import orders
from mcr_jax.errors import UserError
from tests.data import writers

IDS = ["a", "b", "c", "d", "e", "f"]
SPLITS = ["train", "train", "train", "dev", "test", "test"]
WORDS = ["sad", "glad", "glad", "sad", "glad", "sad"]
NUMBERS = [1.5, -0.5, 0.25, 2.0, -1.0, 0.0]


def audio() -> list[np.ndarray]:
  random = np.random.default_rng(0)
  return [random.normal(size=(n, 3)).astype(np.float32) for n in (2, 1, 4, 3, 2, 5)]


def text() -> np.ndarray:
  return np.random.default_rng(1).normal(size=(6, 4)).astype(np.float32)


def samples(label=WORDS) -> list[dict]:
  rows = zip(IDS, SPLITS, label, audio(), text(), strict=True)
  names = ("id", "split", "label", "audio_feat", "text")
  return [dict(zip(names, row, strict=True)) for row in rows]


def check(found, ids=IDS, *, labels=WORDS, split=True):
  """The data set that all of these files hold."""
  assert found.ids.tolist() == list(ids)
  if split:
    right = [{"dev": "valid"}.get(x, x) for x in SPLITS]
    assert found.splits.tolist() == right
  if labels is WORDS:
    assert [found.class_names[i] for i in found.labels] == WORDS
  else:
    np.testing.assert_array_equal(found.labels, np.float32(labels))
  own = found.modalities["audio"]
  np.testing.assert_array_equal(own.values, np.concatenate(audio()))
  assert own.lengths.tolist() == [len(x) for x in audio()]
  np.testing.assert_array_equal(found.modalities["text"].values, text())
  assert not [x for x in found.ledger if not x.use]


def by_split(items) -> dict:
  return {s: [x for x in items if x["split"] == s] for s in ("train", "dev", "test")}


def without(sample, *keys) -> dict:
  return {key: x for key, x in sample.items() if key not in keys}


ORDERS = {
  "a list of dicts": samples(),
  "splits of lists": {
    s: [without(x, "split") for x in own] for s, own in by_split(samples()).items()
  },
  "a dict by id": {x["id"]: without(x, "id") for x in samples()},
  "splits by id": {
    s: {x["id"]: without(x, "id", "split") for x in own}
    for s, own in by_split(samples()).items()
  },
  "videos of segments": {
    v: {x["id"]: without(x, "id") for x in own}
    for v, own in (("v1", samples()[:2]), ("v2", samples()[2:]))
  },
  "videos of lists": {"v1": samples()[:4], "v2": samples()[4:]},
  "splits of videos": {
    s: {f"{s} 1": {x["id"]: without(x, "id", "split") for x in own}}
    for s, own in by_split(samples()).items()
  },
  "columns by id": {
    key: {x["id"]: x[key] for x in samples()} for key in without(samples()[0], "id")
  },
  "columns": {key: [x[key] for x in samples()] for key in samples()[0]},
  "columns of splits": {
    key: {s: [x[key] for x in own] for s, own in by_split(samples()).items()}
    for key in ("id", "label", "text", "audio_feat")
  },
  "splits of columns": {
    s: {key: [x[key] for x in own] for key in ("id", "label", "text", "audio_feat")}
    for s, own in by_split(samples()).items()
  },
}


@pytest.mark.parametrize("order", ORDERS)
def test_every_order_of_samples_is_read(tmp_path, order):
  check(readers.read(writers.dump(tmp_path / "x", ORDERS[order])))


def test_the_names_of_columns_may_say_the_split(tmp_path):
  for form in ("{0}_{1}", "{1}_{0}", "{1}/{0}"):
    arrays = {}
    for place, rows in (("train", [0, 1, 2]), ("val", [3]), ("test", [4, 5])):
      arrays[form.format("text", place)] = text()[rows]
      arrays[form.format("labels", place)] = np.float32(NUMBERS)[rows]
    np.savez(tmp_path / "x.npz", **arrays)
    found = readers.read(tmp_path / "x.npz")
    assert found.ids.tolist() == [
      "train0",
      "train1",
      "train2",
      "val0",
      "test0",
      "test1",
    ]
    np.testing.assert_array_equal(found.labels, np.float32(NUMBERS))
    assert found.splits.tolist()[3] == "valid" and found.task == "regression"
    np.testing.assert_array_equal(found.modalities["text"].values, text())


def test_what_stands_beside_splits_is_named(tmp_path):
  content = ORDERS["splits of lists"] | {"version": "2", "config": {"lr": 0.1, "b": 2}}
  found = readers.read(writers.dump(tmp_path / "x", content))
  left = {x.name: x.count for x in found.ledger if not x.use}
  assert left == {"version": 1, "config": 2} and len(found) == 6
  names = {"X_train": text()[:4], "X_test": text()[4:], "classes": ["a", "b"]}
  names |= {"y_train": [0, 1, 0, 1], "y_test": [1, 0]}
  found = readers.read(writers.dump(tmp_path / "y", names))
  assert found.labels.tolist() == [0, 1, 0, 1, 1, 0]
  assert {x.name: x.count for x in found.ledger if not x.use} == {"classes": 2}


def test_features_of_other_names_are_modalities_of_their_own(tmp_path):
  labels = np.array([0, 1, 1, 0, 1, 0])
  np.savez(tmp_path / "x.npz", mfcc=text(), emotions=labels, names=IDS, age=labels)
  found = readers.read(tmp_path / "x.npz")
  assert set(found.modalities) == {"mfcc"} and found.ids.tolist() == IDS
  assert found.labels.tolist() == labels.tolist()
  (left,) = [x for x in found.ledger if not x.use]
  assert left.name == "age" and left.count == 6
  assert found.extras["age"].tolist() == labels.tolist()  # for folds


def test_features_and_labels_may_be_dicts_of_a_sample(tmp_path):
  own = [
    {
      "id": x["id"],
      "features": {"audio": x["audio_feat"], "text": x["text"]},
      "labels": {"valence": 1.5, "joy": i % 2},
    }
    for i, x in enumerate(samples())
  ]
  found = readers.read(writers.dump(tmp_path / "x", {"version": 1, "data": own}))
  assert found.ids.tolist() == IDS and found.labels.tolist() == [1.5] * 6
  np.testing.assert_array_equal(found.modalities["text"].values, text())
  assert found.extras["label_joy"].tolist() == [0, 1] * 3


def test_a_folder_may_have_a_table_or_json_a_split(tmp_path):
  lines = wide().splitlines()
  for place, rows in (
    ("train", lines[1:4]),
    ("devel", lines[4:5]),
    ("test", lines[5:]),
  ):
    folders = [tmp_path / "csv", tmp_path / "json"]
    for folder in folders:
      folder.mkdir(exist_ok=True)
    (folders[0] / f"a.{place}.csv").write_text("\n".join([lines[0], *rows]))
    own = [listed(x) for x in by_split(samples()).get(place, samples()[3:4])]
    (folders[1] / f"{place}.json").write_text(json.dumps(own))
  (tmp_path / "csv" / "notes.csv").write_text("a,b\n")
  for folder in folders:
    found = readers.read(folder)
    order = [found.ids.tolist().index(x) for x in IDS]
    right = [{"dev": "valid"}.get(x, x) for x in SPLITS]
    assert found.splits[order].tolist() == right
    assert [found.class_names[i] for i in found.labels[order]] == WORDS
  left = [x.name for x in readers.read(tmp_path / "csv").ledger if not x.use]
  assert "notes.csv" in left


def test_lists_in_cells_are_read_unless_they_were_shortened(tmp_path):
  for form in (lambda x: str(x.tolist()), str):
    cells = [f'{name},1.5,"{form(x)}"' for name, x in zip(IDS, audio(), strict=True)]
    (tmp_path / "x.csv").write_text("\n".join(["utt,label,audio", *cells]))
    found = readers.read(tmp_path / "x.csv").modalities["audio"]
    assert found.lengths.tolist() == [len(x) for x in audio()]
    np.testing.assert_allclose(found.values, np.concatenate(audio()), rtol=1e-6)
  cells[2] = 'c,1.5,"[[0.1 0.2 ... 0.3]]"'
  (tmp_path / "x.csv").write_text("\n".join(["utt,label,audio", *cells]))
  with pytest.raises(UserError, match="'audio' of row .* was shortened"):
    readers.read(tmp_path / "x.csv")


def test_what_has_no_entry_a_sample_is_named(tmp_path):
  block = np.ones((6, 5, 3), np.float32) * np.arange(1, 7)[:, None, None]
  block[:, 4:] = 0
  arrays = {"audio_mel": block, "audio_mfcc": text(), "text": text()[:4]}
  split = [{"dev": "valid"}.get(x, x) for x in SPLITS]
  np.savez(tmp_path / "x.npz", label=NUMBERS, split=split, rows=np.arange(4), **arrays)
  found = readers.read(tmp_path / "x.npz")
  assert {x.name: x.count for x in found.ledger if not x.use} == {"text": 4, "rows": 4}
  # Two for one modality are two.
  assert set(found.modalities) == {"audio_mel", "audio_mfcc"}
  assert found.modalities["audio_mel"].lengths.tolist() == [4] * 6
  assert found.splits.tolist() == split and found.labels.tolist() == NUMBERS


def test_what_some_samples_lack_is_counted(tmp_path):
  own = samples()
  del own[1]["audio_feat"]
  own[2]["text"] = None
  found = readers.read(writers.dump(tmp_path / "x", own))
  assert (~found.modalities["audio"].present).tolist() == [0, 1, 0, 0, 0, 0]
  assert (~found.modalities["text"].present).tolist() == [0, 0, 1, 0, 0, 0]
  left = {x.name: x.count for x in found.ledger if not x.use}
  assert left == {"audio_feat": 1, "text": 1}


def listed(sample) -> dict:
  return {k: x.tolist() if isinstance(x, np.ndarray) else x for k, x in sample.items()}


def test_json_is_read_whole_and_by_lines(tmp_path):
  own = [listed(x) for x in samples()]
  (tmp_path / "x.json").write_text(json.dumps(own))
  (tmp_path / "x.jsonl").write_text("\n".join(map(json.dumps, own)))
  for name in ("x.json", "x.jsonl"):
    found = readers.read(tmp_path / name)
    np.testing.assert_allclose(found.modalities["text"].values, text(), rtol=1e-6)
    assert [found.class_names[i] for i in found.labels] == WORDS


def test_json_without_features_says_what_it_holds(tmp_path):
  content = {x["id"]: {"label": 1.0, "split": x["split"]} for x in samples()}
  (tmp_path / "x").write_text(json.dumps(content))
  with pytest.raises(
    UserError, match="6 samples with 'id', 'label', 'split', and no f"
  ):
    readers.read(tmp_path / "x")


def test_hdf5_by_sample_by_split_and_by_column(tmp_path):
  with h5py.File(tmp_path / "a", "w") as file:
    for x in samples():
      group = file.create_group(x["id"])
      group["audio"], group["text"] = x["audio_feat"], x["text"]
      group.attrs["split"], group.attrs["label"] = x["split"], x["label"]
  check(readers.read(tmp_path / "a"))
  with h5py.File(tmp_path / "b", "w") as file:
    for place, own in by_split(samples(NUMBERS)).items():
      group = file.create_group(place)
      group["text"] = np.stack([x["text"] for x in own])
      group["labels"] = [x["label"] for x in own]
      group["id"] = [x["id"] for x in own]
  found = readers.read(tmp_path / "b")
  order = [found.ids.tolist().index(x) for x in IDS]
  np.testing.assert_array_equal(found.labels[order], np.float32(NUMBERS))
  with h5py.File(tmp_path / "c", "w") as file:
    file["audio"], file["label"] = text(), NUMBERS
    file["id"], file["split"] = IDS, SPLITS
  found = readers.read(tmp_path / "c")
  assert found.ids.tolist() == IDS and found.splits.tolist()[3] == "valid"


HEADER = [
  "",
  "Unnamed: 0.1",
  "Unnamed: 0.2",
  "file",
  "set",
  "emotion",
  "valence",
  "age",
  "city",
]


def wide(separator=",", comma=False, features=("audio_0", "audio_1", "text_0")):
  """A table as pandas and Excel write it, with row numbers of three times."""
  rows = [HEADER + list(features)]
  for i, name in enumerate(IDS):
    cells = [str(i), str(i), str(i), name, SPLITS[i], WORDS[i], NUMBERS[i], 30, "Ulm"]
    cells += [float(x) for x in text()[i, : len(features)]]
    rows.append([str(x).replace(".", "," if comma else ".") for x in cells])
  return "\n".join(separator.join(row) for row in rows)


def test_a_table_of_features_is_read(tmp_path):
  (tmp_path / "x.csv").write_text(wide())
  with gzip.open(tmp_path / "x.csv.gz", "wt") as file:
    file.write(wide())
  (tmp_path / "y.csv").write_text("\ufeff" + wide(";", True), encoding="utf-8")
  with pytest.raises(UserError, match="'valence': 6 of 6 .* row 2 '1,5'"):
    readers.read(tmp_path / "y.csv")
  for name, more in (("x.csv", {}), ("x.csv.gz", {}), ("y.csv", {"decimal": ","})):
    found = readers.read(tmp_path / name, **more)
    assert found.ids.tolist() == IDS and found.splits.tolist()[3] == "valid"
    assert [found.class_names[i] for i in found.labels] == WORDS
    own = found.modalities["audio"]
    assert own.vector and own.names == ("audio_0", "audio_1")
    np.testing.assert_allclose(own.values, text()[:, :2], rtol=1e-6)
    # It is the name of a modality, not of sentences.
    np.testing.assert_allclose(found.modalities["text"].values[:, 0], text()[:, 2])
    np.testing.assert_array_equal(found.extras["label_valence"], np.float32(NUMBERS))
    left = {x.name for x in found.ledger if not x.use}
    assert left == {"Unnamed: 0", "Unnamed: 0.1", "Unnamed: 0.2", "age", "city"}


def test_one_cell_that_is_no_number_names_its_row(tmp_path):
  lines = wide().splitlines()
  lines[4] = lines[4].rpartition(",")[0] + ",#DIV/0!"
  (tmp_path / "x.csv").write_text("\n".join(lines))
  with pytest.raises(UserError, match="1 of 6 .*'text_0'.* row 5 '#DIV/0!'"):
    readers.read(tmp_path / "x.csv")
  lines[4] = lines[4].rpartition(",")[0] + ","
  (tmp_path / "x.csv").write_text("\n".join(lines))
  values = readers.read(tmp_path / "x.csv").modalities["text"].values
  assert np.isnan(values[:, 0]).tolist() == [0, 0, 0, 1, 0, 0]


def test_a_matrix_without_names_is_no_table_of_features(tmp_path):
  np.savetxt(tmp_path / "x.csv", text(), delimiter=",")
  with pytest.raises(UserError, match="numbers and no names of columns"):
    readers.read(tmp_path / "x.csv")


ARFF = """% of openSMILE
@relation 'x'
@attribute name string
@attribute frameTime numeric
@attribute 'pcm_LOGenergy_sma[0]' numeric
@attribute F0_sma numeric
@attribute class {sad,glad}

@data
'b',0.01,3,4,glad
'a',0.00,1,2,sad
'b',0.00,5,?,glad
"""


def test_frames_of_arff_are_steps_in_the_order_of_their_times(tmp_path):
  (tmp_path / "x.arff").write_text(ARFF)
  found = readers.read(tmp_path / "x.arff")
  assert found.ids.tolist() == ["b", "a"]
  assert found.modalities["audio"].lengths.tolist() == [2, 1]
  expected = [[5, np.nan], [3, 4], [1, 2]]
  np.testing.assert_array_equal(found.modalities["audio"].values, expected)
  assert [found.class_names[i] for i in found.labels] == ["glad", "sad"]
  (tmp_path / "y.arff").write_text(ARFF.replace("'b',0.00,5,?,glad", "'b',0,5,?,sad"))
  with pytest.raises(UserError, match="one sample differ: 'sad' and 'glad'"):
    readers.read(tmp_path / "y.arff")
  (tmp_path / "z.arff").write_text(ARFF + "'c',1\n")
  with pytest.raises(UserError, match="row 13 has 2 cells for 5 attributes"):
    readers.read(tmp_path / "z.arff")


def test_numbers_whose_names_say_no_modality_are_no_features(tmp_path):
  (tmp_path / "x.csv").write_text("id,label,season,start,has_text\na,1.5,1,2,1\n")
  with pytest.raises(UserError, match="1 samples with .*'season'.* no features"):
    readers.read(tmp_path / "x.csv")
  (tmp_path / "y.csv").write_text(
    "id,label,season,audio_pitch,audio_energy\na,1.5,1,2,1\nb,2,1,3,4\n"
  )
  found = readers.read(tmp_path / "y.csv")
  np.testing.assert_array_equal(found.modalities["audio"].values, [[2, 1], [3, 4]])
  assert [x.name for x in found.ledger if not x.use] == ["season"]


def test_the_frames_of_one_clip_are_one_sample(tmp_path):
  rows = "".join(f"{i + 1}, 0, {i / 30:.3f}, {i / 10}, {i}\n" for i in range(4))
  header = "frame, face_id, timestamp, AU01_r, gaze_0_x\n"
  (tmp_path / "clip7.csv").write_text(header + rows)
  found = readers.read(tmp_path / "clip7.csv")
  assert found.ids.tolist() == ["clip7"]
  np.testing.assert_allclose(found.modalities["vision"].values[3], [0.3, 3])


def test_parquet_is_read_where_arrow_is(tmp_path):
  pyarrow = pytest.importorskip("pyarrow")
  parquet = pytest.importorskip("pyarrow.parquet")
  columns = {key: [listed(x)[key] for x in samples()] for key in samples()[0]}
  parquet.write_table(pyarrow.table(columns), tmp_path / "x.parquet")
  found = readers.read(tmp_path / "x.parquet")
  check(found)
  whole = (tmp_path / "x.parquet").read_bytes()
  (tmp_path / "y.parquet").write_bytes(whole[: len(whole) // 2])
  with pytest.raises(UserError, match="damaged"):
    readers.read(tmp_path / "y.parquet")


def test_one_dict_a_million_times_is_refused():
  one = {f"k{i}": 1.0 for i in range(400)} | {"label": "sad"}
  with pytest.raises(UserError, match="refused: 100,000 samples with 401 entries"):
    orders.of([one] * 100_000)
