"""The real corpora as feature files of this library, one a protocol.

  python -m protocols.corpora meld_dialogues OUT.npz [--data FOLDER]    (in benchmarks/)

writes one. Each function takes the folder with the corpora and returns `Corpus`: the
data set, how it is divided, and what a reader of its table has to know.
"""

import argparse
import dataclasses
import functools
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from mcr_jax.data import columns, folds, npz
from mcr_jax.data.schema import Dataset, Modality

# Fields of `config.data`: five folds, and five folds five times, a seed each.
FOLDS = {"folds": 5}
REPEATED = {"folds": 5, "fold_repeats": 5, "fold_shuffle": True, "fold_seeds": "own"}
REPEAT_NOTE = "Five folds (three train, one valid, one test), five times, by sample."


@dataclasses.dataclass(frozen=True)
class Corpus:
  """A data set and the way it is to be measured.

  Attributes:
    dataset: with the columns that folds go by.
    folding: fields of `config.data` that divide it into folds, whose test parts are
      pooled; {} is its own split.
    groups: (N,) numbers; samples of one number (a video) are not independent.
    transcripts: (N,) where there are any, for TF-IDF.
    spread: whether the simple methods see the deviation over the steps, too.
    note: what a reader of the table has to know.
  """

  dataset: Dataset
  folding: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  groups: np.ndarray | None = None
  transcripts: np.ndarray | None = None
  spread: bool = False
  note: str = ""

  @property
  def repeats(self) -> int:
    """How often it is divided; `splits` are repeat by repeat."""
    return self.folding.get("fold_repeats", 1)

  @functools.cached_property
  def splits(self) -> tuple[np.ndarray, ...]:
    """(N,) names of train, valid and test, an array a fold."""
    if not self.folding:
      return (self.dataset.splits,)
    return tuple(one.splits for one in folds.split(self.dataset, self.folding))

  def parts(self, split: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The rows of train, valid and test in one of `splits`."""
    return tuple(np.flatnonzero(split == part) for part in ("train", "valid", "test"))


def mmmo(folder: pathlib.Path) -> Corpus:
  """ICT-MMMO, audio and vision, standard split; labels minus 3 (neutral)."""
  raw = np.load(folder / "ict-mmmo/mmmo_aligned20.npz")
  modalities = {"audio": _holes(raw["audio"]), "vision": _holes(raw["video"])}
  ids = np.array([f"mmmo_{i}" for i in range(len(raw["label"]))])
  note = "80 test samples: the 95% interval of an MAE is 0.3 wide."
  return Corpus(
    _dataset(ids, raw["split"], raw["label"] - 3, modalities), spread=True, note=note
  )


def mmmo_text(folder: pathlib.Path) -> Corpus:
  """The 120 samples of ICT-MMMO that have text, three modalities."""
  raw = np.load(folder / "ict-mmmo/mmmo_aligned20.npz")
  rows = raw["text_has_rows"]
  rows = np.flatnonzero(rows) if rows.dtype == bool else rows
  modalities = {"text": raw["text"], "audio": raw["audio"], "vision": raw["video"]}
  for name in ("audio", "vision"):
    modalities[name] = modalities[name][rows]
  modalities = {name: _holes(values) for name, values in modalities.items()}
  ids = np.array([f"mmmo_{i}" for i in rows])
  dataset = _dataset(ids, None, raw["label"][rows] - 3, modalities)
  return Corpus(dataset, REPEATED, spread=True, note=REPEAT_NOTE)


def mosi_words(
  folder: pathlib.Path,
  kind: str = "text_timing_audio",
  text: str = "glove",
  timing: str = "timing",
) -> Corpus:
  """MOSI's timed words, standard split.

  Timing is four numbers a word; audio one openSMILE vector, a sequence of one step.

  Args:
    folder: with the corpora.
    kind: `text`, `text_timing` or `text_timing_audio`.
    text: a vector a word, one of `TEXTS`.
    timing: what that modality is called; systems with settings for text, vision and
      audio read it as `vision`.
  """
  words, vectors = _mosi(folder)
  offsets = words["offsets"].astype(np.int64)
  real = np.ones(offsets[-1], bool)
  said_in, note = TEXTS[text]
  audio = vectors["audio"].astype(np.float32)
  said = {
    "words": words["vocab"][words["word_id"]],
    "times": np.stack([words["word_start"], words["word_end"]], -1).astype(np.float64),
  }
  modalities = {
    "text": Modality(said_in(folder, words), offsets, real, **said),
    "timing": Modality(_timing(words, offsets), offsets, real, **said),
    "audio": Modality(audio, np.arange(len(audio) + 1), np.ones(len(audio), bool)),
  }
  called = {"timing": timing}
  modalities = {called.get(k, k): modalities[k] for k in kind.split("_")}
  own = {"video_id": vectors["video_id"]}
  dataset = _dataset(words["id"], words["split"], words["label"], modalities, own)
  groups = np.unique(vectors["video_id"], return_inverse=True)[1]
  note = f"{note} No leak: the vectors saw no label."
  return Corpus(dataset, {}, groups, vectors["transcript"], note=note)


def _glove(folder, words):
  """GloVe of 300 numbers, zeros and yet a real step where the word has none."""
  return words["vocab_glove"][words["word_id"]].astype(np.float32)


def _two_gloves(folder, words):
  """The same, and beside it GloVe of 50 numbers, which nearly every word has."""
  more = np.load(folder / "cmu-mosi/mosi_glove50.npz")["glove50"]
  return np.concatenate([_glove(folder, words), more[words["word_id"]]], 1)


def _minilm(folder, words):
  """A word as a frozen sentence encoder reads it among the others."""
  return np.load(folder / "cmu-mosi/mosi_minilm.npz")["words"].astype(np.float32)


# Vectors of words, and what a reader has to know of them.
TEXTS = {
  "glove": (_glove, "20% of the words have no vector."),
  "gloves": (_two_gloves, "1% of the words have no vector, 20% only the short one."),
  "minilm": (_minilm, "Frozen vectors of MiniLM, a word is the mean of its pieces."),
}


def mosi_vectors(folder: pathlib.Path) -> Corpus:
  """MOSI's utterance vectors, all samples, split by what the extractors had seen."""
  _, raw = _mosi(folder)
  groups = np.unique(raw["video_id"], return_inverse=True)[1]
  own = {"video_id": raw["video_id"]}
  dataset = _dataset(raw["id"], raw["split_safe"], raw["label"], _vectors(raw), own)
  note = (
    "LEAK: the extractors of text and vision were trained on the labels of train and "
    "valid, so that valid looks far better than test, and choosing by it means little."
  )
  return Corpus(dataset, {}, groups, note=note)


def mosi_vectors_folds(folder: pathlib.Path) -> Corpus:
  """Those 752 of MOSI's utterance vectors that the extractors had not seen."""
  _, raw = _mosi(folder)
  raw = {k: x[raw["split_source"] == "test"] for k, x in raw.items()}
  groups = np.unique(raw["video_id"], return_inverse=True)[1]
  own = {"video_id": raw["video_id"]}
  dataset = _dataset(raw["id"], None, raw["label"], _vectors(raw), own)
  note = (
    "Only samples that the extractors had not seen: no leak. Five folds by video, "
    "three train, one valid, one test; predictions pooled."
  )
  return Corpus(dataset, FOLDS | {"fold_by": "video_id"}, groups, note=note)


def meld(folder: pathlib.Path) -> Corpus:
  """The dev part of MELD with RoBERTa and wav2vec2 vectors, five folds by dialogue."""
  notes = np.load(folder / "meld/meld_annotations.npz")
  raw = np.load(folder / "meld/meld_dev_features.npz")
  of = lambda name: notes[name][raw["row"]]
  modalities = {
    "text": Modality.from_vectors(raw["text_roberta"].astype(np.float32), None),
    "audio": Modality.from_vectors(raw["audio_wav2vec2"].astype(np.float32), None),
  }
  ids = np.array(
    [f"{d}_{u}" for d, u in zip(of("dialogue_id"), of("utterance_id"), strict=True)]
  )
  groups = np.unique(of("dialogue_id"), return_inverse=True)[1]
  own = {"dialogue_id": of("dialogue_id"), "turn": of("utterance_id")}
  own["speaker"] = of("speaker")
  dataset = _dataset(ids, None, of("emotion").astype(np.int64), modalities, own)
  dataset = dataclasses.replace(dataset, class_names=tuple(notes["emotion_names"]))
  note = (
    "Five folds by dialogue, chosen by valid weighted F1, predictions pooled. Text is "
    "of a model that was fine-tuned on MELD's training part: these 1108 utterances "
    "are its development part."
  )
  return Corpus(dataset, FOLDS | {"fold_by": "dialogue_id"}, groups, note=note)


def meld_dialogues(folder: pathlib.Path) -> Corpus:
  """All of MELD in text, standard split: who said what in which turn.

  `text` is a GloVe vector a word, zeros and yet a real step where the word has none,
  `sentence` one vector an utterance of a model that saw no label.
  """
  notes, words, vectors = (
    dict(np.load(folder / f"meld/meld_{name}.npz"))
    for name in ("annotations", "words", "minilm")
  )
  offsets = words["offsets"].astype(np.int64)
  glove = words["glove50"][words["word_id"]].astype(np.float32)
  modalities = {
    "text": Modality(glove, offsets, np.ones(offsets[-1], bool)),
    "sentence": Modality.from_vectors(vectors["sentence"].astype(np.float32)),
  }
  # Dialogues are numbered anew in every split.
  parts = zip(notes["split"], notes["dialogue_id"], strict=True)
  dialogues = np.array([f"{split}_dia{number}" for split, number in parts])
  turns = notes["utterance_id"]
  ids = [f"{name}_utt{turn}" for name, turn in zip(dialogues, turns, strict=True)]
  own = {"dialogue_id": dialogues, "turn": turns, "speaker": notes["speaker"]}
  labels = notes["emotion"].astype(np.int64)
  dataset = _dataset(np.array(ids), notes["split"], labels, modalities, own)
  dataset = dataclasses.replace(
    dataset,
    class_names=tuple(notes["emotion_names"]),
    extras={
      "label_sentiment": notes["sentiment"].astype(np.int64),
      "label_sentiment_names": notes["sentiment_names"],
      "raw_text": notes["utterance"],
    },
  )
  groups = np.unique(dialogues, return_inverse=True)[1]
  note = "Text alone. No leak: the vectors saw no label."
  return Corpus(dataset, {}, groups, notes["utterance"], note=note)


CORPORA = {
  "mmmo": mmmo,
  "mmmo_text": mmmo_text,
  "mosi_text": lambda folder: mosi_words(folder, "text"),
  "mosi_text_timing": lambda folder: mosi_words(folder, "text_timing"),
  "mosi_text_timing_audio": mosi_words,
  "mosi_gloves": lambda folder: mosi_words(folder, text="gloves"),
  "mosi_minilm": lambda folder: mosi_words(folder, text="minilm"),
  "mosi_table": lambda folder: mosi_words(folder, text="minilm", timing="vision"),
  "mosi_table_gloves": lambda f: mosi_words(f, text="gloves", timing="vision"),
  "mosi_minilm_text": lambda folder: mosi_words(folder, "text", "minilm"),
  "mosi_vectors": mosi_vectors,
  "mosi_vectors_folds": mosi_vectors_folds,
  "meld": meld,
  "meld_dialogues": meld_dialogues,
}


def _dataset(ids, splits, labels, modalities, own=None):
  if labels.dtype.kind == "f":
    labels = labels.astype(np.float32)
  return Dataset(
    ids=ids.astype(str),
    splits=None if splits is None else splits.astype(str),
    labels=labels,
    modalities=modalities,
    columns={k: columns.column(k, x, len(ids), "") for k, x in (own or {}).items()},
  )


def _holes(values):
  """A step without any non-zero feature is not there."""
  return Modality.from_padded(values.astype(np.float32), (values != 0).any(-1))


def _mosi(folder):
  """The timed words, and the utterance vectors in the same order."""
  words = dict(np.load(folder / "cmu-mosi/mosi_words.npz"))
  vectors = dict(np.load(folder / "cmu-mosi/mosi_utterance.npz"))
  place = {name: i for i, name in enumerate(vectors["id"])}
  order = np.array([place[name] for name in words["id"]])
  return words, {name: values[order] for name, values in vectors.items()}


def _vectors(raw):
  names = {"text": "text", "audio": "audio", "vision": "video"}
  return {
    name: Modality.from_vectors(raw[key].astype(np.float32), None)
    for name, key in names.items()
  }


def _timing(words, offsets):
  """Of every word: log duration, pause before it, its start, the speaking rate."""
  start, end = words["word_start"].astype(float), words["word_end"].astype(float)
  counts = np.diff(offsets)
  first = np.repeat(offsets[:-1], counts)
  duration = np.maximum(end - start, 0.01)
  pause = start - np.concatenate([[0], end[:-1]])
  pause[offsets[:-1][counts > 0]] = 0
  last = np.repeat(offsets[1:] - 1, counts)
  rate = np.repeat(counts, counts) / np.maximum(end[last] - start[first], 0.01)
  columns = [np.log(duration), pause, start - start[first], rate]
  return np.stack(columns, 1).astype(np.float32)


def main() -> None:
  """Writes the feature file of a corpus."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("name", choices=CORPORA)
  parser.add_argument("out", type=pathlib.Path, metavar="OUT.npz")
  default = os.environ.get("MCR_JAX_REAL_DATA", "../shared/data")
  parser.add_argument("--data", type=pathlib.Path, default=default)
  args = parser.parse_args()
  npz.write(args.out, CORPORA[args.name](args.data).dataset)


if __name__ == "__main__":
  main()
