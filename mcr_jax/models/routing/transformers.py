"""Many causal transformers side by side, of which only the last step is read.

With LN for a layer norm, over the layers,

  z <- z + MHA(LN(z), LN(y)), then z <- z + W relu(V LN'(z)), and a last LN,

where y is what is read: one sequence that stays as it was, or z itself. Step i reads
real steps up to i + offset. Transformers of one shape are one program whose products
are batched, layers are a loop, and the last layer has one query.

Axes: G transformers, L layers, B samples, Q and K steps, D features.
"""

import functools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Integer

from mcr_jax.layers.transformer import split_heads
from mcr_jax.ops import pooling
from mcr_jax.ops.broadcast import broadcast_left
from mcr_jax.ops.masking import masked_softmax
from mcr_jax.ops.norm import standardize

Params = Mapping[str, Any]


class Job(NamedTuple):
  """What one transformer reads: x (B, Q, D), and y (B, K, D), or itself if None."""

  x: Float[Array, "B Q D"]
  mask: Bool[Array, "B Q"]
  y: Float[Array, "B K D"] | None = None
  y_mask: Bool[Array, "B K"] | None = None
  offset: int = 0


class Transformers(nn.Module):
  """As many as there are jobs; parameters have the axis G in front.

  Those of all layers but the last one are stacked, (G, L - 1).

  Attributes:
    heads: of every attention.
    layers: of a transformer.
    remat: whether a layer is computed again in the backward pass.
    dtype: of the products.
  """

  heads: int
  layers: int
  remat: bool = False
  dtype: jnp.dtype | None = None

  @nn.compact
  def __call__(self, jobs: Sequence[Job]) -> list[Float[Array, "B D"]]:
    """The last real step of every job; what it is without one, the caller replaces."""
    width = jobs[0].x.shape[-1]
    split_heads(width, self.heads)
    count, params = len(jobs), {}
    if self.layers > 1:
      front = (count, self.layers - 1)
      params["layers"] = self.param("layers", _draw, front, width)
    params["last"] = self.param("last", _draw, (count,), width)
    params["norm"] = self.param("norm", lambda key: _norm((count, width)))
    params = jax.tree.map(lambda x: x.astype(self.dtype) if self.dtype else x, params)
    shape = lambda job: (job.x.shape, job.y is None or job.y.shape, job.offset)
    groups: dict[Any, list[int]] = {}
    for i, job in enumerate(jobs):
      groups.setdefault(shape(job), []).append(i)
    found: list = [None] * len(jobs)
    for (_, _, offset), rows in groups.items():
      run = functools.partial(_run, heads=self.heads, offset=offset, remat=self.remat)
      # Taking all rows would copy what is as large as all parameters.
      own = lambda x, at=rows: x if len(at) == len(x) else jnp.stack([x[i] for i in at])
      arrays = [tuple(jobs[i][:4]) for i in rows]
      x, mask, y, y_mask = jax.tree.map(lambda *parts: jnp.stack(parts), *arrays)
      states = jax.vmap(run)(jax.tree.map(own, params), x, mask, y, y_mask)
      for i, state in zip(rows, states, strict=True):
        found[i] = state
    return found


def _norm(shape):
  make = lambda fill: jnp.full(shape, fill, jnp.float32)
  return {"scale": make(1.0), "bias": make(0.0)}


def _draw(key, front, width):
  """The parameters of a layer, as nested dicts with the axes `front` before them."""
  lecun = nn.initializers.lecun_normal(batch_axis=range(len(front)))

  def dense(key, rows, columns):
    kernel = lecun(key, (*front, rows, columns), jnp.float32)
    return {"kernel": kernel, "bias": jnp.zeros((*front, columns), jnp.float32)}

  keys = jax.random.split(key, 4)
  return {
    "attention_norm": _norm((*front, width)),
    "project": dense(keys[0], width, 3 * width),
    "merge": dense(keys[1], width, width),
    "feed_norm": _norm((*front, width)),
    "hidden": dense(keys[2], width, 4 * width),
    "output": dense(keys[3], 4 * width, width),
  }


def _run(
  params: Params,
  x: Float[Array, "B Q D"],
  mask: Bool[Array, "B Q"],
  y: Float[Array, "B K D"] | None,
  y_mask: Bool[Array, "B K"] | None,
  *,
  heads: int,
  offset: int,
  remat: bool,
) -> Float[Array, "B D"]:
  """One transformer."""
  layer = functools.partial(_layer, heads=heads, offset=offset)
  layer = jax.checkpoint(layer) if remat else layer
  source = None if y is None else standardize(y)
  source_mask = mask if y is None else y_mask
  places = jnp.arange(x.shape[1])[None]

  def step(x, params):
    return layer(params, x, source, source_mask, places), None

  if "layers" in params:
    x, _ = jax.lax.scan(step, x, params["layers"])
  known = standardize(x) if source is None else source
  query = pooling.last(x, mask)[:, None]
  last = jnp.where(mask, places, -1).max(-1, keepdims=True)
  z = layer(params["last"], query, known, source_mask, last)
  return _scaled(params["norm"], standardize(z))[:, 0]


def _layer(
  params: Params,
  x: Float[Array, "B Q D"],
  known: Float[Array, "B K D"] | None,
  mask: Bool[Array, "B K"],
  places: Integer[Array, "#B Q"],
  *,
  heads: int,
  offset: int,
) -> Float[Array, "B Q D"]:
  """One layer; `known` is standardized, and x itself where it is None."""
  width = x.shape[-1]
  query = _scaled(params["attention_norm"], standardize(x))
  key = query if known is None else _scaled(params["attention_norm"], known)
  kernel, bias = params["project"]["kernel"], params["project"]["bias"]
  project = lambda x, at: x @ kernel[:, at] + bias[at][None, None]
  parts = lambda x: x.reshape(*x.shape[:2], -1, heads, width // heads)
  if known is None:
    q, k, v = jnp.moveaxis(parts(project(query, slice(None))), 2, 0)
  else:
    q = parts(project(query, slice(width)))[:, :, 0]
    k, v = jnp.moveaxis(parts(project(key, slice(width, None))), 2, 0)
  steps = jnp.arange(k.shape[1])[None, None]
  seen = (steps <= places[..., None] + offset) & mask[:, None]
  scores = jnp.einsum("bqhd,bkhd->bhqk", q, k) * (width // heads) ** -0.5
  weights = masked_softmax(scores, seen[:, None]).astype(v.dtype)
  read = jnp.einsum("bhqk,bkhd->bqhd", weights, v).reshape(x.shape)
  read = _dense(params["merge"], read)
  # No bias stands in for what nobody said.
  x = x + jnp.where(seen.any(-1)[..., None], read, 0)
  hidden = _dense(params["hidden"], _scaled(params["feed_norm"], standardize(x)))
  return x + _dense(params["output"], nn.relu(hidden))


def _scaled(params: Params, x: Float[Array, "B T D"]) -> Float[Array, "B T D"]:
  scale, bias = (broadcast_left(params[name], x) for name in ("scale", "bias"))
  return x * scale + bias


def _dense(params: Params, x: Float[Array, "B T D"]) -> Float[Array, "B T E"]:
  return x @ params["kernel"] + params["bias"][None, None]
