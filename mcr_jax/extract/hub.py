"""Models that `transformers` computes, from a folder: opened safely, not downloaded.

A folder is what `save_pretrained` leaves. Its weights are safetensors, which are
numbers and no program; nothing is unpickled. `transformers` is told neither the folder
nor a name: it gets a config of a kind that stands in `CLASSES`, without what asks for
code of others, and the weights that were read here.
"""

import importlib.util
import json
import os
from pathlib import Path

from mcr_jax.errors import UserError
from mcr_jax.extract import weights

INSTALL = 'pip install "mcr_jax[hub]"'
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
PREPROCESSOR = "preprocessor_config.json"
# Modality -> type of model -> class of transformers, and what its config is part of.
CLASSES = {
  "text": {
    "bert": ("BertModel", "BertConfig"),
    "roberta": ("RobertaModel", "RobertaConfig"),
    "xlm-roberta": ("XLMRobertaModel", "XLMRobertaConfig"),
  },
  "audio": {
    "wav2vec2": ("Wav2Vec2Model", "Wav2Vec2Config"),
    "hubert": ("HubertModel", "HubertConfig"),
  },
  "vision": {
    "clip": ("CLIPVisionModel", "CLIPVisionConfig"),
    "clip_vision_model": ("CLIPVisionModel", "CLIPVisionConfig"),
  },
}
# Names of code, of other weights, and of ways to compute that would be fetched.
REFUSED = ("quantization_config", "auto_map", "custom_pipelines")
LEFT_OUT = ("attn_implementation", "_attn_implementation", "use_kernels")
# What training alone uses, or nothing here.
UNUSED = ("masked_spec_embed", "pooler.", "position_ids")


def check_installed() -> None:
  """Raises UserError where a package is not there."""
  for name in ("torch", "transformers", "safetensors"):
    if importlib.util.find_spec(name) is None:
      raise UserError(f"Models of transformers need {name}: {INSTALL}.")


def label_of(folder: Path, modality: str) -> str:
  """One digest for all files of a model that are read.

  Raises:
    UserError: there is no such folder, it lacks a file, or it is no model of the kind.
  """
  weights.require(folder, ("config.json",))
  config_of(folder, modality)
  index = [INDEX] if (folder / INDEX).is_file() else []
  names = ["config.json", *index, *_files(folder)]
  names += ["tokenizer.json"] if modality == "text" else []
  beside = () if modality == "text" else (PREPROCESSOR,)
  return weights.label_of(folder, names, beside)


def config_of(folder: Path, modality: str) -> dict:
  """A folder's config.json, of a model that is known here."""
  path = folder / "config.json"
  config = _json(path)
  kind = config.get("model_type")
  known = CLASSES[modality]
  if not isinstance(kind, str) or kind not in known:
    raise UserError(
      f"{path}: a model of type {kind!r}; of {modality}, {', '.join(known)} are known."
    )
  if wrong := [name for name in REFUSED if config.get(name)]:
    raise UserError(
      f"{path}: {', '.join(wrong)} ask for code or weights of others, which is refused."
    )
  return config


def preprocessor_of(folder: Path) -> dict:
  """A folder's preprocessor_config.json, or nothing."""
  path = folder / PREPROCESSOR
  return _json(path) if path.is_file() else {}


def load(folder: Path, modality: str):
  """The model of a folder, for inference in float32 on the CPU.

  Raises:
    UserError: the weights are damaged, or are not those that the config describes.
  """
  check_installed()
  config = config_of(folder, modality)
  # Nothing below asks for a network; this is for what a later version may do.
  os.environ["HF_HUB_OFFLINE"] = "1"
  import torch
  import transformers

  transformers.logging.set_verbosity_error()
  transformers.logging.disable_progress_bar()
  name, config_name = CLASSES[modality][config["model_type"]]
  if config["model_type"] == "clip":
    config = config.get("vision_config") or {}
  config = {k: v for k, v in config.items() if k not in LEFT_OUT}
  try:
    described = getattr(transformers, config_name).from_dict(config)
    model, told = getattr(transformers, name).from_pretrained(
      None,
      config=described,
      state_dict=_tensors(folder),
      dtype=torch.float32,
      attn_implementation="sdpa",
      use_safetensors=True,
      trust_remote_code=False,
      local_files_only=True,
      ignore_mismatched_sizes=True,  # told below
      output_loading_info=True,
    )
  except UserError:
    raise
  except Exception as error:  # a config may say anything
    text = str(error).splitlines()[0][:200] if str(error) else ""
    raise UserError(
      f"{folder} cannot be made a model ({type(error).__name__}: {text})."
    ) from None
  wrong = [*told["missing_keys"], *(x[0] for x in told["mismatched_keys"])]
  wrong = sorted(x for x in wrong if not any(unused in x for unused in UNUSED))
  if wrong:
    raise UserError(
      f"{folder}: {len(wrong):,} weights that its config wants are not there or of "
      f"other shapes, the first is {wrong[0]}."
    )
  return model.eval()


def _tensors(folder: Path) -> dict:
  from safetensors import SafetensorError
  from safetensors.torch import load_file

  found = {}
  for name in _files(folder):
    try:
      found |= load_file(folder / name)
    except (SafetensorError, OSError) as error:
      raise UserError(f"{folder / name} cannot be read: {error}.") from None
  return found


def _files(folder: Path) -> list[str]:
  """Names of the files of weights, which lie in the folder itself."""
  if not (folder / INDEX).is_file():
    if not (folder / WEIGHTS).is_file():
      raise UserError(
        f"{folder} has no {WEIGHTS}. Other formats may hold programs and are not "
        "opened: save the model with save_pretrained(DIR, safe_serialization=True)."
      )
    return [WEIGHTS]
  parts = _json(folder / INDEX).get("weight_map")
  names = sorted(set(parts.values())) if isinstance(parts, dict) else []
  for name in names or [""]:
    right = isinstance(name, str) and name.endswith(".safetensors")
    if not right or Path(name).name != name:
      raise UserError(f"{folder / INDEX}: {name!r} is no file of weights beside it.")
  return names


def _json(path: Path) -> dict:
  try:
    found = json.loads(path.read_text(encoding="utf-8"))
  except (ValueError, RecursionError, OSError) as error:
    raise UserError(f"{path} cannot be read: {error}.") from None
  if not isinstance(found, dict):
    raise UserError(f"{path} is no object of JSON.")
  return found
