"""Where the weights of a recipe are, and their digests: a recipe itself has no path."""

import argparse
import dataclasses
from pathlib import Path

from mcr_jax.errors import UserError
from mcr_jax.extract import egemaps, hub, weights, whisper
from mcr_jax.extract.recipe import MODALITIES, Recipe

# What `--get-models` brings for a kind of a modality.
BROUGHT = {
  ("text", "minilm"): "minilm",
  ("audio", "whisper"): "whisper",
  ("vision", "face"): "face",
  ("vision", "mesh"): "face",
}
OWN = (("text", "bert"), *((m, "hub") for m in MODALITIES))
REMEDIES = (
  "Put NAME.srt, .vtt, .ass or .txt beside a clip, or say what is said by a table's "
  "column 'text' or 'subtitles' or by --transcript; or let speech be recognised: "
  f"{whisper.INSTALL}, then `{weights.COMMAND}`. --text none leaves words out."
)


@dataclasses.dataclass(frozen=True)
class Places:
  """Folders of models of one's own.

  Attributes:
    text, audio, vision: of the modality's model; "" without one.
    asr: what recognises speech where nothing tells what is said: "auto" for the weights
      that were brought, "off", or a folder in the format of CTranslate2.
  """

  text: str = ""
  audio: str = ""
  vision: str = ""
  asr: str = "auto"

  @classmethod
  def of(cls, arguments: argparse.Namespace) -> "Places":
    """What the flags of `add_arguments` say."""
    own = {m: getattr(arguments, f"{m}_model") for m in MODALITIES}
    return cls(**own, asr=arguments.asr)


@dataclasses.dataclass(frozen=True)
class Found:
  """A folder of weights, all there, and one digest for them."""

  folder: Path
  digest: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Flags that name folders."""
  for modality, kinds in (
    ("text", "bert and hub"),
    ("audio", "whisper and hub"),
    ("vision", "hub"),
  ):
    parser.add_argument(
      f"--{modality}-model",
      default="",
      metavar="DIR",
      help=f"folder of the model, where --{modality} is {kinds}",
    )
  parser.add_argument(
    "--asr",
    default="auto",
    metavar="auto|off|DIR",
    help="what hears the words of clips without transcript: whisper tiny.en, nothing, "
    "or a whisper of CTranslate2 in a folder (auto)",
  )


def check_words(what: str, asr: str) -> None:
  """Raises UserError, which begins with `what`, where nothing can hear words."""
  if asr == "off" or not whisper.installed():
    raise UserError(f"{what} {REMEDIES}")


def find(recipe: Recipe, places: Places, *, recognise: bool) -> dict[str, Found]:
  """The weights of every modality that has some, and those of `asr` where needed.

  Raises:
    UserError: weights or a package are not there.
  """
  found = {}
  for modality in recipe.modalities:
    kind, own = getattr(recipe, modality), getattr(places, modality)
    if kind == "egemaps":
      egemaps.check_installed()
    if kind == "whisper":
      whisper.check_installed()
    if kind == "hub":
      hub.check_installed()
    if (modality, kind) in OWN and not own:
      raise UserError(
        f"{modality.capitalize()} by a model of one's own needs its folder: "
        f"--{modality}-model DIR, as save_pretrained leaves it."
      )
    found[modality] = _found(modality, kind, own)
  if recognise and recipe.text != "none":
    found["asr"] = _recogniser(places.asr)
  return {name: x for name, x in found.items() if x is not None}


def _found(modality: str, kind: str, own: str) -> Found | None:
  folder = Path(own).expanduser()
  match modality, kind:
    case _, "hub":
      return Found(folder, hub.label_of(folder, modality))
    case "text", "bert":
      return Found(folder, weights.label_of(folder))
    case "audio", "whisper" if own:
      return _of_whisper(folder)
  name = BROUGHT.get((modality, kind))
  return Found(weights.folder(name), weights.label(name)) if name else None


def _recogniser(asr: str) -> Found:
  check_words("A clip has no transcript.", asr)
  if asr != "auto":
    return _of_whisper(Path(asr).expanduser())
  return Found(weights.folder("whisper"), weights.label("whisper"))


def _of_whisper(folder: Path) -> Found:
  digest = weights.label_of(folder, weights.WHISPER, weights.WHISPER_BESIDE)
  return Found(folder, digest)
