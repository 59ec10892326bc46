"""The parameters that the model of a config has, by their shapes."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from mcr_jax.contract import Spec
from mcr_jax.errors import UserError
from mcr_jax.runs import inputs


def check(
  variables: Any, config: ConfigDict, spec: Spec, seeds: Sequence[int], workdir: Path
) -> None:
  """Raises UserError where the variables are not those of the config's model."""
  wanted = of_model(config, spec)
  wanted = {path: (len(seeds), *size) for path, size in wanted.items()}
  found = _shapes(variables)
  differing = [
    f"{path}: {found.get(path, 'absent')} saved, {wanted.get(path, 'absent')} expected"
    for path in sorted({*wanted, *found})
    if wanted.get(path) != found.get(path)
  ]
  if differing:
    more = f"; and {len(differing) - 3} more" if len(differing) > 3 else ""
    raise UserError(
      f"{workdir} has a checkpoint of another model: {'; '.join(differing[:3])}{more}."
    )


def of_model(config: ConfigDict, spec: Spec) -> dict[str, tuple[int, ...]]:
  """The shape of every variable of one seed of a run, by path."""
  model = inputs.build_model(config, spec)
  init = lambda batch: model.init(jax.random.key(0), batch, train=False)
  variables = jax.eval_shape(init, spec.example())
  params = variables.pop("params")
  return _shapes((params, variables))


def tied(config: ConfigDict, spec: Spec, longer: Mapping[str, int]) -> tuple[str, ...]:
  """The modalities of `longer` that a trained model cannot read more steps of.

  A parameter a step, as MCR has them, is for the steps that were trained; of a model
  whose parameters are the same at any length, nothing is.

  Args:
    config: of the run.
    spec: of the run.
    longer: modality -> more steps than the spec has.
  """
  own, found = of_model(config, spec), []
  for name, length in longer.items():
    try:
      same = of_model(config, spec.with_lengths({name: length})) == own
    except UserError:
      same = False
    if not same:
      found.append(name)
  return tuple(found)


def _shapes(variables) -> dict[str, tuple[int, ...]]:
  """The shape of every array of (params, other collections), by path."""
  leaves = jax.tree_util.tree_leaves_with_path(variables)
  return {jax.tree_util.keystr(path[1:]): leaf.shape for path, leaf in leaves}
