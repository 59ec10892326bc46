"""What a file is that is no data set: its kind is named, and what it came packed in."""

import gzip
import io
import pathlib
import pickle
import struct
import zipfile

import numpy as np
import pytest

from mcr_jax.data import readers
from mcr_jax.data.readers.common import magic
from mcr_jax.errors import UserError
from tests.data import attacks, writers


def mmsa(counts=(4, 2, 3)):
  return writers.mmsa_content(writers.invented(counts=counts))


def told(path) -> str:
  with pytest.raises(UserError) as caught:
    readers.read(path)
  return str(caught.value).removeprefix(f"{path} ")


def saved(path: pathlib.Path, data: bytes) -> pathlib.Path:
  path.write_bytes(data)
  return path


STARTS = {
  "Git LFS pointer": b"version https://git-lfs.github.com/spec/v1\nsize 1234567\n",
  "web page, titled 'Too many users'": (
    b"\xef\xbb\xbf <!DOCTYPE html><html><title>Too many\n users</title>"
  ),
  "empty": b"",
  "xz": b"\xfd7zXZ\0\0",
  "zstandard": b"\x28\xb5\x2f\xfd\0",
  "tar": b"a" * 257 + b"ustar\0",
  "Parquet": b"PAR1\x15",
  "MATLAB": b"MATLAB 5.0 MAT-file, Platform",
  "MP4": b"\0\0\0\x20ftypisom",
  "WAV": b"RIFF\0\0\0\0WAVEfmt ",
  "JSON of a dict of 1 keys ('id')": b'{"id": [1]}',
  "JSON of a list of 2 items (dict, dict), each": b'[{"a": [{}]}, {"a": [{}]}]',
  "damaged JSON": b'{"id": [1',
  "a list or dict of Python": b"{'id': [1]}",
  "R object": b"X\n\0\0\0\3",
  "MP3": b"\xff\xf3\x44\xc4" + bytes(50),
  "AAC": b"\xff\xf1\x50\x80" + bytes(50),
  "safetensors": struct.pack("<Q", 40) + b'{"a": {}}',
  "MATLAB file of version 4": struct.pack("<5i", 0, 3, 4, 0, 2) + b"X\0" + bytes(96),
  "TFRecord": bytes.fromhex("1800000000000000a37f4b22") + b"x" * 28,
  "archive of Kaldi": b"Ses01_F000 \0BFM \4",
  "text that begins with 'Ses01_F000: 1": b"Ses01_F000: 1.5\n" * 9,
  "text that begins with 'File type": b'File type = "ooTextFile"\n\nxmin = 0\n',
  "zeros": bytes(3000),
  "old Office": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
  "saved as text": b"\xef\xbf\xbd\x04\xef\xbf\xbd\x12",
  "HDF5 file whose ends": b"\x89HDF\n\x1a\n",
  "PyTorch file of before": pickle.dumps(0x1950A86A20F9469CFC6C, 2),
  "numbers and no names": b"0.5,0.25,1\n1,2,3\n",
  "no column 'id'": b"name;label\nx;1\n",
  "utf-16": "name\tlabel\nx\t1\n".encode("utf-16"),
}


@pytest.mark.parametrize("kind", STARTS)
def test_a_file_that_is_no_data_is_named(tmp_path, kind):
  answer = told(saved(tmp_path / "x.pkl", STARTS[kind]))
  assert kind in answer
  # Under gzip it is the same, and that too is said.
  if STARTS[kind]:
    inside = told(saved(tmp_path / "x.gz", gzip.compress(STARTS[kind])))
    assert "gzip" in inside and kind in inside


def test_folders_of_clips_and_of_arrays_say_what_makes_data_of_them(tmp_path):
  for suffix, way in ((".wav", "mcr_jax.extract"), (".npy", "a .csv with columns id")):
    inner = tmp_path / suffix / "Session1" / "wav"
    inner.mkdir(parents=True)
    saved(inner / f"a{suffix}", b"RIFF")
    answer = told(tmp_path / suffix)
    assert "'Session1'" in answer and way in answer


def test_documents_are_told_apart(tmp_path):
  for kind, way in (("spreadsheet", "Save it as a .csv"), ("text", "holds no arrays")):
    mime = f"application/vnd.oasis.opendocument.{kind}".encode()
    members = {"mimetype": mime, "content.xml": b"<x/>"}
    assert way in told(zipped(tmp_path / kind, members))


def test_the_size_that_a_pointer_stands_for_is_said(tmp_path):
  answer = told(saved(tmp_path / "x", STARTS["Git LFS pointer"]))
  assert "1,234,567 bytes" in answer


def test_every_kind_says_what_makes_data_of_it():
  for kind in magic.KINDS:
    whole = bytes(kind.at) + kind.start
    found = magic.of(whole + bytes(8))
    assert found.way and found.what == kind.what, kind


def test_a_pickle_that_was_copied_as_text_is_told(tmp_path):
  old = pickle.dumps(mmsa(), 0).replace(b"\n", b"\r\n")
  assert "\\r\\n" in told(saved(tmp_path / "a", old))
  lines = pickle.dumps({"text": np.arange(40000, dtype="u2")}, 4)
  assert lines.count(b"\n") > 20
  assert "\\r\\n" in told(saved(tmp_path / "b", lines.replace(b"\n", b"\r\n")))
  lost = pickle.dumps(mmsa(), 4).decode("utf-8", "replace").encode()
  assert "text" in told(saved(tmp_path / "c", lost))


@pytest.mark.parametrize(
  ("module", "words"),
  [
    ("pandas.core.frame", "pandas.read_pickle"),
    ("torch._utils", "t.numpy()"),
    ("joblib.numpy_pickle", "joblib.load"),
    ("scipy.sparse._csr", "x.toarray()"),
  ],
)
def test_objects_of_a_library_are_refused_with_the_line_that_converts_them(
  tmp_path, module, words
):
  data = attacks.whole(attacks.name(module, "Thing", 4), 4)
  answer = told(saved(tmp_path / "x", data))
  assert f"{module}.Thing" in answer and words in answer and "nothing of it" in answer


def same(found, expected):
  assert found.ids.tolist() == expected.ids.tolist()
  assert found.splits.tolist() == expected.splits.tolist()
  np.testing.assert_array_equal(found.labels, expected.labels)
  for name, x in expected.modalities.items():
    np.testing.assert_array_equal(found.modalities[name].values, x.values)
    np.testing.assert_array_equal(found.modalities[name].offsets, x.offsets)


def zipped(path, members):
  with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
    for name, data in members.items():
      archive.writestr(name, data)
  return path


def test_what_is_packed_is_read_as_if_it_were_not(tmp_path):
  corpus = writers.invented()
  pickled = writers.dump(tmp_path / "x", writers.mmsa_content(corpus))
  arrays = writers.npz(tmp_path / "x.npz", corpus)
  for plain in (pickled, arrays):
    expected, data = readers.read(plain), plain.read_bytes()
    parts = gzip.compress(data[:100]) + gzip.compress(data[100:])
    for number, packed in enumerate((gzip.compress(data), parts)):
      same(readers.read(saved(tmp_path / f"{number}.gz", packed)), expected)
    path = zipped(
      tmp_path / "y.zip", {"data/a": data, "README": b"read", "__MACOSX/x": b"junk"}
    )
    found = readers.read(path)
    same(found, expected)
    left = {x.name: x.count for x in found.ledger if x.why == "it is no data"}
    assert left["README"] == 4
    inner = gzip.compress(path.read_bytes())
    same(readers.read(saved(tmp_path / "z", inner)), expected)


def test_a_zip_of_several_files_is_named_with_them(tmp_path):
  path = zipped(tmp_path / "x.zip", {"data/a": b"1", "data/b": b"2"})
  assert "2 files: 'data/a', 'data/b'" in told(path)
  book = zipped(tmp_path / "y.xlsx", {"xl/workbook.xml": b"", "xl/a": b""})
  assert "an Excel workbook" in told(book)


def test_damage_inside_of_gzip_is_said(tmp_path):
  data = gzip.compress(pickle.dumps(mmsa()))
  assert "gzip and damaged" in told(saved(tmp_path / "x", data[: len(data) // 2]))


def dumped(path, *contents):
  return saved(path, b"".join(pickle.dumps(x) for x in contents))


def test_all_dumps_of_a_pickle_are_looked_at(tmp_path):
  content = mmsa()
  expected = readers.read(writers.dump(tmp_path / "a", content))
  path = dumped(tmp_path / "b", {"lr": 0.1, "seed": 1}, content, [1, 2, 3])
  found = readers.read(path)
  same(found, expected)
  left = {x.name.partition(",")[0]: x.count for x in found.ledger if "dump" in x.name}
  assert left == {"dump 1": 2, "dump 3": 3}
  twice = dumped(tmp_path / "c", content, content)
  assert "2 dumps, and several" in told(twice)
  assert "none of them" in told(dumped(tmp_path / "d", {"a": 1}, [2]))
  cut = saved(tmp_path / "e", pickle.dumps(content) + pickle.dumps(content)[:-50])
  assert "no pickle, or a damaged one" in told(cut)


def test_bytes_behind_a_pickle_are_counted(tmp_path):
  path = saved(tmp_path / "x", pickle.dumps(mmsa()) + b"\0" * 123)
  (left,) = [x for x in readers.read(path).ledger if x.name == "bytes"]
  assert (left.count, left.use) == (123, "")


def tensor(key, array, kind, strides=None, p=2):
  """The instructions of a tensor, and the bytes of its storage."""
  strides = strides or [x // array.itemsize for x in array.strides]
  stored = attacks.name("torch", kind, p)
  storage = ("storage", stored, key, "cpu", array.size)
  of = attacks.value(storage, p) + b"Q"
  hooks = attacks.call("collections", "OrderedDict", [], p)
  arguments = [of, 0, tuple(array.shape), tuple(strides), b"\x89", hooks]
  return attacks.call("torch._utils", "_rebuild_tensor_v2", arguments, p)


def torch_file(path, content, storages):
  """A zip as `torch.save` writes it."""
  data = attacks.whole(attacks.value(content, 2), 2)
  with zipfile.ZipFile(path, "w") as archive:
    archive.writestr("x/data.pkl", data)
    archive.writestr("x/byteorder", "little")
    for key, raw in storages.items():
      archive.writestr(f"x/data/{key}", raw)
    archive.writestr("x/version", "3\n")
  return path


def test_plain_tensors_are_read_from_the_zip_of_pytorch(tmp_path):
  text = np.arange(12, dtype="f4").reshape(2, 2, 3) + 1
  audio = (np.arange(4, dtype="f4") + 1).reshape(2, 2)
  halves = (audio.view("u4") >> 16).astype("u2")  # bfloat16, exact for these
  labels = np.array([0.5, -1])
  entry = {
    # Transposed in memory: the strides say so.
    "text": tensor("0", text, "FloatStorage", (6, 1, 2)),
    "audio": tensor("1", halves, "BFloat16Storage"),
    "labels": tensor("2", labels, "DoubleStorage"),
    "id": ["a", "b"],
  }
  storages = {
    "0": text.transpose(0, 2, 1).tobytes(),
    "1": halves.tobytes(),
    "2": labels.tobytes(),
  }
  content = {"train": entry, "valid": entry, "test": entry}
  found = readers.read(torch_file(tmp_path / "x.pt", content, storages))
  assert found.labels.tolist() == [0.5, -1] * 3
  np.testing.assert_array_equal(found.modalities["audio"].values[:2], audio)
  np.testing.assert_array_equal(found.modalities["text"].values[:4], text.reshape(4, 3))


@pytest.mark.parametrize(
  ("content", "words"),
  [
    (attacks.name("torch.nn.modules.linear", "Linear", 2), "Linear, an object of Py"),
    (attacks.call("os", "system", ["true"], 2), "refused: os.system"),
    (attacks.value([0, tensor("0", np.ones(3, "f4"), "LongStorage")], 2), "12"),
    (tensor("0", np.ones(9, "f4"), "FloatStorage"), r"tensor of shape \(9,\)"),
    (tensor("9", np.ones(3, "f4"), "FloatStorage"), "there is no"),
    (tensor("0", np.ones(3, "f4"), "EvilStorage"), "refused: torch.EvilStorage"),
  ],
)
def test_what_is_no_plain_tensor_is_refused_by_name(tmp_path, content, words):
  path = torch_file(tmp_path / "x", {"text": content}, {"0": bytes(12)})
  with pytest.raises(UserError, match=words):
    readers.read(path)


def test_a_dict_that_numpy_saved_is_read(tmp_path):
  content = mmsa()
  expected = readers.read(writers.dump(tmp_path / "a", content))
  np.save(tmp_path / "x.npy", content, allow_pickle=True)
  same(readers.read(tmp_path / "x.npy"), expected)
  np.savez(tmp_path / "x.npz", **content)
  same(readers.read(tmp_path / "x.npz"), expected)


def test_arrays_of_objects_of_a_feature_file_are_read(tmp_path):
  steps = [np.ones((i % 3, 4), "f4") * i for i in range(6)]
  text = np.empty(6, object)
  text[:] = steps
  base = dict(split=np.array(["train"] * 4 + ["valid", "test"]), label=np.arange(6.0))
  np.savez(
    tmp_path / "x.npz",
    **base | {"id": np.array([*"abcdef"], object), "text": text},
    audio=np.ones((6, 2)),
  )
  found = readers.read(tmp_path / "x.npz")
  assert found.ids.tolist() == [*"abcdef"]
  assert found.modalities["text"].lengths.tolist() == [len(x) for x in steps]
  np.testing.assert_array_equal(found.modalities["text"].values, np.concatenate(steps))
  used = {x.name: x for x in found.ledger}
  assert used["text"].count == 6 and "text_offsets" not in used


def test_code_in_an_array_of_objects_does_not_run(tmp_path):
  evil = attacks.whole(attacks.call("posix", "system", ["true"], 2), 2)
  raw = io.BytesIO()
  np.lib.format.write_array_header_1_0(
    raw, {"descr": "|O", "fortran_order": False, "shape": (2,)}
  )
  np.savez(tmp_path / "x.npz", id=np.array(["a", "b"]), audio=np.ones((2, 3)))
  with zipfile.ZipFile(tmp_path / "x.npz", "a") as archive:
    archive.writestr("text.npy", raw.getvalue() + evil)
  assert "refused: posix.system" in told(tmp_path / "x.npz")


@pytest.mark.parametrize("steps", [(3, 5), (4, 4)])
def test_one_clip_of_an_npz_has_one_text_as_its_id(tmp_path, steps):
  first, second = steps
  arrays = dict(text=np.ones((first, 4)), audio=np.ones((second, 2)))
  np.savez(tmp_path / "x.npz", id="clip_9", **arrays)
  found = readers.read(tmp_path / "x.npz")
  assert found.ids.tolist() == ["clip_9"]
  assert [x.lengths.tolist() for x in found.modalities.values()] == [[first], [second]]


def test_plural_names_are_read_and_said(tmp_path):
  corpus = writers.invented()
  with np.load(writers.npz(tmp_path / "x.npz", corpus)) as file:
    arrays = dict(file)
  expected = readers.read(tmp_path / "x.npz")
  for key in ("id", "split", "label"):
    arrays[key + "s"] = arrays.pop(key)
  np.savez(tmp_path / "y.npz", **arrays)
  found = readers.read(tmp_path / "y.npz")
  same(found, expected)
  assert {x.name: x.use for x in found.ledger}["labels"] == "labels"


def test_a_data_set_inside_of_a_dict_is_found(tmp_path):
  content = mmsa()
  expected = readers.read(writers.dump(tmp_path / "a", content))
  path = writers.dump(tmp_path / "b", {"data": content, "meta": {"v": 1, "w": 2}})
  found = readers.read(path)
  same(found, expected)
  (left,) = [x for x in found.ledger if x.name.startswith("'meta'")]
  assert left.count == 2 and "'data' is the data set" in left.why
  twice = writers.dump(tmp_path / "c", {"aligned": content, "unaligned": content})
  answer = told(twice)
  assert "several" in answer and "'unaligned'" in answer


def test_files_that_are_packed_with_their_table_are_to_be_unpacked(tmp_path):
  raw = io.BytesIO()
  np.save(raw, np.ones((3, 4)))
  members = {"d/t.csv": b"id,text\na,a.npy\n", "d/a.npy": raw.getvalue()}
  assert "2 files: 'd/t.csv', 'd/a.npy'" in told(zipped(tmp_path / "x.zip", members))
  packed = saved(tmp_path / "t.csv.gz", gzip.compress(members["d/t.csv"]))
  assert "gzip" in told(packed) and "unpack it" in told(packed)


def test_one_clip_needs_no_id_where_its_lengths_differ(tmp_path):
  np.savez(tmp_path / "x.npz", text=np.ones((5, 4)), audio=np.ones((50, 3)))
  found = readers.read(tmp_path / "x.npz")
  assert found.ids.tolist() == ["clip0"]
  assert found.modalities["audio"].lengths.tolist() == [50]
  # Else they may as well be samples.
  np.savez(tmp_path / "y.npz", text=np.ones((5, 4)), audio=np.ones((5, 3)))
  assert "no array 'id'" in told(tmp_path / "y.npz")


def test_a_setting_of_the_name_of_a_modality_is_no_features(tmp_path):
  content = mmsa() | {"a": 0.5, "v": None}
  found = readers.read(writers.dump(tmp_path / "x", content))
  assert {x.name for x in found.ledger if not x.use} >= {"a", "v"}
