"""Folders of MERBench: a folder a feature, an .npy an utterance, labels in an .npz.

`train_corpus`, `val_corpus`, `test_corpus` (or one `whole_corpus`) of the label file
are dicts, name -> {"emo": class, "val": number}.
"""

import os
import pathlib
import re
import zipfile
import zlib
from collections.abc import Mapping

import numpy as np

from mcr_jax.data.columns import column
from mcr_jax.data.readers.common import npy, sequences, values
from mcr_jax.data.readers.common.source import Source
from mcr_jax.data.schema import Dataset, canonical
from mcr_jax.errors import UserError

FORMAT = "a MERBench folder"
OPTIONS = ("features",)
# In this order: "hubert" and "data2vec-audio" are not BERT, "clip-roberta" is text.
KINDS = {
  "audio": "audio acoustic wav2vec hubert wavlm whisper vggish is09 is10 is13 egemaps "
  "opensmile covarep emotion2vec",
  "text": "text bert roberta electra xlnet t5 gpt llama vicuna alpaca opt- bloom glm "
  "falcon baichuan moss stablelm mpnet glove",
  "vision": "vision visual video clip eva02 manet emonet resnet senet msceleb imagenet "
  "dino openface facet face",
}
MELD_NAMES = re.compile(r"((?:train|val|test)_dia\d+)_utt(\d{1,9})")
# As MERBench numbers them, unlike everybody else.
MELD = ("anger", "joy", "sadness", "neutral", "disgust", "fear", "surprise")
FREE_BYTES, MAX_EXPANSION = 64 << 20, 100


def is_label_file(path: pathlib.Path) -> bool:
  """Whether an .npz holds the labels of a MERBench corpus."""
  try:
    with zipfile.ZipFile(path) as archive:
      return any(name.endswith("_corpus.npy") for name in archive.namelist())
  except (OSError, ValueError, RuntimeError, zipfile.BadZipFile):
    return False  # RuntimeError: packed in a way that zipfile does not know


def matches(source: Source) -> bool:
  """Whether it is such a label file, or a folder with one."""
  return source.path is not None and bool(_label_files(source))


def read(source: Source, features: Mapping[str, str] | None = None) -> Dataset:
  """A folder, or the label file in it.

  Args:
    source: of this format.
    features: modality -> name of its feature folder, where several would do.
  """
  path = source.path
  folder = path if source.folder else path.parent
  label_file = _label_file(source)
  corpora = _corpora(label_file)
  names = [name for _, corpus in corpora for name in corpus]
  if not names:
    raise UserError(f"{label_file} names no utterances.")
  for name in names:
    if not isinstance(name, str) or not name or {"/", "\\", "\0"} & set(name):
      raise UserError(f"{label_file}: refused: an utterance named {str(name)[:60]!r}.")
  ids = values.strings(names, str(label_file))
  modalities, notes = {}, []
  for name, feature in _features(folder, features, set(names)).items():
    rows = [_utterance(feature, utterance) for utterance in names]
    modalities[name] = sequences.from_list(name, rows, str(feature))
    lost = sum(row is None for row in rows)
    missing = f", missing in {lost} of {len(rows)} utterances" if lost else ""
    notes.append(f"{name}: the folder {feature.name!r}{missing}.")
  splits = None
  if corpora[0][0] is not None:
    splits = np.repeat([split for split, _ in corpora], [len(x) for _, x in corpora])
  else:
    notes.append("The labels name no splits.")
  labels, classes, extras = _labels([x for _, c in corpora for x in c.values()], names)
  return Dataset(
    ids,
    modalities,
    splits,
    labels,
    classes,
    str(path),
    tuple(notes),
    extras,
    _columns(names, str(path)),
  )


def _columns(names, source):
  """Dialogue and turn, which the names of MELD's utterances say."""
  found = [MELD_NAMES.fullmatch(name) for name in names]
  if not all(found):
    return {}
  dialogues, turns = zip(*(x.groups() for x in found), strict=True)
  columns = {"dialogue_id": np.array(dialogues), "turn": np.array(turns, np.int64)}
  return {k: column(k, x, len(names), source) for k, x in columns.items()}


def _label_file(source) -> pathlib.Path:
  files = _label_files(source)
  if len(files) != 1:
    found = ", ".join(x.name for x in files)
    raise UserError(
      f"{source} has {len(files)} label files ({found}): give one's path."
    )
  return files[0]


def _label_files(source) -> list[pathlib.Path]:
  files = source.files
  if source.folder:
    files = [x for x in files if x.suffix == ".npz"]
  return [x for x in files if is_label_file(x)]


def _corpora(path) -> list[tuple[str | None, dict]]:
  """(split, name -> labels) in the order train, valid, test."""
  found = {}
  try:
    with zipfile.ZipFile(path) as archive:
      members = [x for x in archive.infolist() if x.filename.endswith("_corpus.npy")]
      size = sum(x.file_size for x in members)
      if size > FREE_BYTES + MAX_EXPANSION * path.stat().st_size:
        raise UserError(f"{path}: refused: its labels would expand to {size:,} bytes.")
      for info in members:
        key = info.filename.removesuffix("_corpus.npy")
        content = npy.objects(archive.read(info), f"{path}: {info.filename[:60]!r}")
        content = content.tolist() if isinstance(content, np.ndarray) else content
        if not isinstance(content, dict):
          raise UserError(f"{path}: {key[:60]!r} is no dict of utterances.")
        found[values.SPLIT_NAMES.get(key, key)] = content
  except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
    raise UserError(f"{path} is damaged: {str(error)[:100]}") from None
  known = [
    (split, found[split]) for split in ("train", "valid", "test") if split in found
  ]
  if known:
    return known
  if "whole" in found:
    return [(None, found["whole"])]
  raise UserError(
    f"{path} has no train_corpus, val_corpus, test_corpus: {list(found)}."
  )


def _features(folder, chosen, names) -> dict[str, pathlib.Path]:
  """Modality -> feature folder, chosen or the only one that fits."""
  inner = folder / "features"
  inner = inner if inner.is_dir() else folder
  folders = {
    x.name: x for x in sorted(inner.iterdir()) if x.is_dir() and _fits(x, names)
  }
  if chosen:
    for name in chosen.values():
      if name not in folders:
        raise UserError(f"{inner} has no folder {name!r}; it has {', '.join(folders)}.")
    chosen = {canonical(kind): folders[name] for kind, name in chosen.items()}
  groups = {}
  for name in folders:
    groups.setdefault(_kind(name), []).append(name)
  for kind, several in groups.items():
    if len(several) > 1 and not chosen:
      raise UserError(
        f"{inner} has {len(several)} folders of {kind}: {', '.join(several)}. Choose "
        f"one a modality: data.features.{kind}={several[0]} in a config, --feature "
        f"{kind}={several[0]} of `python -m mcr_jax.data`."
      )
  if not groups:
    raise UserError(f"{inner} has no folder with an .npy file of an utterance.")
  # Where something was chosen, so it is for what needs no choice.
  found = {kind: folders[x[0]] for kind, x in groups.items() if len(x) == 1}
  found |= chosen or {}
  return {k: found[k] for k in [*values.MODALITIES, *found] if k in found}


def _fits(folder, names) -> bool:
  with os.scandir(folder) as entries:
    return any(entry.name.removesuffix(".npy") in names for entry in entries)


def _kind(name: str) -> str:
  name = name.lower()
  return next((k for k, x in KINDS.items() if any(w in name for w in x.split())), name)


def _utterance(folder, name) -> np.ndarray | None:
  """(D,) or (T, D); a folder of an utterance holds a file a frame."""
  path = folder / f"{name}.npy"
  if path.is_file():
    array = npy.read(path)
    # One vector is stored as (D,) or as (1, D).
    return array.reshape(-1) if array.ndim == 2 and len(array) == 1 else array
  frames = folder / name
  if name in (".", "..") or not frames.is_dir():
    return None
  rows = [npy.read(x).reshape(-1) for x in sorted(frames.glob("*.npy"))]
  return np.stack(rows) if rows else None


def _labels(rows, names):
  """The labels that vary: emotions before valence."""
  table = {}
  for key in ("emo", "val"):
    cells = [row.get(key) if isinstance(row, dict) else row for row in rows]
    cells = [x.item() if isinstance(x, np.generic) else x for x in cells]
    if all(isinstance(x, (str, int, float)) for x in cells) and len(set(cells)) > 1:
      table[key] = cells
  if "emo" not in table:
    cells = table.get("val")
    return (None if cells is None else np.array(cells, np.float32)), (), {}
  extras = {}
  if "val" in table and not any(isinstance(x, str) for x in table["val"]):
    extras["label_val"] = np.array(table["val"], np.float32)
  cells = table["emo"]
  if any(isinstance(x, str) for x in cells):
    classes = sorted({str(x) for x in cells})
    values.strings(classes, "the labels")
    return np.array([classes.index(str(x)) for x in cells]), tuple(classes), extras
  classes = MELD if all(map(MELD_NAMES.fullmatch, names)) else ()
  return values.integers(np.array(cells), "'emo'"), classes, extras
