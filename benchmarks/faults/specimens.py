"""A file or folder of every format, and every attack, to damage."""

import gzip
import io
import json
import zipfile
from pathlib import Path

import h5py
import numpy as np

from tests.data import attacks, packed_attacks, writers


def every(folder: Path) -> list[Path]:
  """Files and folders of all formats, in `folder`."""
  folder.mkdir()
  corpus = writers.invented(0, (3, 2, 2))
  made = [writers.npz(folder / "own.npz", corpus)]
  for protocol in range(6):
    for number, content in enumerate(_pickled(corpus)):
      made.append(writers.dump(folder / f"p{protocol}{number}.pkl", content, protocol))
      if protocol < 3:
        path = folder / f"old{protocol}{number}.pkl"
        path.write_bytes(writers.python2(content, protocol))
        made.append(path)
  labels = [{"emo": i % 3, "val": float(x)} for i, x in enumerate(corpus.labels)]
  features = {"text": "bert", "audio": "wavlm"}
  made.append(
    writers.merbench(folder / "mer", corpus, features=features, labels=labels)
  )
  made.append(writers.manifest(folder / "table", corpus).parent)
  made.append(_sequences(folder / "csd"))
  for name, data in (*_tables(), *_rows(), *_packed(made)):
    path = folder / name
    path.write_bytes(data)
    made.append(path)
  return [*made, _hdf5(folder / "own.h5")]


def contents() -> list:
  """Functions that make the contents of pickles with a layout of their own."""
  corpus, classes = writers.invented(0, (3, 1, 1)), _utterances()
  conversation = writers.conversation_content
  return [
    lambda: writers.mmsa_content(corpus, unimodal=True),
    lambda: writers.mult_content(corpus),
    lambda: writers.sdk_content(corpus),
    lambda: writers.tuples_content(corpus),
    lambda: list(conversation(classes, "meld9")),
    lambda: list(conversation(classes, "iemocap")),
    lambda: _samples(corpus),
  ]


def hostile(folder: Path) -> list[attacks.Attack]:
  """All attacks; those that run code leave a file `canary*` in `folder`."""
  found = [*attacks.code_attacks(folder), *packed_attacks.code_attacks(folder)]
  found += [*attacks.laughing_attacks(), *attacks.time_attacks()]
  found += [*attacks.memory_attacks(), *packed_attacks.memory_attacks()]
  return [*found, *attacks.npz_attacks(), *attacks.hdf5_attacks(folder)]


def _pickled(corpus) -> list:
  classes = _utterances()
  return [
    writers.mmsa_content(corpus, unimodal=True),
    writers.mult_content(corpus),
    writers.sdk_content(corpus),
    writers.tuples_content(corpus),
    writers.conversation_content(classes, "meld9"),
    writers.conversation_content(classes, "meld10"),
    writers.conversation_content(classes, "iemocap", as_lists=True),
    _samples(corpus),
  ]


def _utterances():
  """Dialogues whose utterances have one step of every modality, of six classes."""
  corpus = writers.invented(0, (4, 2, 2))
  corpus.labels %= 6
  corpus.labels //= 1
  for sequences in corpus.sequences.values():
    sequences[:] = [sequences[1][:1]] * len(sequences)
  return corpus


def _samples(corpus) -> list[dict]:
  """A dict a sample."""
  return [
    {
      "id": f"s{i}",
      "split": split,
      "label": float(corpus.labels[i]),
      **{name: x[i] for name, x in corpus.sequences.items()},
    }
    for i, split in enumerate(corpus.splits)
  ]


def _tables() -> list[tuple[str, bytes]]:
  head = ["id", "split", "label", *(f"audio_{i}" for i in range(4))]
  rows = [
    [f"s{i}", ("train", "valid", "test")[i % 3], str(i / 4 - 1), *map(str, range(4))]
    for i in range(9)
  ]
  text = lambda sign: "\n".join(sign.join(row) for row in [head, *rows]) + "\n"
  arff = "@relation x\n@attribute name string\n"
  arff += "".join(f"@attribute f{i} numeric\n" for i in range(4))
  arff += "@attribute class {a,b}\n@data\n"
  arff += "".join(f"'s{i}',1,2,3,{i},{'ab'[i % 2]}\n" for i in range(9))
  return [
    ("comma.csv", text(",").encode()),
    ("semicolon.csv", text(";").encode("utf-8-sig")),
    ("tab.tsv", text("\t").encode("utf-16")),
    ("features.arff", arff.encode()),
  ]


def _rows() -> list[tuple[str, bytes]]:
  samples = _samples(writers.invented(0, (3, 2, 2)))
  plain = [
    {k: x.tolist() if isinstance(x, np.ndarray) else x for k, x in sample.items()}
    for sample in samples
  ]
  lines = "\n".join(map(json.dumps, plain))
  return [
    ("samples.json", json.dumps(plain).encode()),
    ("samples.jsonl", lines.encode()),
  ]


def _packed(made: list[Path]) -> list[tuple[str, bytes]]:
  """Of a kind each: compressed, zipped, arrays of objects, tensors of PyTorch."""
  first = made[1].read_bytes()
  archive, arrays = io.BytesIO(), io.BytesIO()
  with zipfile.ZipFile(archive, "w") as file:
    file.writestr("data/x.pkl", first)
  content = writers.mmsa_content(writers.invented(0, (3, 2, 2)))
  np.save(arrays, np.array(content, object), allow_pickle=True)
  return [
    ("x.pkl.gz", gzip.compress(first)),
    ("own.npz.gz", gzip.compress(made[0].read_bytes())),
    ("x.zip", archive.getvalue()),
    ("x.npy", arrays.getvalue()),
  ]


def _sequences(folder: Path) -> Path:
  """Computational sequences of one video."""
  folder.mkdir()
  times = np.arange(6)[:, None] / 2 + [0, 0.5]
  for name, root in (("1", "glove"), ("2", "COVAREP"), ("3", "Labels")):
    entries = {"v": (np.ones((6, 2)), times)}
    writers.csd(folder / f"{name}.csd", root, entries)
  (folder / "splits.csv").write_text("id,split\nv,train\n")
  return folder


def _hdf5(path: Path) -> Path:
  with h5py.File(path, "w") as file:
    for sample in _samples(writers.invented(0, (3, 2, 2))):
      group = file.create_group(sample["id"])
      for name, value in sample.items():
        group.create_dataset(name, data=value)
  return path
