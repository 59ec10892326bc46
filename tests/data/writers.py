"""Writes data sets in the formats of other projects, independently of the readers.

A `Corpus` is what any of the files should load to. It imports nothing of the package.
"""

import csv
import dataclasses
import io
import json
import pathlib
import pickle  # only to write
import struct

import h5py
import numpy as np

SPLITS = ("train", "valid", "test")


@dataclasses.dataclass
class Corpus:
  """Samples in the order train, valid, test; sequences (T, D) by modality."""

  videos: list[str]
  clips: list[str]
  splits: list[str]
  labels: np.ndarray
  sequences: dict[str, list[np.ndarray]]

  def rows(self, split: str) -> list[int]:
    return [i for i, x in enumerate(self.splits) if x == split]

  def joined(self, name: str) -> np.ndarray:
    return np.concatenate(self.sequences[name]).astype(np.float32)

  def offsets(self, name: str) -> np.ndarray:
    return np.cumsum([0, *map(len, self.sequences[name])])


def invented(seed: int = 0, counts=(7, 3, 5)) -> Corpus:
  """A corpus with what real ones have: holes, -inf, no words, no face at all."""
  random = np.random.default_rng(seed)
  total = sum(counts)
  widths = {"text": 6, "vision": 5, "audio": 7}
  longest = {"text": 8, "vision": 13, "audio": 11}
  sequences = {
    name: [
      random.normal(size=(random.integers(2, longest[name] + 1), width))
      for _ in range(total)
    ]
    for name, width in widths.items()
  }
  for name, steps in longest.items():
    sequences[name][1] = random.normal(size=(steps, widths[name]))
  sequences["vision"][1][4:6] = 0.0
  sequences["text"][1][3] = 0.0
  sequences["audio"][2][0, 2] = -np.inf
  sequences["text"][3] = sequences["text"][3][:0]
  sequences["vision"][4] = sequences["vision"][4][:0]
  sequences = {k: [x.astype(np.float32) for x in v] for k, v in sequences.items()}
  return Corpus(
    videos=[f"video{i // 2}" for i in range(total)],
    clips=[str(i % 2) for i in range(total)],
    splits=[s for s, n in zip(SPLITS, counts, strict=True) for _ in range(n)],
    labels=np.round(random.uniform(-3, 3, total), 3).astype(np.float32),
    sequences=sequences,
  )


def padded(sequences, side="right", length=None, dtype=np.float32):
  """(N, T, D), zeros where there is nothing."""
  length = length or max(map(len, sequences))
  block = np.zeros((len(sequences), length, sequences[0].shape[1]), dtype)
  for i, x in enumerate(sequences):
    block[i, (length - len(x) if side == "left" else 0) :][: len(x)] = x
  return block


def dump(path, content, protocol=4):
  path = pathlib.Path(path)
  path.write_bytes(pickle.dumps(content, protocol))
  return path


def mmsa_content(corpus, *, side="right", lengths=True, unimodal=False, dtype=None):
  """The dict of an MMSA file; with `lengths` it is the unaligned kind."""
  content = {}
  longest = {k: max(map(len, x)) for k, x in corpus.sequences.items()}
  for split in SPLITS:
    rows = corpus.rows(split)
    pick = lambda values, rows=rows: [values[i] for i in rows]
    entry = {
      "raw_text": np.array([f"words of {i}" for i in rows], dtype=object),
      "id": pick(
        [f"{v}$_${c}" for v, c in zip(corpus.videos, corpus.clips, strict=True)]
      ),
      "annotations": ["Negative" if corpus.labels[i] < 0 else "Positive" for i in rows],
      "classification_labels": np.array([float(corpus.labels[i] >= 0) for i in rows]),
      "regression_labels": [float(corpus.labels[i]) for i in rows],
    }
    for name, sequences in corpus.sequences.items():
      block = padded(pick(sequences), side, longest[name], dtype or np.float32)
      entry[name] = block
      if lengths and name != "text":
        entry[f"{name}_lengths"] = [len(x) for x in pick(sequences)]
    if "text" in corpus.sequences:
      tokens = np.zeros((len(rows), 3, longest["text"]), np.int64)
      for i, x in enumerate(pick(corpus.sequences["text"])):
        at = longest["text"] - len(x) if side == "left" else 0
        tokens[i, 0, at : at + len(x)] = 101
        tokens[i, 1, at : at + len(x)] = 1
      entry["text_bert"] = tokens
    if unimodal:
      for k, name in enumerate("TAV", 1):
        entry[f"regression_labels_{name}"] = [float(corpus.labels[i]) / k for i in rows]
    content[split] = entry
  return content


def mult_content(corpus, *, labels=None, ids="pair"):
  """The dict of a MulT file: padded on the left, no lengths."""
  longest = {k: max(map(len, x)) for k, x in corpus.sequences.items()}
  content = {}
  for split in SPLITS:
    rows = corpus.rows(split)
    entry = {
      name: padded([x[i] for i in rows], "left", longest[name], np.float64)
      for name, x in corpus.sequences.items()
    }
    chosen = corpus.labels.reshape(-1, 1, 1) if labels is None else labels
    entry["labels"] = np.array([chosen[i] for i in rows])
    if ids == "bytes":
      entry["id"] = np.array(
        [[corpus.videos[i].encode(), corpus.clips[i].encode(), b"9.5"] for i in rows]
      )
    elif ids == "pair":
      entry["id"] = np.array([[corpus.videos[i], corpus.clips[i]] for i in rows])
    content[split] = entry
  return content


class Python2Pickler(pickle._Pickler):
  """Writes strings as Python 2 did: bytes and plain text are one type."""

  dispatch = dict(pickle._Pickler.dispatch)

  def save_old(self, text):
    raw = text.encode("latin1") if isinstance(text, str) else text
    if self.proto == 0:
      # A double-quoted string, as Python 2's repr writes it.
      body = "".join(
        chr(b) if 32 <= b < 127 and b not in b'\\"' else f"\\x{b:02x}" for b in raw
      )
      self.write(b'S"' + body.encode("ascii") + b'"\n')
    elif len(raw) < 256:
      self.write(b"U" + bytes([len(raw)]) + raw)
    else:
      self.write(b"T" + struct.pack("<i", len(raw)) + raw)
    self.memoize(text)

  dispatch[bytes] = save_old
  dispatch[str] = save_old


def sdk_content(corpus, labels=None):
  """Splits with the names of the CMU-MultimodalSDK, padded with zeros on the right."""
  labels = corpus.labels[:, None, None] if labels is None else labels
  blocks = {
    key: padded(corpus.sequences[name])
    for key, name in (("glove", "text"), ("COVAREP", "audio"), ("FACET 4.2", "vision"))
  }
  blocks |= {
    "label": labels,
    "id": np.array(
      [f"{v}[{c}]" for v, c in zip(corpus.videos, corpus.clips, strict=True)]
    ),
  }
  where = np.array(corpus.splits)
  return {
    split: {key: x[where == split] for key, x in blocks.items()}
    for split in dict.fromkeys(corpus.splits)
  }


def tuples_content(corpus, words=None):
  """Splits of ((words, vision, audio), label, segment); other words at need.

  Args:
    corpus: whose modalities are cut to the steps that all have.
    words: (sample, steps) -> the parts of words, before and behind the features.
  """
  words = words or (lambda i, n: (np.array([f"w{i}_{t}" for t in range(n)]), ()))
  content = {}
  for i, split in enumerate(corpus.splits):
    own = [corpus.sequences[x][i] for x in ("vision", "audio")]
    steps = min(map(len, own))
    first, more = words(i, steps)
    features = (first, *(x[:steps] for x in own), *more)
    label = np.array([[corpus.labels[i]]], np.float32)
    segment = f"{corpus.videos[i]}[{i}]"
    content.setdefault(split, []).append((features, label, segment))
  return content


def python2(content, protocol=2) -> bytes:
  """The pickle that Python 2 and its NumPy would have written."""
  file = io.BytesIO()
  Python2Pickler(file, protocol).dump(content)
  return file.getvalue().replace(b"cnumpy._core.", b"cnumpy.core.")


def dialogues(corpus):
  """Dialogue -> positions of its utterances."""
  table = {}
  for i, video in enumerate(corpus.videos):
    table.setdefault(video, []).append(i)
  return table


def conversation_content(corpus, layout, keys=None, as_lists=False):
  """The tuple of a conversation pickle; each sequence is cut to its first step.

  Args:
    corpus: labels are class numbers in the numbering of the layout.
    layout: "meld9", "meld10" or "iemocap".
    keys: video -> key of the dialogue.
    as_lists: whether features are lists of floats.
  """
  table = dialogues(corpus)
  keys = keys or {video: video for video in table}
  per = lambda get: {keys[v]: [get(i) for i in rows] for v, rows in table.items()}
  vector = lambda name: per(
    lambda i: (
      corpus.sequences[name][i][0].tolist()
      if as_lists
      else corpus.sequences[name][i][0]
    )
  )
  train = [keys[v] for v, rows in table.items() if corpus.splits[rows[0]] != "test"]
  test = [keys[v] for v, rows in table.items() if corpus.splits[rows[0]] == "test"]
  ids, speakers = per(lambda i: corpus.clips[i]), per(lambda i: [1, 0])
  labels, sentences = per(lambda i: int(corpus.labels[i])), per(lambda i: f"Words {i}.")
  text, audio = vector("text"), vector("audio")
  # neutral 0, positive 1, negative 2, by the emotions of MELD's numbering
  sentiment = per(lambda i: (0, 1, 2, 2, 1, 2, 2)[int(corpus.labels[i])])
  if layout == "meld9":
    return ids, speakers, labels, text, audio, sentences, train, test, sentiment
  vision = vector("vision")
  if layout == "meld10":
    return ids, speakers, labels, text, audio, vision, sentences, train, test, sentiment
  return ids, speakers, labels, text, audio, vision, sentences, set(train), test


def csd(path, root, entries, metadata=True):
  """One computational sequence; entries: key -> (features, intervals)."""
  with h5py.File(path, "w") as file:
    for key, (features, intervals) in entries.items():
      group = file.create_group(f"{root}/data/{key}")
      group.create_dataset("features", data=features)
      group.create_dataset("intervals", data=intervals)
    if metadata:
      group = file.create_group(f"{root}/metadata")
      group.create_dataset("root name", data=json.dumps(root))
  return path


def merbench(folder, corpus, *, features, labels, names=None):
  """features: modality -> name of its folder; labels: a dict an utterance."""
  folder = pathlib.Path(folder)
  names = names or [
    f"{v}_{c}" for v, c in zip(corpus.videos, corpus.clips, strict=True)
  ]
  for modality, name in features.items():
    inner = folder / "features" / name
    inner.mkdir(parents=True)
    for utterance, x in zip(names, corpus.sequences[modality], strict=True):
      if len(x):
        np.save(inner / f"{utterance}.npy", x)
  corpora = {
    f"{'val' if split == 'valid' else split}_corpus": {
      names[i]: labels[i] for i in corpus.rows(split)
    }
    for split in SPLITS
  }
  np.savez_compressed(folder / "label.npz", **corpora)
  return folder


def manifest(folder, corpus, labels=None):
  """A table and an .npy file a clip and modality."""
  folder = pathlib.Path(folder)
  folder.mkdir(exist_ok=True)
  labels = corpus.labels.tolist() if labels is None else labels
  with open(folder / "clips.csv", "w", newline="") as file:
    table = csv.writer(file)
    table.writerow(["id", "split", "label", *corpus.sequences])
    for i, label in enumerate(labels):
      cells = []
      for modality, x in corpus.sequences.items():
        cells.append(f"{modality}_{i}.npy" if len(x[i]) else "")
        if len(x[i]):
          np.save(folder / cells[-1], x[i])
      table.writerow(
        [f"{corpus.videos[i]}$_${corpus.clips[i]}", corpus.splits[i], label, *cells]
      )
  return folder / "clips.csv"


def npz(path, corpus):
  """The project's own file, ragged."""
  arrays = {
    "id": np.array(
      [f"{v}$_${c}" for v, c in zip(corpus.videos, corpus.clips, strict=True)]
    ),
    "split": np.array(corpus.splits),
    "label": corpus.labels,
  }
  for name in corpus.sequences:
    arrays[name], arrays[f"{name}_offsets"] = corpus.joined(name), corpus.offsets(name)
  with open(path, "wb") as file:  # A name would get a suffix.
    np.savez(file, **arrays)
  return path
