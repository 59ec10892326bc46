"""CMU, the cross-mutual attention reinforcement unit of MCR.

With Q = LN(Z_t) W_Q, K_s = LN(Z_s) W_Ks and V_s = LN(Z_s) W_Vs of a target t and its
sources s, and F the feed-forward layer with its skip:

  Z_ta = F(LN(Z_t) + sum_s Z_s->t)                                         Eq. 2
  alpha = softmax([Z_s1, Z_s2] 1), a weight of every source step           Eq. 3
  Z_s->t = softmax(E_s + alpha_s (E_r C_rs + b_s)) V_s                     Eqs. 4-5
  E_s = Q K_s' / sqrt(d)                                                   Eq. 1

where r is the other source; of several, all E_r C_rs are added up. C_rs maps the steps
of r to those of s, so it commutes with the query, and the exchange is attention with
mixed keys and a bias on the key side:

  E_s + alpha_s (E_r C_rs + b_s) = Q (K_s + alpha_s C_rs' K_r)' / sqrt(d) + alpha_s b_s

which never forms a matrix of scores. The literal order is cheaper where the target has
fewer steps than a head has features, and is kept for that and as a reference.

Deviation: the exchange convolution, whose kernel the paper leaves open, has kernel 1
and so is the matrix C; the softmax of Eq. 3 runs over real steps alone.
"""

from typing import NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from flax.linen.initializers import lecun_normal, zeros
from jaxtyping import Array, Bool, Float

from mcr_jax.contract import Intermediates
from mcr_jax.layers.dropout import Dropout
from mcr_jax.layers.siblings import filled
from mcr_jax.layers.stream import Stream, Streams, concatenate, split
from mcr_jax.models.mcr.settings import Settings
from mcr_jax.ops.attention import attend, attention_weights
from mcr_jax.ops.broadcast import broadcast_left
from mcr_jax.ops.dropout import Dropout as DropoutDecisions
from mcr_jax.ops.masking import keep, masked_softmax
from mcr_jax.ops.scores import read_scores


class Source(NamedTuple):
  """What a target reads of one source s.

  Attributes:
    key, value: K_s and V_s, (B, K, H, D / H), zero on steps that are not real.
    alpha: (B, K), the selective weights of its steps.
    mask: (B, K), True on real steps.
    exchange: C_rs (T_r, T_s) of every other source r; empty without mutual attention.
    bias: alpha_s b_s (B, K), None without mutual attention.
  """

  key: Float[Array, "B K H D"]
  value: Float[Array, "B K H D"]
  alpha: Float[Array, "B K"]
  mask: Array
  exchange: dict[str, Float[Array, "R K"]]
  bias: Float[Array, "B K"] | None


class CMU(nn.Module):
  """Each source modality reinforces the target, with their scores exchanged."""

  settings: Settings

  @nn.compact
  def __call__(
    self, target: Stream, streams: Streams, *, train: bool
  ) -> tuple[Float[Array, "B T D"], Intermediates]:
    """Returns `Z_ta` of a target and the streams of its sources, in order."""
    normed = target.norm("norm_target")
    query = self.settings.project("query")(normed)
    sources = self._sources(streams)
    dropout = Dropout(self.settings.attention_dropout, name="attention_dropout")
    total, intermediates = normed, {}
    for s, source in sources.items():
      drop = dropout.decisions(train=train)
      z, weights = self._read(query, target.mask, s, sources, drop, train)
      total = total + z.reshape(total.shape)
      intermediates[f"alpha_{s}"] = source.alpha
      if weights is not None:
        intermediates[f"attention_{s}"] = weights
    z = self.settings.feed_forward()(total, train=train)  # Eq. 2
    return keep(z, target.mask), intermediates

  def _sources(self, streams: Streams) -> dict[str, Source]:
    settings, alpha, sources = self.settings, selective_weights(streams), {}
    for s, stream in streams.items():
      normed, real = stream.norm(f"norm_{s}"), stream.mask[..., None, None]
      key = jnp.where(real, settings.project(f"key_{s}")(normed), 0)
      value = jnp.where(real, settings.project(f"value_{s}")(normed), 0)
      exchange, bias = {}, None
      if settings.mutual_attention and len(streams) > 1:
        exchange, bias = self._exchange(s, streams, alpha[s])
      sources[s] = Source(key, value, alpha[s], stream.mask, exchange, bias)
    return sources

  def _exchange(
    self, s: str, streams: Streams, alpha: Float[Array, "B K"]
  ) -> tuple[dict[str, Float[Array, "_ K"]], Float[Array, "B K"]]:
    """C_rs of every other source r, and alpha_s b_s."""
    lengths, others = self.settings.spec.lengths, [r for r in streams if r != s]
    steps = {m: stream.mask.shape[1] for m, stream in streams.items()}
    exchange = {}
    for r in others:
      c = self.param(f"exchange_{r}_{s}", lecun_normal(), (lengths[r], lengths[s]))
      # Sequences may be padded further than parameters are long.
      exchange[r] = filled(c[: steps[r], : steps[s]], (steps[r], steps[s]))
    b = self.param(f"exchange_bias_{s}", zeros, (lengths[s],))
    b = filled(b[: steps[s]], (steps[s],))
    # Where every other source is missing, there is nothing to exchange with.
    present = jnp.stack([streams[r].mask.any(-1) for r in others]).any(0)
    bias = jnp.where(present[:, None], alpha * broadcast_left(b, alpha), 0)
    return exchange, bias

  def _read(
    self,
    query: Float[Array, "B T H D"],
    query_mask: Bool[Array, "B T"],
    s: str,
    sources: dict[str, Source],
    drop: DropoutDecisions | None,
    train: bool,
  ) -> tuple[Float[Array, "B T H D"], Float[Array, "B H T K"] | None]:
    """Z_s->t by heads (Eqs. 4-5), and its weights where not `train`."""
    source = sources[s]
    if self._literal_is_cheaper(query):
      scores = exchanged_scores(query, s, sources)
      z, weights = read_scores(scores, source.value, source.mask, dropout=drop)
      return z, None if train else weights
    key, scale = mixed_key(s, sources), query.shape[-1] ** -0.5
    z = attend(
      query,
      key,
      source.value,
      source.mask,
      query_mask=query_mask,
      bias=source.bias,
      scale=scale,
      dropout=drop,
      implementation=self.settings.attention,
    )
    if train:
      return z, None
    return z, attention_weights(query, key, source.mask, bias=source.bias, scale=scale)

  def _literal_is_cheaper(self, query: Float[Array, "B T H D"]) -> bool:
    """Whether the rows that C_rs multiplies, a head, are more features than steps."""
    choice, (steps, _, features) = self.settings.cmu_exchange, query.shape[1:]
    return steps < features if choice == "auto" else choice == "literal"


def role_names(roles: dict[str, str]) -> dict[str, str]:
  """What belongs to a source, by its name, to what it is called by its role."""
  kinds = "norm", "key", "value", "exchange_bias", "alpha", "attention"
  names = dict(roles)
  for s, role in roles.items():
    names |= {f"{kind}_{s}": f"{kind}_{role}" for kind in kinds}
    names |= {
      f"exchange_{r}_{s}": f"exchange_{other}_{role}" for r, other in roles.items()
    }
  return names


def selective_weights(streams: Streams) -> dict[str, Float[Array, "B _"]]:
  """alpha of every source: one softmax over all their real steps."""
  wide = lambda z: jnp.promote_types(z.dtype, jnp.float32)
  sums = {s: x.z.sum(-1, dtype=wide(x.z)) for s, x in streams.items()}
  masks = {s: x.mask for s, x in streams.items()}
  alpha = masked_softmax(concatenate(sums), concatenate(masks))  # Eq. 3
  return split(alpha, masks)


def mixed_key(s: str, sources: dict[str, Source]) -> Float[Array, "B K H D"]:
  """K_s + alpha_s sum_r C_rs' K_r: the keys whose scores are exchanged ones."""
  source = sources[s]
  if not source.exchange:
    return source.key
  dtype = source.key.dtype
  mixed = sum(
    jnp.einsum("brhd,rs->bshd", sources[r].key, c.astype(dtype))
    for r, c in source.exchange.items()
  )
  return source.key + source.alpha[..., None, None].astype(dtype) * mixed


def exchanged_scores(
  query: Float[Array, "B Q H D"], s: str, sources: dict[str, Source]
) -> Float[Array, "B H Q K"]:
  """E_s + alpha_s (sum_r E_r C_rs + b_s), as it is written."""
  source, wide = sources[s], jnp.promote_types(query.dtype, jnp.float32)

  def score(r: str) -> Array:
    product = jnp.einsum(
      "bqhd,bkhd->bhqk", query, sources[r].key, preferred_element_type=wide
    )
    return query.shape[-1] ** -0.5 * product  # Eq. 1

  scores = score(s)
  if not source.exchange:
    return scores
  exchanged = sum(
    jnp.einsum("bhqr,rs->bhqs", score(r), c.astype(scores.dtype))
    for r, c in source.exchange.items()
  )
  row = lambda x: x[:, None, None, :]
  return scores + row(source.alpha) * exchanged + row(source.bias)
