"""CMU, the cross-mutual attention reinforcement unit (Eqs. 2-5 of MCR).

The scores of two sources are exchanged through a learned matrix C on the source axis
before the softmax. That matrix commutes with the query, so the exchange is plain
attention with mixed keys and a bias on the key side:

  E_s + alpha_s (E_r C + b) = Q (K_s + alpha_s C' K_r)' / sqrt(d) + alpha_s b

which never forms a score matrix of its own. The literal order is cheaper where the
target is shorter than a head is wide, and is kept for that and as a reference.

Deviation: the exchange convolution, whose kernel the paper leaves open, has kernel 1
and so is the matrix C; the softmax of Eq. 3 runs over real steps alone.
"""

import functools

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mcr_jax.contract import Intermediates
from mcr_jax.layers.dropout import Dropout
from mcr_jax.layers.transformer import FeedForward, LayerNorm, Project, split_heads
from mcr_jax.models.mcr.settings import Settings
from mcr_jax.ops.attention import attend, attention_weights
from mcr_jax.ops.broadcast import broadcast_left
from mcr_jax.ops.masking import keep, masked_softmax
from mcr_jax.ops.scores import read_scores

Streams = dict[str, Float[Array, "B _ D"]]
Masks = dict[str, Bool[Array, "B _"]]


def selective_weights(sources: Streams, masks: Masks) -> dict[str, Array]:
  """alpha (B, T_s) of every source: one softmax over all their real steps (Eq. 3)."""
  wide = lambda z: jnp.promote_types(z.dtype, jnp.float32)
  sums = jnp.concatenate([z.sum(-1, dtype=wide(z)) for z in sources.values()], -1)
  mask = jnp.concatenate([masks[s] for s in sources], -1)
  alpha = masked_softmax(sums, mask)
  ends = [z.shape[1] for z in sources.values()]
  splits = [sum(ends[:i]) for i in range(1, len(ends))]
  return dict(zip(sources, jnp.split(alpha, splits, -1), strict=True))


class CMU(nn.Module):
  """Each source modality reinforces the target, with their scores exchanged."""

  target: str
  settings: Settings

  @nn.compact
  def __call__(
    self,
    target: Float[Array, "B T D"],
    standardized_target: Float[Array, "B T D"],
    sources: Streams,
    standardized: Streams,
    masks: Masks,
    *,
    train: bool,
  ) -> tuple[Float[Array, "B T D"], Intermediates]:
    """Returns `Z_ta` of Eq. 2.

    Args:
      target: Z_t.
      standardized_target: Z_t without mean and variance, shared by all its norms.
      sources: the raw source streams of this target, in order.
      standardized: the same without mean and variance.
      masks: of every modality.
      train: whether to drop.
    """
    s = self.settings
    split_heads(s.width, s.cmu_heads)
    project = lambda name: Project(s.cmu_heads, s.width, dtype=s.dtype, name=name)
    normed = LayerNorm(name="norm_target")(standardized_target, standardized=True)
    query = project("query")(normed)
    keys, values = {}, {}
    for name in sources:
      z = LayerNorm(name=f"norm_{name}")(standardized[name], standardized=True)
      heads = lambda x, name=name: jnp.where(masks[name][..., None, None], x, 0)
      keys[name] = heads(project(f"key_{name}")(z))
      values[name] = heads(project(f"value_{name}")(z))
    alpha = selective_weights(sources, masks)
    exchange = self._exchange_parameters(keys) if self._exchanges(keys) else {}

    merged, out = normed, {f"alpha_{name}": a for name, a in alpha.items()}
    drops = Dropout(s.attention_dropout, name="attention_dropout")
    scale = (s.width // s.cmu_heads) ** -0.5
    read = self._literal if self._literal_is_cheaper(query) else self._mixed
    for name in sources:
      z, weights = read(
        name, query, keys, values[name], masks, alpha, exchange, scale, drops, train
      )
      out |= {f"attention_{name}": w for w in weights}
      merged = merged + z.reshape(merged.shape)
    feed = FeedForward(
      s.relu_dropout, s.residual_dropout, dtype=s.dtype, name="feed_forward"
    )
    return keep(feed(merged, train=train), masks[self.target]), out

  def _exchanges(self, keys) -> bool:
    return self.settings.mutual_attention == "on" and len(keys) > 1

  def _literal_is_cheaper(self, query) -> bool:
    choice = self.settings.cmu_exchange
    if choice == "auto":
      return query.shape[1] * query.shape[2] < query.shape[-1] * query.shape[2]
    return choice == "literal"

  def _exchange_parameters(self, keys) -> dict[str, tuple[dict[str, Array], Array]]:
    """By source s: C_rs (T_r, T_s) of the others, and b_s (T_s,), cut to length."""
    length, cut = self.settings.length, {}
    for s in keys:
      matrices = {}
      for r in (r for r in keys if r != s):
        matrix = self.param(
          f"exchange_{r}_{s}", nn.initializers.lecun_normal(), (length(r), length(s))
        )
        matrices[r] = matrix[: keys[r].shape[1], : keys[s].shape[1]]
      bias = self.param(f"exchange_bias_{s}", nn.initializers.zeros, (length(s),))
      cut[s] = matrices, bias[: keys[s].shape[1]]
    return cut

  def _bias(self, name, keys, masks, alpha, exchange):
    """alpha_s b_s (B, T_s), dropped where every other source is missing."""
    others = [masks[r].any(-1) for r in keys if r != name]
    present = jnp.stack(others).any(0)[:, None]
    return jnp.where(
      present, alpha[name] * broadcast_left(exchange[name][1], alpha[name]), 0
    )

  def _mixed(
    self, name, query, keys, value, masks, alpha, exchange, scale, drops, train
  ):
    key, bias = keys[name], None
    if exchange:
      mixed = sum(
        jnp.einsum("brhd,rs->bshd", keys[r], matrix.astype(key.dtype))
        for r, matrix in exchange[name][0].items()
      )
      key = key + alpha[name][..., None, None].astype(key.dtype) * mixed
      bias = self._bias(name, keys, masks, alpha, exchange)
    z = attend(
      query,
      key,
      value,
      masks[name],
      bias=bias,
      scale=scale,
      dropout=drops.decisions(train=train),
      implementation=self.settings.attention,
    )
    if train:
      return z, []
    return z, [attention_weights(query, key, masks[name], bias=bias, scale=scale)]

  def _literal(
    self, name, query, keys, value, masks, alpha, exchange, scale, drops, train
  ):
    wide = jnp.promote_types(query.dtype, jnp.float32)
    products = functools.partial(jnp.einsum, preferred_element_type=wide)
    score = lambda s: scale * products("bqhd,bkhd->bhqk", query, keys[s])
    scores = score(name)
    if exchange:
      exchanged = sum(
        jnp.einsum("bhqr,rs->bhqs", score(r), matrix.astype(scores.dtype))
        for r, matrix in exchange[name][0].items()
      )
      row = lambda x: x[:, None, None, :]
      bias = self._bias(name, keys, masks, alpha, exchange)
      scores = scores + row(alpha[name]) * exchanged + row(bias)
    z, weights = read_scores(
      scores, value, masks[name], dropout=drops.decisions(train=train)
    )
    return z, [] if train else [weights]
