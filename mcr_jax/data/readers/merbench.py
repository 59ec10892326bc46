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

from mcr_jax.data import parts as parts_of
from mcr_jax.data.columns import column
from mcr_jax.data.ledger import Ledger
from mcr_jax.data.readers.common import merbench_labels, npy, sequences, values
from mcr_jax.data.readers.common.source import Source
from mcr_jax.data.schema import SPLITS, Dataset, canonical
from mcr_jax.errors import UserError

FORMAT = "a MERBench folder"
OPTIONS = ("features", "parts")
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
CORPUS = "_corpus.npy"
FREE_BYTES, MAX_EXPANSION = 64 << 20, 100


def is_label_file(path: pathlib.Path) -> bool:
  """Whether an .npz holds the labels of a MERBench corpus."""
  try:
    with zipfile.ZipFile(path) as archive:
      return any(name.endswith(CORPUS) for name in archive.namelist())
  except (OSError, ValueError, RuntimeError, zipfile.BadZipFile):
    return False  # RuntimeError: packed in a way that zipfile does not know


def matches(source: Source) -> bool:
  """Whether it is such a label file, or a folder with one."""
  return source.path is not None and bool(_label_files(source))


def read(
  source: Source,
  features: Mapping[str, str] | None = None,
  parts: Mapping[str, str] | None = None,
) -> Dataset:
  """A folder, or the label file in it.

  Args:
    source: of this format.
    features: modality -> name of its feature folder, where several would do.
    parts: split -> the file's name of the corpus to take for it, such as `test1`.
  """
  path, ledger = source.path, Ledger()
  folder = path if source.folder else path.parent
  label_file = _label_file(source)
  corpora = _corpora(label_file, parts or {}, ledger)
  names = [name for _, corpus in corpora for name in corpus]
  if not names:
    raise UserError(f"{label_file} names no utterances.")
  for name in names:
    if not isinstance(name, str) or not name or {"/", "\\", "\0"} & set(name):
      raise UserError(f"{label_file}: refused: an utterance named {str(name)[:60]!r}.")
  ids = values.strings(names, str(label_file))
  modalities, notes = {}, []
  for name, feature in _features(folder, features, set(names), ledger).items():
    rows = [_utterance(feature, utterance) for utterance in names]
    empty = [
      u for u, x in zip(names, rows, strict=True) if x is not None and not x.size
    ]
    why = f"the file holds an array of no values: its sample lacks {name}"
    ledger.part(f"{feature.name}/*.npy", len(empty), why, "files", empty)
    rows = [x if x is not None and x.size else None for x in rows]
    modalities[name] = sequences.from_list(name, rows, str(feature))
    lost = sum(row is None for row in rows)
    missing = f", missing in {lost} of {len(rows)} utterances" if lost else ""
    notes.append(f"{name}: the folder {feature.name!r}{missing}.")
  splits = None
  if corpora[0][0] is not None:
    splits = np.repeat([split for split, _ in corpora], [len(x) for _, x in corpora])
  else:
    notes.append("The labels name no splits.")
  rows = [x for _, corpus in corpora for x in corpus.values()]
  main, extras = merbench_labels.read(rows, names, str(label_file), ledger)
  classes = main.names
  if not classes and main.values is not None and main.values.dtype.kind == "i":
    classes = MELD if all(map(MELD_NAMES.fullmatch, names)) else ()
  return Dataset(
    ids,
    modalities,
    splits,
    main.values,
    classes,
    str(path),
    tuple(notes),
    extras,
    _columns(names, str(path)),
    ledger=(*ledger.entries(), *main.entries("labels")),
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


def _corpora(path, chosen, ledger) -> list[tuple[str | None, dict]]:
  """(split, name -> labels) in the order train, valid, test."""
  found = {}
  try:
    with zipfile.ZipFile(path) as archive:
      members = [x for x in archive.infolist() if x.filename.endswith(CORPUS)]
      size = sum(x.file_size for x in members)
      if size > FREE_BYTES + MAX_EXPANSION * path.stat().st_size:
        raise UserError(f"{path}: refused: its labels would expand to {size:,} bytes.")
      for info in members:
        key = info.filename.removesuffix(CORPUS)
        content = npy.objects(archive.read(info), f"{path}: {info.filename[:60]!r}")
        content = content.tolist() if isinstance(content, np.ndarray) else content
        if not isinstance(content, dict):
          raise UserError(f"{path}: {key[:60]!r} is no dict of utterances.")
        found[key] = content
        ledger.hold(f"{key}_corpus", len(content), "utterances")
      for info in archive.infolist():
        if not info.filename.endswith(CORPUS):
          ledger.hold(info.filename, info.file_size, "bytes")
          ledger.leave(info.filename, "it is no corpus of labels")
  except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
    raise UserError(f"{path} is damaged: {str(error)[:100]}") from None
  roles = parts_of.roles(found, str(path), chosen)
  for key in found:
    if key in roles:
      ledger.use(f"{key}_corpus", f"the split {roles[key]}")
    else:
      ledger.leave(f"{key}_corpus", parts_of.further(key))
  order = lambda key: (*SPLITS, roles[key]).index(roles[key])
  if list(roles) == ["whole"]:
    ledger.use("whole_corpus", "all samples")
    return [(None, found["whole"])]
  return [(roles[key], found[key]) for key in sorted(roles, key=order)]


def _features(folder, chosen, names, ledger) -> dict[str, pathlib.Path]:
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
  used = {x.name: kind for kind, x in found.items()}
  for x in sorted(inner.iterdir()):
    if x.is_dir() and not (inner == folder and x.name == "features"):
      _tell(x, used.get(x.name), names, ledger)
  return {k: found[k] for k in [*values.MODALITIES, *found] if k in found}


def _tell(folder, kind, names, ledger):
  """What of a folder of features is used: the files of utterances."""
  with os.scandir(folder) as entries:
    files = [x.name for x in entries]
  ledger.hold(folder.name, len(files), "files")
  if kind is None:
    ledger.leave(folder.name, "no folder of features that was chosen")
    return
  ledger.use(folder.name, f"the modality {kind}")
  beside = [x for x in files if x.removesuffix(".npy") not in names]
  why = "they are of no utterance that has labels here"
  ledger.part(f"{folder.name}/*.npy", len(beside), why, "files", sorted(beside))


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
