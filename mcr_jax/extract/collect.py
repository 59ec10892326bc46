"""From jobs to a feature file, beside which every clip is kept once it is done."""

import dataclasses
import hashlib
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from mcr_jax.data import archive, npz, parts, words
from mcr_jax.data.columns import column
from mcr_jax.data.schema import Dataset, Modality
from mcr_jax.errors import UserError
from mcr_jax.extract import media, table
from mcr_jax.extract import recipe as recipes
from mcr_jax.extract.clip import Clip, Extractor, Features
from mcr_jax.extract.places import Places, check_words
from mcr_jax.extract.table import Job


@dataclasses.dataclass(frozen=True)
class Failed:
  """A clip that cannot be used, and why."""

  id: str
  why: str


def parts_of(out: str | os.PathLike) -> Path:
  """The folder beside a feature file where its clips are kept."""
  return Path(f"{os.fspath(out)}.parts")


def extract(
  found: Sequence[Job],
  extractor: Extractor,
  where: Path,
  say: Callable[[int, Job, Clip | Failed], None],
) -> list[Failed]:
  """Extracts the clips that are not in the folder yet; what cannot be is returned.

  Args:
    found: what is to be extracted.
    extractor: of the recipe.
    where: folder of parts, by a digest of clip, recipe and transcript.
    say: is told of every clip when it is there.
  """
  failed = []
  for i, job in enumerate(found):
    try:
      path = part_of(job, extractor, where)
      kept = read(path) if path.is_file() else None
      clip = kept or extractor(job.file, job.cues, start=job.start, end=job.end)
    except UserError as error:
      failed.append(Failed(job.id, str(error)))
      say(i, job, failed[-1])
      continue
    # A full disk is no fault of the clip's: it ends the work.
    if kept is None:
      write(path, clip)
    say(i, job, clip)
  return failed


def part_of(job: Job, extractor: Extractor, where: Path) -> Path:
  """The file of a clip's features: another clip, recipe or text is another file."""
  recipe = extractor.recipe
  if job.cues is not None:  # whatever hears others
    recipe = dataclasses.replace(recipe, asr_weights="")
  digest = hashlib.sha256(recipe.to_json().encode())
  try:
    with open(job.file, "rb") as file:
      digest.update(hashlib.file_digest(file, "sha256").digest())
  except OSError as error:
    raise UserError(f"{job.file} cannot be read: {error.strerror}.") from None
  said = None if job.cues is None else [dataclasses.astuple(cue) for cue in job.cues]
  digest.update(json.dumps([said, job.start, job.end]).encode())
  return where / f"{digest.hexdigest()[:32]}.npz"


def write(path: Path, clip: Clip) -> None:
  """Keeps the features of a clip."""
  arrays = {
    "seconds": np.array(clip.seconds),
    "said": np.array(clip.text),
    "notes": np.array(clip.notes, str),
  }
  for name, x in clip.features.items():
    arrays |= {name: x.values, f"{name}_times": x.times, f"{name}_mask": x.mask}
    arrays[f"{name}_names"] = np.array(x.names, str)
    if x.words is not None:
      arrays[f"{name}_words"] = x.words
  path.parent.mkdir(parents=True, exist_ok=True)
  archive.write(path, arrays)


def read(path: Path) -> Clip | None:
  """What `write` kept; None where it is damaged, so that it is made again."""
  try:
    arrays = archive.read(path)
    modalities = [name for name in arrays if f"{name}_times" in arrays]
    features = {
      name: Features(
        arrays[name],
        arrays[f"{name}_times"],
        arrays[f"{name}_mask"],
        tuple(arrays[f"{name}_names"].tolist()),
        arrays.get(f"{name}_words"),
      )
      for name in modalities
    }
    notes = tuple(arrays["notes"].tolist())
    return Clip(features, notes, arrays["seconds"].item(), arrays["said"].item())
  except (UserError, KeyError):
    return None


def dataset(
  found: Sequence[Job], clips: Sequence[Clip], recipe: str, source: str
) -> Dataset:
  """The data set of clips, in their order.

  Args:
    found: with labels and splits.
    clips: of each.
    recipe: JSON.
    source: for messages.
  """
  labels, classes, entries = None, (), ()
  if found[0].label is not None:
    place = lambda i: f"clip {found[i].id!r}"
    cells = [job.label or "" for job in found]
    # No class is negative: such labels are measured, even where all are whole.
    measured = any(cell.startswith("-") for cell in cells)
    what = f"{source}: 'label'"
    said = words.labels(cells, place, what, numeric=measured)
    labels, classes, entries = said.values, said.names, said.entries("label")
  columns = {}
  for name, values in (
    ("speaker", [job.speaker for job in found]),
    ("video_id", [job.video for job in found]),
  ):
    if all(values):
      columns[name] = column(name, np.array(values, str), len(found), source)
  divided, note = table.splits(found) if labels is not None else (None, "")
  made = Dataset(
    ids=np.array([job.id for job in found], str),
    modalities={m: _joined([c.features[m] for c in clips]) for m in clips[0].features},
    splits=parts.named(divided) if divided else None,
    labels=labels,
    class_names=classes,
    source=source,
    notes=(note,) if note else (),
    extras={
      "raw_text": np.array([c.text for c in clips], str),
      "extract": np.array(recipe),
    },
    columns=columns,
  )
  return made.leaving(*entries) if entries else made


def of_clip(
  path: str | os.PathLike, cues, recipe: str, places: Places | None = None
) -> Dataset:
  """A data set of one clip, by the recipe of a run.

  Args:
    path: of the clip.
    cues: what is said in it; None where nothing tells, so that it is recognised.
    recipe: JSON of a run's features.
    places: folders of models, where the recipe is of one's own.
  """
  wanted, places = recipes.from_json(recipe, "The run"), places or Places()
  if cues is None and wanted.text != "none":
    check_words(f"{path} has no transcript.", places.asr)
  extractor = Extractor(wanted, places, recognise=cues is None)
  return of_one(path, cues, wanted, extractor)


def of_one(
  path: str | os.PathLike,
  cues,
  wanted: recipes.Recipe,
  extractor: Extractor,
  watch: Callable[[media.Event], None] | None = None,
) -> Dataset:
  """The same with an extractor, which serves for many clips.

  Args:
    path, cues: see `of_clip`.
    wanted: the recipe of the run.
    extractor: of it, which recognises speech where there are no cues.
    watch: see `Extractor`.
  """
  path = Path(path)
  clip = extractor(path, cues, watch=watch)
  notes = list(clip.notes)
  if cues is None and extractor.recipe.asr_weights != wanted.asr_weights:
    notes.append("the words of the run's own clips were told, not recognised")
  # What told the words does not make another recipe of one clip.
  done = dataclasses.replace(extractor.recipe, asr_weights=wanted.asr_weights)
  job = Job(path.stem, path, cues)
  made = dataset([job], [clip], done.to_json(), str(path))
  # As its row is read from a file: what lies behind the last face is no step.
  ended = {name: x.trimmed() for name, x in made.modalities.items()}
  made = dataclasses.replace(made, modalities=ended)
  return made.noted(*(f"{path.name}: {note}." for note in notes))


def write_file(path: str | os.PathLike, made: Dataset) -> None:
  """The feature file, whole or not at all."""
  npz.write(path, made)


def _joined(features: Sequence[Features]) -> Modality:
  lengths = [len(x.values) for x in features]
  texts = [x.words for x in features if x.words is not None]
  return Modality(
    np.concatenate([x.values for x in features]),
    np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]),
    np.concatenate([x.mask for x in features]),
    words=np.concatenate(texts) if texts else None,
    times=np.concatenate([x.times for x in features]),
    names=features[0].names,
  )
