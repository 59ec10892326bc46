"""A run in one file: what of its folder is packed, and how it becomes a run again.

Packed are the config, what run.json says of data, shapes and versions, the statistics
of the features, the recipe by which these were extracted where the data file had one, a
model card, and the parameters of one checkpoint. No sample is: no id, label, prediction
or feature, and nothing that a model remembers of single samples.

Whoever opens a file trusts nobody: its names and sizes must be those that its config
makes, and code, which a model of one's own is, is not read from anywhere.
"""

import contextlib
import dataclasses
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from mcr_jax import config as configs
from mcr_jax.config.old import FORMAT
from mcr_jax.contract import PER_SAMPLE, Spec
from mcr_jax.data.normalize import Normalizer
from mcr_jax.errors import McrJaxError, UserError
from mcr_jax.runs import inputs, model_file, trees
from mcr_jax.runs import spec as specs

# Of run.json; its other entries say where a run was, and are not handed on.
HANDED_ON = ("versions", "device", "native", "started", "finished")
# Steps times the largest size in the config of a model: tables of positions are made
# before shapes can be compared, and may not take the memory of whoever opens a file.
MOST = 2**28
PARAMS, COLLECTIONS, SCALE = "params/", "collections/", "normalization/"


@dataclasses.dataclass(frozen=True)
class Packed:
  """A run as its file holds it, checked.

  Attributes:
    config: in the fields of this version.
    facts: all that the file says: `run`, `recipe`, `card` and so on.
    spec: of the data that the run accepts.
    normalizer: of its features.
    variables: (params, other collections), a leading seed axis on every array.
    seeds: their numbers.
    checkpoint: which one the variables are.
    digest: of the data that it was trained on.
    chosen: see `Run`.
  """

  config: ConfigDict
  facts: dict[str, Any]
  spec: Spec
  normalizer: Normalizer
  variables: tuple[Any, Any]
  seeds: tuple[int, ...]
  checkpoint: str
  digest: str
  chosen: tuple[bool, ...]


def pack(
  run, facts: Mapping[str, Any], card: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
  """What `model_file.write` takes of a run.

  Args:
    run: of `load_run`, from a folder.
    facts: of its run.json.
    card: of `card.of`.

  Raises:
    UserError: its model is a file of the user's own, or too large to be opened.
  """
  if run.config.model.file:
    raise UserError(
      f"{run.workdir} has a model of your own, {run.config.model.file}, and a model "
      "file holds no code. --format stablehlo hands on what it computes."
    )
  _check_sizes(run.config, run.spec)
  data = {k: x for k, x in facts["data"].items() if k in ("digest", "notes")}
  own = {k: x for k, x in facts.items() if k in HANDED_ON}
  own |= {"format": FORMAT, "data": data, "seeds": list(run.seeds)}
  own |= {"chosen": [bool(one) for one in run.chosen]}
  held = {
    "checkpoint": run.checkpoint,
    "config": configs.plain(run.config),
    "run": own | {"shape": run.spec.to_json()},
    "recipe": facts["data"].get("extract"),
    "card": dict(card),
  }
  params, collections = run.variables
  arrays = {PARAMS + k: x for k, x in trees.flatten(params).items()}
  kept = {k: x for k, x in collections.items() if k != PER_SAMPLE}
  arrays |= {COLLECTIONS + k: x for k, x in trees.flatten(kept).items()}
  arrays |= {SCALE + k: x for k, x in run.normalizer.arrays().items()}
  return held, arrays


def facts(path: str | os.PathLike) -> dict[str, Any]:
  """What a model file says, as `pack` made it, without its arrays.

  Raises:
    UserError: it is no model file, or says something else.
    DamagedCheckpoint: it is not what was written.
  """
  with _of_file(path):
    found = model_file.read(path).facts
    _check(found)
    return found


def config_of(path: str | os.PathLike) -> ConfigDict:
  """The config in a model file."""
  with _of_file(path):
    found = model_file.read(path).facts
    return _config(found)


def unpack(path: str | os.PathLike) -> Packed:
  """The run in a model file.

  Raises:
    UserError: it is no model file, or not one of a run that this version knows.
    DamagedCheckpoint: it is not what was written.
  """
  with _of_file(path):
    found, arrays = model_file.read(path)
    _check(found)
    config, facts = _config(found), found["run"]
    # Nothing is known of single samples here, whatever the number of those.
    spec = dataclasses.replace(Spec.from_json(facts["shape"]), samples=0)
    _check_sizes(config, spec)
    seeds = tuple(facts["seeds"])
    normalizer, variables = _arrays(arrays, config, spec, len(seeds), path)
    return Packed(
      config,
      found,
      spec,
      normalizer,
      variables,
      seeds,
      found["checkpoint"],
      facts["data"]["digest"],
      tuple(facts["chosen"]),
    )


@contextlib.contextmanager
def _of_file(path: str | os.PathLike) -> Iterator[None]:
  """A block in which whatever a file breaks is the file's fault, and names it."""
  try:
    yield
  except McrJaxError as error:
    if str(path) in str(error):
      raise
    raise UserError(f"{path} holds no readable model: {error}") from error
  except OSError:
    raise
  except Exception as error:
    what = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
    raise UserError(f"{path} holds no readable model ({what}).") from error


def _check(found: Mapping[str, Any]) -> None:
  """Raises where what a file says has other types than what `pack` makes."""
  run, data = found["run"], found["run"]["data"]
  texts = (data["digest"], *data["notes"], *run.get("versions", {}).values())
  texts += str(run.get("native", "")), run.get("started", ""), found["checkpoint"]
  chosen = run["chosen"]
  seeds, kinds = run["seeds"], (found["card"], found["config"], run.get("device", {}))
  right = (
    all(isinstance(text, str) for text in texts)
    and all(isinstance(kind, dict) for kind in kinds)
    and isinstance(seeds, list)
    and all(type(seed) is int for seed in seeds)
    and 0 < len(set(seeds)) == len(seeds)
    and isinstance(chosen, list)
    and len(chosen) in (0, len(seeds))
    and all(type(one) is bool for one in chosen)
    and found["checkpoint"] in ("best", "last")
  )
  if not right:
    raise UserError("it says other things than an exported run does.")
  specs.check(Spec.from_json(run["shape"]))


def _check_sizes(config: ConfigDict, spec: Spec) -> None:
  sizes = [1]
  for value in configs.flatten(config.model).values():
    sizes += [x for x in np.ravel(value).tolist() if type(x) is int]
  longest = max(spec.turns, *spec.lengths.values())
  if longest * max(sizes) > MOST:
    raise UserError(
      f"{longest:,} steps of a model of size {max(sizes):,} are too many."
    )


def _config(found: Mapping[str, Any]) -> ConfigDict:
  if found["config"]["model"]["file"]:
    raise UserError("its config names a file with code, which no model file does.")
  return configs.saved(json.dumps(found["config"]), found["run"])


def _arrays(arrays, config: ConfigDict, spec: Spec, seeds: int, path):
  """The normaliser, and the variables in the containers of the config's model."""
  part = lambda start: {
    k.removeprefix(start): x for k, x in arrays.items() if k.startswith(start)
  }
  normalizer = Normalizer.of_arrays(part(SCALE), str(path))
  for name, width in spec.widths.items():
    for statistic in (normalizer.mean, normalizer.std):
      if statistic[name].shape != (width,) or statistic[name].dtype.kind != "f":
        raise UserError(f"statistics of {name} that are not of {width} features.")
  params, collections = _template(config, spec, seeds)
  memory = collections.pop(PER_SAMPLE, None)
  wanted = {PARAMS[:-1]: params, COLLECTIONS[:-1]: collections}
  own = {k: x for k, x in arrays.items() if not k.startswith(SCALE)}
  found = trees.into(wanted, own, Path(path))
  if memory is not None:
    empty = lambda leaf: np.zeros(leaf.shape, leaf.dtype)
    found[COLLECTIONS[:-1]][PER_SAMPLE] = jax.tree.map(empty, memory)
  return normalizer, (found[PARAMS[:-1]], found[COLLECTIONS[:-1]])


def _template(config: ConfigDict, spec: Spec, seeds: int):
  """(params, other collections) of a config's model as shapes, with a seed axis."""
  model = inputs.build_model(config, spec)
  init = lambda batch: model.init(jax.random.key(0), batch, train=False)
  shapes = dict(jax.eval_shape(init, spec.example()))
  wide = lambda leaf: jax.ShapeDtypeStruct((seeds, *leaf.shape), leaf.dtype)
  shapes = jax.tree.map(wide, shapes)
  return shapes.pop("params"), shapes
