"""The card of a model that is handed on: what it is, what it scored, on which data."""

import importlib.metadata
import math
from collections.abc import Mapping
from typing import Any

import jax

import mcr_jax
from mcr_jax import evaluators
from mcr_jax.config import chosen
from mcr_jax.config.plain import plain
from mcr_jax.errors import UserError
from mcr_jax.evaluators import Results

SPLITS = ("train", "valid", "test")
NO_LICENCE = "none stated"


def of(run, facts: Mapping[str, Any], *, licence: str = "", seed: int | None = None):
  """The card of a run, plain values.

  Args:
    run: of `load_run`, from a folder, with the seeds that are handed on.
    facts: of its run.json.
    licence: of the weights.
    seed: the only one of the run's seeds that is handed on; all of them where None.
  """
  system, spec = chosen.of(plain(run.config.model)).card, run.spec
  count = sum(math.prod(x.shape[1:]) for x in jax.tree.leaves(run.variables[0]))
  return {
    "model": run.config.model.name,
    "title": system.title,
    "paper": system.paper,
    "kind": system.kind,
    "task": spec.task,
    "classes": spec.class_names,
    "targets": spec.target_names,
    "unit": spec.unit,
    "modalities": {
      m: {"features": spec.widths[m], "steps": n} for m, n in spec.lengths.items()
    },
    "seeds": run.seeds,
    "checkpoint": run.checkpoint,
    "parameters": count,
    "data": {"digest": run.digest, "samples": spec.samples},
    "scores": {k: x.to_json() for k, x in _scores(run, seed).items()},
    "licence": licence or NO_LICENCE,
    "trained": facts.get("versions", {}),
    "finished": bool(facts.get("finished")),
    "verdict": facts.get("verdict", ()),
    "exported": {
      "mcr_jax": mcr_jax.__version__,
      "jax": jax.__version__,
      "safetensors": importlib.metadata.version("safetensors"),
    },
  }


def text(card: Mapping[str, Any], recipe: Any = None) -> str:
  """A card as lines for a screen.

  Raises:
    UserError: it is none.
  """
  try:
    lines = "\n".join(_lines(card, recipe))
  except Exception as error:  # it may be anybody's
    what = f"{type(error).__name__}: {str(error)[:200]}"
    raise UserError(f"The model card cannot be shown ({what}).") from error
  # Nor may it say anything to the terminal.
  return "".join(x if x.isprintable() or x == "\n" else "?" for x in lines)


def _lines(card: Mapping[str, Any], recipe: Any) -> list[str]:
  sizes = [f"{m} {x['features']} x {x['steps']}" for m, x in card["modalities"].items()]
  versions = lambda of: ", ".join(f"{k} {v}" for k, v in of.items())
  rows = {
    "model": f"{card['title']} ({card['model']}, {card['kind']})",
    "paper": card["paper"],
    "task": card["task"],
    "classes": ", ".join(map(str, card["classes"])),
    "targets": ", ".join(map(str, card["targets"])),
    "features x steps": ", ".join(sizes),
    "seeds": ", ".join(map(str, card["seeds"])),
    "checkpoint": card["checkpoint"],
    "parameters": f"{card['parameters']:,} a seed",
    "data": f"digest {card['data']['digest']}, {card['data']['samples']:,} samples",
    "features by": "a recipe that the file holds" if recipe else "",
    "licence": card["licence"],
    "trained with": versions(card["trained"]),
    "exported with": versions(card["exported"]),
    "state": "" if card["finished"] else "the run had not finished",
  }
  wide = max(map(len, rows))
  lines = [f"{name:{wide}}  {value}" for name, value in rows.items() if value]
  lines += [f"note: {sentence}" for sentence in card["verdict"]]
  for split, found in card["scores"].items():
    lines += ["", evaluators.table(Results.from_json(found), split)]
  return lines


def _scores(run, seed: int | None) -> dict[str, Results]:
  """What evaluating left in the run's folder, of the seeds that are handed on."""
  found = {}
  for split in SPLITS:
    name = evaluators.stem(split, run.checkpoint)
    if not (run.workdir / "eval" / f"{name}.json").is_file():
      continue
    one = evaluators.read(run.workdir, name)
    if seed is None:
      found[split] = one.results
    elif seed in one.results.seeds:
      place = one.results.seeds.index(seed)
      found[split] = run.summarise(one.labels, one.predictions[place : place + 1])
  return found
