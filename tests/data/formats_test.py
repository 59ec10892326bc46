"""A format is one module: found by being there, and asked by what a file contains."""

import pathlib

import numpy as np
import pytest

from mcr_jax.data import readers
from mcr_jax.data.readers.common.source import Source
from mcr_jax.errors import UserError
from tests.data import writers
from tests.data.readers_conversation_test import corpus as talks
from tests.data.readers_files_test import csd_files


def written(folder, name):
  """A file or folder of the format of that name."""
  corpus = writers.invented()
  if name == "conversation":
    return writers.dump(folder / "x", writers.conversation_content(talks(6), "iemocap"))
  if name == "csd":
    csd_files(folder / "x")
    return folder / "x"
  if name == "feature_file":
    return writers.npz(folder / "x", corpus)
  if name == "manifest":
    return writers.manifest(folder / "x", corpus).parent
  if name == "merbench":
    labels = [{"emo": 0, "val": float(x)} for x in corpus.labels]
    return writers.merbench(
      folder / "x", corpus, features={"text": "bert"}, labels=labels
    )
  if name == "feature_table":
    (folder / "x").write_text("name,audio_0,audio_1\na.wav,1.5,2\n")
    return folder / "x"
  if name == "samples":
    one = {"text": np.ones((2, 3)), "label": "glad", "split": "train"}
    return writers.dump(folder / "x", {"a": one, "b": one})
  if name == "sdk":
    return writers.dump(folder / "x", writers.sdk_content(corpus))
  if name == "word_tuples":
    return writers.dump(folder / "x", writers.tuples_content(corpus))
  content = {"mmsa": writers.mmsa_content, "mult": writers.mult_content}[name]
  return writers.dump(folder / "x", content(corpus), protocol=0)


NAMES = ["conversation", "csd", "feature_file", "feature_table", "manifest"]
NAMES += ["merbench", "mmsa", "mult", "samples", "sdk", "word_tuples"]


def test_every_format_is_found_and_says_what_it_is():
  assert [module.__name__.split(".")[-1] for module in readers.formats()] == NAMES
  for module in readers.formats():
    assert module.FORMAT in readers.known() and isinstance(module.OPTIONS, tuple)


@pytest.mark.parametrize("name", NAMES)
def test_a_file_is_of_one_format(tmp_path, name):
  path = written(tmp_path, name)
  source = Source((pathlib.Path(path),))
  matching = [x.__name__ for x in readers.formats() if x.matches(source)]
  assert matching == [f"mcr_jax.data.readers.{name}"]
  dataset = readers.read(path)
  said = f"It is {readers.recognise(path).FORMAT}." in dataset.notes
  assert said == (name != "feature_file")


MODULE = """
import numpy as np
from mcr_jax.data.schema import Dataset, Modality

FORMAT = "a list of words"
OPTIONS = ("width",)

def matches(source):
  return source.start.startswith(b"words:")

def read(source, width=2):
  ids = np.array(source.path.read_text().split()[1:])
  return Dataset(ids, {"text": Modality.from_vectors(np.zeros((len(ids), width)))})
"""


@pytest.fixture
def one_more(tmp_path, monkeypatch):
  (tmp_path / "more").mkdir()
  (tmp_path / "more" / "words.py").write_text(MODULE)
  path = [*readers.__path__, str(tmp_path / "more")]
  monkeypatch.setattr(readers, "__path__", path)
  readers.formats.cache_clear()
  yield
  readers.formats.cache_clear()


def test_a_format_is_added_by_one_module(tmp_path, one_more):
  (tmp_path / "x").write_text("words: a b c")
  dataset = readers.read(tmp_path / "x", width=5)
  assert dataset.ids.tolist() == ["a", "b", "c"]
  assert dataset.modalities["text"].width == 5
  with pytest.raises(
    UserError, match="width=5 is for a list of words; this is an .npz"
  ):
    readers.read(written(tmp_path, "feature_file"), width=5)


def test_an_option_of_no_format_is_refused_with_the_nearest(tmp_path):
  path = written(tmp_path, "mmsa")
  with pytest.raises(UserError, match='alihn.*Did you mean "align"'):
    readers.read(path, alihn="text")


@pytest.mark.parametrize("start", [b"id,text\n", b"label,id\n", b"Split,id\n"])
def test_a_table_is_no_old_pickle_however_it_begins(tmp_path, start):
  (tmp_path / "x").write_bytes(start)
  assert readers.recognise(tmp_path / "x").FORMAT == "a .csv manifest of .npy files"
