"""The feature file: every layout loads to the same arrays, every mistake is named."""

import zipfile

import numpy as np
import pytest

from mcr_jax.data import npz
from mcr_jax.data.checks import validate
from mcr_jax.data.ledger import unused
from mcr_jax.data.load import digest
from mcr_jax.errors import UserError

MASK = np.array([[1, 0, 1, 0], [1, 1, 1, 1], [0, 0, 0, 0], [1, 1, 0, 0]], bool)


def arrays(**changes):
  """A right file of 4 samples; a change to None takes an array away."""
  random = np.random.default_rng(0)
  values = random.normal(size=(*MASK.shape, 3)).astype(np.float32)
  right = {
    "id": np.array(["a", "b", "c", "d"]),
    "split": np.array(["train", "train", "valid", "test"]),
    "label": np.array([0.5, -1.0, 3.0, 0.0]),
    "text": random.normal(size=(4, 5)).astype(np.float32),
    "vision": np.where(MASK[..., None], values, 0),
    "vision_mask": MASK,
  }
  return {k: x for k, x in {**right, **changes}.items() if x is not None}


def ragged(source):
  """The same with vision as one step after another."""
  last = np.array([3, 4, 0, 2])
  kept = np.arange(4) < last[:, None]
  flat = {
    "vision": source["vision"][kept],
    "vision_offsets": np.concatenate([[0], np.cumsum(last)]),
    "vision_mask": MASK[kept],
  }
  return {**source, **flat}


@pytest.fixture
def file(tmp_path):
  def write(save=np.savez, **changes):
    path = tmp_path / "x.npz"
    save(path, **arrays(**changes))
    return path

  return write


def assert_same(one, other):
  assert digest(one) == digest(other)
  assert list(one.modalities) == list(other.modalities)
  for name in one.modalities:
    indices = np.arange(len(one))
    for x, y in zip(
      one.modalities[name].padded(indices, 4),
      other.modalities[name].padded(indices, 4),
      strict=True,
    ):
      np.testing.assert_array_equal(x, y)


def test_padded_and_ragged_files_load_to_the_same_arrays(file, tmp_path):
  one = npz.read(file())
  np.savez_compressed(tmp_path / "y.npz", **ragged(arrays()))
  other = npz.read(tmp_path / "y.npz")
  assert_same(one, other)
  np.testing.assert_array_equal(one.modalities["vision"].lengths, [3, 4, 0, 2])
  np.testing.assert_array_equal(one.modalities["vision"].present, [1, 1, 0, 1])
  assert one.modalities["text"].vector and not one.modalities["vision"].vector


def test_writing_and_reading_gives_the_same_data_set(file, tmp_path):
  one = npz.read(file(class_names=np.array(["x"]), label_face=np.arange(4.0)))
  npz.write(tmp_path / "deep" / "y.npz", one)
  other = npz.read(tmp_path / "deep" / "y.npz")
  assert_same(one, other)
  assert other.class_names == ("x",)
  np.testing.assert_array_equal(other.extras["label_face"], np.arange(4.0))


@pytest.mark.parametrize(
  ("key", "array", "why"),
  [
    ("pitch", np.arange(4.0), "have 2 or 3 dimensions: a number a sample is"),
    ("weight", np.ones((4, 3)), "the name is taken"),
    ("label_face", np.ones((4, 3)), "begins with 'label' is a choice for data.label"),
    ("splits", np.ones((4, 3)), "begins with 'split' is a choice for data.split"),
    ("words", np.array(list("abcd")), "features are numbers"),
  ],
)
def test_what_looks_like_features_and_is_not_read_is_named(file, key, array, why):
  dataset = npz.read(file(**{key: array}))
  (entry,) = unused(dataset.ledger)
  assert (entry.name, entry.count) == (key, 4) and why in entry.why
  assert key not in dataset.modalities


def test_further_labels_and_splits_are_no_surprise(file):
  more = {"label_T": np.arange(4), "label_T_names": np.array(list("abcd"))}
  found = npz.read(file(**more, split_5=np.array(["train"] * 4))).ledger
  assert not unused(found)
  assert {x.name: x.use for x in found}["split_5"] == "a choice for data.split"


def test_what_is_no_array_is_named(file):
  path = file()
  with zipfile.ZipFile(path, "a") as archive:
    archive.writestr("README.txt", b"twelve bytes")
  (entry,) = unused(npz.read(path).ledger)
  assert (entry.name, entry.count, entry.unit) == ("README.txt", 12, "bytes")


def test_equal_data_sets_make_equal_files(file, tmp_path):
  dataset = npz.read(file())
  npz.write(tmp_path / "1.npz", dataset)
  npz.write(tmp_path / "2.npz", dataset)
  assert (tmp_path / "1.npz").read_bytes() == (tmp_path / "2.npz").read_bytes()


@pytest.mark.parametrize("kind", ["f2", "f8", ">f4", "i8", "u1"])
def test_every_type_of_number_becomes_float32(file, kind):
  values = np.arange(20).reshape(4, 5)
  text = npz.read(file(text=values.astype(kind))).modalities["text"]
  assert text.values.dtype == np.float32 and text.values.dtype.isnative
  np.testing.assert_array_equal(text.values, values)


def test_columns_first_files_load_too(file):
  values = np.asfortranarray(np.arange(20.0).reshape(4, 5))
  np.testing.assert_array_equal(
    npz.read(file(text=values)).modalities["text"].values, values
  )


def test_vectors_can_be_missing(file):
  mask = np.array([1, 0, 1, 1])
  text = npz.read(file(text_mask=mask)).modalities["text"]
  np.testing.assert_array_equal(text.present, mask)
  assert text.vector


def test_steps_after_the_last_real_one_are_no_part_of_a_ragged_sequence(tmp_path):
  source = arrays()
  flat = {
    "vision": source["vision"].reshape(-1, 3),
    "vision_offsets": np.arange(5) * 4,
    "vision_mask": MASK.ravel(),
  }
  np.savez(tmp_path / "y.npz", **{**source, **flat})
  np.testing.assert_array_equal(
    npz.read(tmp_path / "y.npz").modalities["vision"].lengths, [3, 4, 0, 2]
  )


def test_modalities_go_by_their_aliases(file):
  path = file(
    vision=None, vision_mask=None, video=arrays()["vision"], video_mask=MASK, text=None
  )
  assert list(npz.read(path).modalities) == ["vision"]


def test_bytes_and_numbers_serve_as_ids(file):
  assert list(npz.read(file(id=np.array([b"a", b"b", b"c", b"d"]))).ids) == list("abcd")
  assert list(npz.read(file(id=np.arange(4))).ids) == list("0123")


def test_a_file_for_prediction_needs_no_labels_and_no_splits(file):
  dataset = validate(npz.read(file(label=None, split=None)), need_labels=False)
  assert dataset.labels is None and dataset.splits is None


def test_large_ragged_arrays_are_mapped_not_read(tmp_path):
  steps = 20_000
  flat = {
    "vision": np.arange(steps * 20, dtype=np.float32).reshape(steps, 20),
    "vision_offsets": np.array([0, 5, 5, 9_000, steps]),
    "vision_mask": None,
  }
  np.savez(tmp_path / "x.npz", **arrays(**flat))
  vision = npz.read(tmp_path / "x.npz").modalities["vision"]
  assert isinstance(vision.values, np.memmap) and not vision.values.flags.writeable
  np.testing.assert_array_equal(vision.values, flat["vision"])
  np.savez_compressed(tmp_path / "y.npz", **arrays(**flat))
  other = npz.read(tmp_path / "y.npz").modalities["vision"]
  assert not isinstance(other.values, np.memmap)
  np.testing.assert_array_equal(other.values, flat["vision"])


MISTAKES = {
  "no id": (dict(id=None), "has no array 'id'; it holds split, label"),
  "id not a list": (dict(id=np.zeros((4, 2), int)), r"'id' has shape \(4, 2\)"),
  "nothing": (dict(id=np.array([], str)), "'id' is empty"),
  "no modality": (
    dict(text=None, vision=None, vision_mask=None),
    "holds no modality, only id, split, label",
  ),
  "other count": (dict(text=np.zeros((3, 5))), "'text' has 3 rows, 'id' has 4"),
  "objects": (
    dict(text=np.array([[1], [2], [3], [None]], object)),
    "'text' is an object array",
  ),
  "text in features": (
    dict(audio=np.zeros((4, 5), complex)),
    "'audio' is of type complex128; features are numbers",
  ),
  "no mask": (
    dict(vision_mask=None),
    r"'vision' has shape \(4, 4, 3\) but there is no 'vision_mask' of shape \(4, 4\)",
  ),
  "mask shape": (
    dict(vision_mask=MASK[:, :3]),
    r"'vision_mask' has shape \(4, 3\); beside 'vision' it must be \(4, 4\)",
  ),
  "mask values": (dict(vision_mask=MASK * 2), "'vision_mask' must be True on real"),
  "stray mask": (dict(audio_mask=MASK), "'audio_mask' belongs to no modality"),
  "no width": (dict(text=np.zeros((4, 0))), r"'text' has shape \(4, 0\); right are"),
  "four axes": (dict(text=np.zeros((4, 2, 2, 2))), r"'text' has shape \(4, 2, 2, 2\)"),
  "two names": (dict(language=np.zeros((4, 2))), "'language' and another .* the text"),
  "offsets short": (
    dict(text_offsets=np.array([0, 4])),
    r"'text_offsets' has shape \(2,\) of int64; right are 5 integers",
  ),
  "offsets fall": (
    dict(text_offsets=np.array([0, 3, 2, 2, 4])),
    "'text_offsets' goes back from 3 to 2 at sample 1",
  ),
  "offsets end": (
    dict(text_offsets=np.array([0, 1, 2, 2, 3])),
    "'text_offsets' runs from 0 to 3; it must run from 0 to the 4 rows of 'text'",
  ),
  "offsets of padded": (
    dict(vision_offsets=np.arange(5)),
    r"'vision' has shape \(4, 4, 3\) and 'vision_offsets'; ragged features are",
  ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_in_the_layout_is_named(file, name):
  changes, message = MISTAKES[name]
  with pytest.raises(UserError, match=message) as caught:
    npz.read(file(**changes))
  assert "x.npz" in str(caught.value)


CONTENT = {
  "no label": (dict(label=None), "has no 'label', which training and evaluation need"),
  "no split": (dict(split=None), "has no 'split'"),
  "label count": (dict(label=np.zeros(3)), r"'label' has shape \(3,\); for 4 samples"),
  "label list": (dict(label=np.zeros((4, 1, 1))), r"'label' has shape "),
  "label NaN": (
    dict(label=np.array([0, np.nan, 1, np.inf])),
    r"1 of 4 samples have no label \(1 in train\), the first is that of sample .b.",
  ),
  "negative class": (dict(label=np.array([0, -1, 1, 1])), "1 of 4 labels are -1"),
  "class without name": (
    dict(label=np.array([0, 1, 2, 1]), class_names=np.array(["sad", "glad"])),
    r"holds the class 2, but the 2 'class_names' \(sad, glad\) allow 0 to 1",
  ),
  "regression in integers": (
    dict(label=np.array([0, 1, 200, 3])),
    "integers from 0 to 200 for 4 samples; .* For regression, save floats",
  ),
  "names of a regression": (
    dict(class_names=np.array(["sad", "glad"])),
    "'label' is float64 but there are 'class_names'",
  ),
  "several classes": (
    dict(label=np.array([[0, 1], [1, -2], [0, 0], [1, 1]])),
    r"'label' of shape \(4, 2\) holds integers from -2 to 1",
  ),
  "several names": (
    dict(label=np.zeros((4, 2), int), class_names=np.array(["a", "b", "c"])),
    "3 'class_names' for 2 labels a sample",
  ),
  "unknown split": (
    dict(split=np.array(["train", "train", "tset", "test"])),
    "'split' of sample 'c', and of 1 in all, is 'tset'; right are train, valid, test",
  ),
  "split count": (dict(split=np.array(["train"])), r"'split' has shape \(1,\)"),
  "empty split": (
    dict(split=np.array(["train", "train", "valid", "valid"])),
    r"no sample is in split 'test' \(train 2, valid 2, test 0\)",
  ),
  "leak": (
    dict(id=np.array(["a", "b", "a", "d"])),
    "1 of 4 ids repeat .* such as 'a' in both 'train' and 'valid'",
  ),
  "twice": (
    dict(id=np.array(["a", "a", "c", "d"])),
    "1 of 4 ids repeat .* such as 'a' at positions 0 and 1",
  ),
}


@pytest.mark.parametrize("name", CONTENT)
def test_a_mistake_in_the_content_is_named(file, name):
  changes, message = CONTENT[name]
  with pytest.raises(UserError, match=message) as caught:
    validate(npz.read(file(**changes)))
  assert "x.npz" in str(caught.value)


@pytest.mark.parametrize(
  "label, task, outputs",
  [
    (np.zeros(4, np.float16), "regression", (1,)),
    (np.zeros((4, 1)), "regression", (1,)),
    (np.zeros((4, 3)), "regression", (3,)),
    (np.array([0, 2, 1, 0], np.int8), "multiclass", (3,)),
    (np.eye(4)[:, :3] > 0, "binary", (3, 2)),
  ],
)
def test_the_labels_say_what_the_task_is(file, label, task, outputs):
  dataset = validate(npz.read(file(label=label)))
  assert (dataset.task, dataset.outputs) == (task, outputs)
  assert dataset.labels.dtype in (np.float32, np.int32)


def test_for_prediction_useless_labels_are_left_out(file):
  dataset = validate(npz.read(file(label=np.full(4, np.nan))), need_labels=False)
  assert dataset.labels is None


def test_a_file_that_is_not_there_is_named(tmp_path):
  with pytest.raises(UserError, match="x.npz"):
    npz.read(tmp_path / "x.npz")


def test_a_folder_is_no_file(tmp_path):
  with pytest.raises(UserError, match="folder"):
    npz.read(tmp_path)


@pytest.mark.parametrize(
  "content, kind",
  [
    (b"", "it is empty"),
    (b"\x80\x04K\x01.", "it looks like a pickle"),
    (b"\x93NUMPY\x01\x00", "it is a single .npy array"),
    (b"\x89HDF\r\n\x1a\n", "it is an HDF5 file"),
    (b"id,split\n", "it begins with b'id,split'"),
  ],
)
def test_other_formats_are_recognised(tmp_path, content, kind):
  (tmp_path / "x.npz").write_bytes(content)
  with pytest.raises(UserError, match=f"x.npz is not an .npz file: {kind}"):
    npz.read(tmp_path / "x.npz")


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_truncated_file_is_an_error_wherever_it_ends(file, save):
  path = file(save)
  whole = path.read_bytes()
  for length in range(1, len(whole) - 1, 61):
    path.write_bytes(whole[:length])
    with pytest.raises(UserError, match="x.npz"):
      npz.read(path)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_flipped_byte_in_a_small_array_is_noticed(file, save):
  path = file(save)
  right = digest(npz.read(path))
  with zipfile.ZipFile(path) as archive:
    # 30 bytes, the name and 20 of zip64 precede what is stored.
    begin = archive.getinfo("text.npy").header_offset + 30 + len("text.npy") + 20
    end = begin + archive.getinfo("text.npy").compress_size
  whole = path.read_bytes()
  for place in range(begin, end):
    flipped = bytearray(whole)
    flipped[place] ^= 1
    path.write_bytes(flipped)
    try:
      found = digest(npz.read(path))
    except UserError as error:
      assert "x.npz" in str(error)
    else:
      # A few bits of compressed data mean nothing.
      assert found == right and save is np.savez_compressed


def test_a_file_without_permission_is_an_error(file, monkeypatch):
  path = file()

  def forbidden(*arguments, **keywords):
    raise PermissionError(13, "Permission denied")

  monkeypatch.setattr(zipfile, "ZipFile", forbidden)
  with pytest.raises(UserError, match="x.npz .*Permission denied"):
    npz.read(path)
