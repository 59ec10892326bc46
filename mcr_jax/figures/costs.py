"""What a run's model would cost with one modality more or less."""

from collections.abc import Sequence

import jax
import numpy as np

from mcr_jax import config as configs
from mcr_jax import flops, models
from mcr_jax.config import chosen
from mcr_jax.contract import Spec
from mcr_jax.errors import UserError
from mcr_jax.figures.sources import Source
from mcr_jax.runs import workspace

FLOPS, PARAMETERS = "multiply-adds a sample", "parameters"


def by_modalities(
  sources: Sequence[Source],
) -> tuple[list[int], dict[str, dict[str, list[float]]]]:
  """(counts of modalities, run -> cost -> a value a count), on the shapes of the run.

  The first 1, 2, ... modalities in the order of the run; NaN where the model takes no
  such number.
  """
  found, most = {}, 0
  for source in sources:
    facts = workspace.facts(source.folder)
    config = configs.saved((source.folder / "config.json").read_text("utf-8"), facts)
    spec = Spec.from_json(facts["shape"])
    most = max(most, len(spec.modalities))
    found[source.label] = [
      _cost(config, _first(spec, count)) for count in range(1, len(spec.modalities) + 1)
    ]
  counts = list(range(1, most + 1))
  systems = {}
  for label, values in found.items():
    values = values + [(np.nan, np.nan)] * (most - len(values))
    flop, size = zip(*values, strict=True)
    systems[label] = {FLOPS: list(flop), PARAMETERS: list(size)}
  return counts, systems


def _first(spec: Spec, count: int) -> Spec:
  names = spec.modalities[:count]
  own = spec.to_json()
  for part in ("lengths", "widths"):
    own[part] = {name: own[part][name] for name in names}
  return Spec.from_json(own)


def _cost(config, spec: Spec) -> tuple[float, float]:
  given = configs.plain(config.model)
  own = {k: v for k, v in given.items() if k not in ("name", "file")}
  kept = {
    k: {m: x for m, x in v.items() if m in spec.modalities}
    if isinstance(v, dict)
    else v
    for k, v in own.items()
  }
  try:
    model = models.build(chosen.of(given), spec, **kept)
    batch = spec.example(1)
    variables = jax.eval_shape(model.init, jax.random.key(0), batch)
    counts = flops.count_model(model, variables, batch)
  except UserError:
    return np.nan, np.nan
  return float(counts.multiply_adds), float(flops.parameters(variables["params"]))
