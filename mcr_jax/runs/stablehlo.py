"""A run as a StableHLO program: features in, predictions out, with JAX alone.

The program is compiled for whatever it runs on. Weights, statistics and lengths are in
it as constants; the number of samples is open.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax import export
from ml_collections import ConfigDict

from mcr_jax import config as configs
from mcr_jax.contract import PER_SAMPLE, Batch
from mcr_jax.data.normalize import standard_scores
from mcr_jax.errors import McrJaxError, UserError
from mcr_jax.ops.attention import IMPLEMENTATIONS
from mcr_jax.ops.classes import mask_classes
from mcr_jax.runs import inputs

PLATFORMS = ("cpu", "cuda", "tpu")
# What every platform has, where native kernels and blocks are of one.
ATTENTION = "dense"


def program(run) -> export.Exported:
  """(x, mask) or, of dialogues, (x, mask, more) -> predictions (S, B, *outputs).

  Args of the program, for any number B of samples:
    x: modality -> (B, T, D) float32, as the feature file has them; of dialogues (B, U,
      D). What stands on padding is not read.
    mask: modality -> (B, T) or (B, U) bool, True on real steps.
    more: `turn` (B, U) bool, True on turns that exist; `speaker` (B, U) int32.

  Raises:
    UserError: the model cannot compute a batch of any size.
  """
  model = inputs.build_model(_portable(run.config), run.spec)
  params, collections = run.variables
  # Of what is known of single samples nothing is read.
  held = {k: x for k, x in collections.items() if k != PER_SAMPLE}
  held |= {
    k: jax.tree.map(lambda leaf: jnp.zeros_like(leaf[:, :1]), x)
    for k, x in collections.items()
    if k == PER_SAMPLE
  }
  scale = {
    m: tuple(x[m].astype("float32") for x in (run.normalizer.mean, run.normalizer.std))
    for m in run.spec.modalities
  }

  def predict(x, mask, more):
    x = {m: standard_scores(x[m], mask[m], *scale[m], run.normalizer.clip) for m in x}
    units = next(iter(mask.values())).shape
    units = units if run.spec.unit == "dialogue" else units[:1]
    index = jnp.full(units, -1, jnp.int32)
    batch = Batch(x, mask, jnp.ones(units), None, {**more, "index": index})

    def one(variables):
      params, held = variables
      output = model.apply({"params": params, **held}, batch, train=False)
      classes = run.spec.classes
      found = output.predictions
      return mask_classes(found, classes) if classes else found

    return jax.lax.map(one, (params, held))

  x, mask, more = _shapes(run.spec)
  whole = predict if more else lambda x, mask: predict(x, mask, {})
  try:
    return export.export(jax.jit(whole), platforms=PLATFORMS)(
      x, mask, *([more] if more else [])
    )
  except McrJaxError:
    raise
  except Exception as error:  # whatever a model of the user's own does with a shape
    what = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
    raise UserError(
      f"{model.card.title} cannot be exported: it does not compute a batch of any size "
      f"({what})."
    ) from error


def card(run, exported: export.Exported) -> dict[str, Any]:
  """What a program takes and gives, in words for its card."""
  x, mask, more = _shapes(run.spec)
  say = lambda tree: {k: f"{s.dtype} {_axes(s.shape)}" for k, s in tree.items()}
  (found,) = exported.out_avals
  return {
    "inputs": {"x": say(x), "mask": say(mask)} | ({"more": say(more)} if more else {}),
    "output": f"{found.dtype} {_axes(found.shape)}: seeds, samples, ...",
    "platforms": list(exported.platforms),
    "calling_convention": exported.calling_convention_version,
  }


def _axes(shape: tuple) -> str:
  return f"({', '.join(map(str, shape))})"


def _shapes(spec) -> tuple[Mapping, Mapping, Mapping]:
  """The inputs as shapes with an open first axis."""
  (samples,) = export.symbolic_shape("samples")
  example = spec.example()
  more = {k: x for k, x in example.more.items() if k != "index"}
  wide = lambda leaf: jax.ShapeDtypeStruct((samples, *leaf.shape[1:]), leaf.dtype)
  return jax.tree.map(wide, (dict(example.x), dict(example.mask), more))


def _portable(config: ConfigDict) -> ConfigDict:
  """The config with an attention that every platform has."""
  given = configs.plain(config)
  if given["model"].get("attention") in IMPLEMENTATIONS:
    given["model"]["attention"] = ATTENTION
  return configs.complete(given)
