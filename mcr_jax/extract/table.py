"""Which clips there are, and what is known of each: a folder, and a table beside it.

Columns of the table: `file` or `id` (or MMSA's `video_id` and `clip_id`, of
`Raw/VIDEO/CLIP`), `label`, and optionally `split` (or `mode`), `text`, `subtitles`,
`start` and `end` in seconds, `speaker`, `video_id`. Without a split, videos are divided
by a hash of their name, 70 / 10 / 20, and nobody speaks in two parts.
"""

import csv
import dataclasses
import hashlib
import io
import math
from collections.abc import Sequence
from pathlib import Path

from mcr_jax.errors import UserError
from mcr_jax.extract import transcript
from mcr_jax.extract.transcript import Cue

MEDIA = (
  *(".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".flv", ".mpg", ".mpeg", ".ts"),
  *(".3gp", ".wav", ".mp3", ".m4a", ".flac", ".ogg", ".aac", ".amr"),
)
COLUMNS = (
  *("id", "file", "label", "split", "text", "subtitles", "start", "end"),
  *("speaker", "video_id", "clip_id", "mode"),
)
SHOWN = 3


@dataclasses.dataclass(frozen=True)
class Job:
  """A clip, or a part of one.

  Attributes:
    id: of the sample.
    file: of the clip.
    cues: what is said; None where nothing tells.
    label: as the table has it, None without one.
    split: as the table has it, "" without one.
    start, end: seconds; an `end` of 0 is that of the clip.
    video, speaker: who and where, "" where nothing tells.
  """

  id: str
  file: Path
  cues: tuple[Cue, ...] | None
  label: str | None = None
  split: str = ""
  start: float = 0.0
  end: float = 0.0
  video: str = ""
  speaker: str = ""


def jobs(
  folder: Path, table: Path | None, *, words: bool = True
) -> tuple[list[Job], list[str]]:
  """All jobs of a folder, in order, and notes on what is left out.

  Args:
    folder: of clips.
    table: of their labels, if there is one.
    words: whether what is said is wanted; else no transcript is read.
  Raises:
    UserError: rows without a file, ids that occur twice, or cells that are wrong, all
      of a kind in one message.
  """
  folder = Path(folder)
  if not folder.is_dir():
    raise UserError(f"{folder} is no folder; it holds the clips.")
  clips = sorted(
    x for x in folder.rglob("*") if x.suffix.lower() in MEDIA and x.is_file()
  )
  if table is None:
    found = [
      Job(
        x.relative_to(folder).with_suffix("").as_posix(),
        x,
        transcript.beside(x) if words else None,
      )
      for x in clips
    ]
    notes = []
  else:
    rows, notes = _rows(Path(table))
    found = _of_rows(folder, Path(table), rows, clips, words)
    rest = set(clips) - {job.file for job in found}
    if rest:
      some = ", ".join(str(x.relative_to(folder)) for x in sorted(rest)[:SHOWN])
      notes.append(f"{len(rest):,} clips are in no row of {table}: {some}.")
  if not found:
    raise UserError(f"{folder} holds no clip: {', '.join(MEDIA)}.")
  _unique([job.id for job in found], str(table or folder))
  return found, notes


def splits(found: Sequence[Job]) -> tuple[list[str], str]:
  """The split of every job, and a note where it was drawn.

  Raises:
    UserError: some have one and some have not.
  """
  given = [job.split for job in found]
  if all(given):
    return given, ""
  if any(given):
    raise UserError(
      f"{given.count(''):,} of {len(given):,} rows have no split, the first is "
      f"{found[given.index('')].id!r}; all have one, or none."
    )
  what = "speaker" if all(job.speaker for job in found) else "video"
  keys = [(job.speaker if what == "speaker" else job.video) or job.id for job in found]
  order = sorted(set(keys), key=lambda x: hashlib.sha256(x.encode()).digest())
  # One in each where there are three; before there is a test, there is something to
  # learn, and something to choose by.
  test = max(1, round(0.2 * len(order))) if len(order) > 2 else 0
  valid = max(1, round(0.1 * len(order))) if len(order) > 1 else 0
  kinds = ["test"] * test + ["valid"] * valid
  names = dict(zip(order, kinds, strict=False))
  drawn = [names.get(key, "train") for key in keys]
  note = f"No split is given: by a hash of the {what}, "
  if len(order) > 2:
    return drawn, f"{note}about 70 / 10 / 20, no {what} in two."
  missing = "no test" if valid else "neither valid nor test"
  return drawn, f"{note}and {len(order)} of them leaves {missing}."


def _rows(table: Path) -> tuple[list[dict], list[str]]:
  try:
    text = table.read_bytes().decode("utf-8-sig")
  except FileNotFoundError:
    raise UserError(f"{table}: there is no such file.") from None
  except UnicodeDecodeError as error:
    raise UserError(f"{table} is not UTF-8 (byte {error.start}); save it so.") from None
  head = text.split("\n", 1)[0]
  sign = max(",;\t", key=head.count)
  reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=sign, strict=True)
  try:
    rows = list(reader)
  except csv.Error as error:
    raise UserError(f"{table}, line {reader.line_num}: {error}.") from None
  names = [str(x).strip().lower() for x in reader.fieldnames or ()]
  if len(set(names)) < len(names):
    raise UserError(f"{table} has two columns of one name: {', '.join(names)}.")
  if not {"id", "file"} & set(names) and not {"video_id", "clip_id"} <= set(names):
    raise UserError(
      f"{table} has the columns {', '.join(names)}; it needs id or file (or video_id "
      "and clip_id)."
    )
  clean = []
  for number, row in enumerate(rows, 2):
    if None in row or None in row.values():
      raise UserError(f"{table}, row {number}: it has not {len(names)} cells.")
    values = [x.strip() for x in row.values()]
    clean.append(dict(zip(names, values, strict=True)) | {"row": number})
  unknown = [name for name in names if name not in COLUMNS]
  notes = [f"{table}: not read are the columns {', '.join(unknown)}."] * bool(unknown)
  return clean, notes


def _of_rows(folder, table, rows, clips, words) -> list[Job]:
  by_name = {}
  # What names more counts more: a whole path is of one clip, whoever shares its end.
  for keys in (
    lambda x: {x.as_posix()},
    lambda x: {x.with_suffix("").as_posix()},
    lambda x: {x.name, x.stem},
  ):
    some = {}
    for clip in clips:
      for key in keys(clip.relative_to(folder)):
        some.setdefault(key, []).append(clip)
    by_name = some | by_name
  found, wrong = [], []
  for row in rows:
    try:
      found.append(_job(folder, table, row, by_name, words))
    except UserError as error:
      wrong.append(f"row {row['row']}: {error}")
  if wrong:
    more = f" And {len(wrong) - SHOWN:,} more." * (len(wrong) > SHOWN)
    raise UserError(f"{table}: {' '.join(wrong[:SHOWN])}{more}")
  return found


def _job(folder, table, row, by_name, words) -> Job:
  get = lambda name: row.get(name, "")
  video, clip = get("video_id"), get("clip_id")
  name = get("file") or get("id")
  own = get("id") or _without_suffix(name)
  if not name:
    own = f"{video}$_${clip}"
    name = next(
      (x for x in (f"Raw/{video}/{clip}", f"{video}/{clip}") if x in by_name),
      f"Raw/{video}/{clip}",
    )
  name = name.replace("\\", "/")
  matches = by_name.get(name, [])
  if len(matches) != 1:
    some = ", ".join(str(x.relative_to(folder)) for x in matches[:SHOWN])
    what = f"{len(matches)} clips are {name!r} ({some})" if matches else None
    raise UserError(f"{what or f'there is no clip {name!r} in {folder}'}.")
  start, end = _seconds("start", get("start")), _seconds("end", get("end"))
  if end and end <= start:
    raise UserError(f"it ends at {end:g} s, before it starts at {start:g} s.")
  if not words:
    cues = None
  elif get("subtitles"):
    cues = transcript.read(_subtitles(get("subtitles"), table, folder))
  elif "text" in row:
    cues = transcript.of_text(get("text"))
  else:
    cues = transcript.beside(matches[0])
  return Job(
    own,
    matches[0],
    cues,
    get("label") if "label" in row else None,
    get("split") or get("mode"),
    start,
    end,
    video or str(matches[0].relative_to(folder)),
    get("speaker"),
  )


def _subtitles(name: str, table: Path, folder: Path) -> Path:
  """The file that a row names: a table from elsewhere leads to no other folder."""
  file = (table.parent / name.replace("\\", "/")).resolve()
  if not any(file.is_relative_to(x.resolve()) for x in (table.parent, folder)):
    raise UserError(
      f"subtitles are {name!r}, {file}; they lie in the folder of the table or in "
      f"{folder}."
    )
  return file


def _without_suffix(name: str) -> str:
  """A name of a clip without what says its kind; other dots are part of it."""
  stem, dot, suffix = name.rpartition(".")
  return stem if f"{dot}{suffix}".lower() in MEDIA else name


def _seconds(name: str, text: str) -> float:
  try:
    value = float(text or 0)
  except ValueError:
    value = math.nan
  if not (math.isfinite(value) and value >= 0):
    raise UserError(f"{name} is {text!r}; it is seconds, such as 12.5.")
  return value


def _unique(ids: Sequence[str], source: str) -> None:
  twice = (
    sorted({x for x in ids if ids.count(x) > 1}) if len(set(ids)) < len(ids) else []
  )
  if twice:
    raise UserError(
      f"{source}: {len(twice):,} ids occur more than once: {', '.join(twice[:SHOWN])}."
    )
