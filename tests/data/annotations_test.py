"""Words, times and names travel with the steps and features that they belong to."""

import json

import numpy as np
import pytest

from mcr_jax.data import Dataset, Modality, npz, readers
from mcr_jax.data.__main__ import main
from mcr_jax.data.units import pooled
from mcr_jax.errors import UserError
from tests.data import writers

LENGTHS = (3, 0, 2)
WORDS = [["it", "was", "<b>"], [], ["oh", "é"]]
NAMES = ["f0", "loudness"]


def arrays(**changes):
  """A file of three samples, padded to four steps."""
  real = np.arange(4) < np.array(LENGTHS)[:, None]
  steps = np.arange(12.0).reshape(3, 4)
  words = np.array([[*x, *[""] * (4 - len(x))] for x in WORDS])
  return {
    "id": np.array(["a", "b", "c"]),
    "text": np.random.default_rng(0).normal(size=(3, 4, 2)),
    "text_mask": real,
    "text_words": words,
    "text_times": np.stack([steps, steps + 0.5], -1),
    "text_names": np.array(NAMES),
    "extract": np.array(json.dumps({"version": 1})),
  } | changes


@pytest.fixture
def file(tmp_path):
  def write(**changes):
    np.savez(tmp_path / "x.npz", **arrays(**changes))
    return tmp_path / "x.npz"

  return write


def of(dataset, row):
  text = dataset.modalities["text"]
  steps = slice(*text.offsets[row : row + 2])
  return text.words[steps].tolist(), text.times[steps, 0].tolist()


def test_words_and_times_lose_their_padding_with_the_steps(file):
  dataset = npz.read(file())
  assert [of(dataset, i) for i in range(3)] == [
    (WORDS[0], [0, 1, 2]),
    ([], []),
    (WORDS[2], [8, 9]),
  ]
  assert dataset.modalities["text"].names == ("f0", "loudness")
  assert dataset.notes == ()


def test_they_follow_the_samples_and_the_steps_that_are_chosen(file):
  dataset = npz.read(file())
  picked = dataset.select(np.array([2, 0]))
  assert of(picked, 0) == (WORDS[2], [8, 9]) and of(picked, 1)[0] == WORDS[0]
  assert picked.extras["extract"] == dataset.extras["extract"]
  short = dataset.modalities["text"].shortened(np.array([1, 1, 1]))
  assert short.words.tolist() == ["it", "oh"] and short.times.tolist()[1][0] == 8


def test_convert_keeps_everything(file, tmp_path):
  assert main(["convert", str(file()), str(tmp_path / "y.npz")]) == 0
  one, other = npz.read(file()), npz.read(tmp_path / "y.npz")
  assert [of(other, i) for i in range(3)] == [of(one, i) for i in range(3)]
  assert other.modalities["text"].names == ("f0", "loudness")
  assert json.loads(str(other.extras["extract"])) == {"version": 1}


def test_inspect_shows_them(file, capsys):
  main(["inspect", str(file())])
  shown = capsys.readouterr().out
  for words in (
    "text: words on its 5 steps (it was <b> oh é ...)",
    "text: times from 0.00 to 9.50 s, a step of 0.5 s",
    "text: features f0, loudness",
    'Extracted with {"version": 1}',
  ):
    assert words in shown, shown


@pytest.mark.parametrize(
  ("changes", "value"),
  [
    ({"text_words": np.array(["a", "b"])}, r"\(2,\)"),
    ({"text_words": np.ones((3, 4))}, "float64"),
    ({"text_times": np.ones((3, 4))}, r"\(3, 4\)"),
    ({"text_times": np.zeros((3, 4, 2)) + [2, 1]}, "from 2 to 1"),
    ({"text_names": np.array(["f0"])}, r"\(1,\)"),
    ({"extract": np.array("{")}, "extract"),
  ],
)
def test_what_does_not_fit_is_named(file, changes, value):
  with pytest.raises(UserError, match=value):
    npz.read(file(**changes))


def test_features_may_have_names_like_those_of_words_and_times(tmp_path):
  more = {"sung_words": np.ones((3, 5)), "race_times": np.ones((3, 2))}
  np.savez(tmp_path / "x.npz", id=np.array(["a", "b", "c"]), **more)
  assert list(npz.read(tmp_path / "x.npz").modalities) == ["sung_words", "race_times"]


def test_a_sentence_is_the_files_own_or_its_words(file):
  dataset = npz.read(file())
  assert [dataset.sentence(i) for i in range(3)] == ["it was <b>", "", "oh é"]
  assert [pooled(dataset).sentence(i) for i in range(3)] == ["it was <b>", "", "oh é"]
  dataset = npz.read(file(raw_text=np.array(["It was.", "-", "Oh!"])))
  assert dataset.sentence(2) == "Oh!" and dataset.notes == ()
  nothing = Dataset(np.array(["a"]), {"text": Modality.from_vectors(np.ones((1, 2)))})
  assert nothing.sentence(0) == ""


def mmsa(tmp_path, say):
  """An MMSA file whose sentences `say` makes of the numbers of steps."""
  corpus = writers.invented()
  content = writers.mmsa_content(corpus)
  for split, entry in content.items():
    lengths = [len(corpus.sequences["text"][i]) for i in corpus.rows(split)]
    entry["raw_text"] = np.array([say(n) for n in lengths], dtype=object)
  return readers.read(writers.dump(tmp_path / "x.pkl", content))


def test_sentences_of_mmsa_become_words_where_every_step_has_one(tmp_path):
  dataset = mmsa(tmp_path, lambda n: " ".join(f"w{i}" for i in range(n)))
  text = dataset.modalities["text"]
  assert len(text.words) == len(text.values) and text.words[1] == "w1"
  # A wordpiece more than there are words, as of BERT: sentences alone.
  dataset = mmsa(tmp_path, lambda n: " ".join("w" * (n - 1)))
  assert dataset.modalities["text"].words is None
  assert dataset.sentence(0) == dataset.extras["raw_text"][0] != ""


def test_sentences_that_are_none_do_not_make_a_file_unreadable(tmp_path):
  assert "raw_text" not in mmsa(tmp_path, lambda n: n).extras
  long = mmsa(tmp_path, lambda n: "x" * 100_000 + "\ud800")
  assert long.extras["raw_text"].dtype.itemsize <= 4 * 500
