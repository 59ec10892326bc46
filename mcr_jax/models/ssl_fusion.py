"""SSL: a linear layer over what self-supervised encoders say, or attention between.

Siriwardhana, Reis, Weerasekera, Nanayakkara: Jointly Fine-Tuning "BERT-like" Self
Supervised Models to Improve Multimodal Speech Emotion Recognition, Interspeech 2020.
With a vector c_m of every modality, CLS in the paper, and all steps X_m,

  shallow      y = W dropout([c_1; ...; c_M]) + b
  coattention  y = W dropout([a_mn for all m != n]) + b
               a_mn = c_m + dropout(MHA(c_m, X_n, X_n))

The paper has audio and text, and finds the shallow fusion the better one. On features
that are frozen it is a linear probe: results of the paper took the fine-tuning of both
encoders. `encoder="first"` reads CLS where step 0 is one.

Deviations:
- What the authors' head reads of co-attention is taken from the widths of its layers:
  their code reads the two vectors alone, even where attention is switched on.
- The output layer starts at zero (layers/output.py).
- More modalities than two attend in all pairs. One that misses is zero, and adds
  nothing to what attends to it.
"""

import jax.numpy as jnp

from mcr_jax.contract import Batch, Card
from mcr_jax.errors import UserError
from mcr_jax.field import field, rate
from mcr_jax.layers.dropout import Dropout, Rate
from mcr_jax.layers.transformer import MultiHeadAttention
from mcr_jax.layers.utterance import Fused, Fusion, Present, Vectors
from mcr_jax.ops.masking import keep


class Model(Fusion):
  """Vectors side by side, or each beside what it reads in another sequence."""

  card = Card(
    "SSL",
    'Siriwardhana, Reis, Weerasekera, Nanayakkara: Jointly Fine-Tuning "BERT-like" '
    "Self Supervised Models to Improve Multimodal Speech Emotion Recognition, "
    "Interspeech 2020",
    reads="vectors",
  )

  fusion: str = field(
    "shallow", choices=("shallow", "coattention"), doc="What the last layer reads."
  )
  heads: int = field(
    2, low=1, doc="Of co-attention; divides the width of every modality."
  )
  attention_dropout: Rate = rate("Of attention weights, and of what attention adds.")

  def fuse(
    self, vectors: Vectors, present: Present, batch: Batch, *, train: bool
  ) -> Fused:
    if self.fusion == "shallow":
      return Fused(jnp.concatenate([*vectors.values()], -1))
    if len(vectors) < 2:
      raise UserError(
        f'model.fusion="coattention" needs two modalities; the data has {[*vectors]}.'
      )
    parts, weights = [], {}
    for m, query in vectors.items():
      for n in vectors:
        if n == m:
          continue
        mask = batch.mask[n]
        steps = keep(batch.x[n].astype(query.dtype), mask)
        read, inner = MultiHeadAttention(
          self.heads, True, self.attention_dropout, dtype=query.dtype, name=f"{m}_{n}"
        )(query[:, None], steps, mask, train=train)
        read = jnp.where(present[n][:, None], read[:, 0], 0)
        drop = Dropout(self.attention_dropout, name=f"dropout_{m}_{n}")
        both = query + drop(read, train=train)
        parts.append(jnp.where(present[m][:, None], both, 0))
        weights |= {f"{m}_{n}": value for value in inner.values()}
    return Fused(
      jnp.concatenate(parts, -1),
      intermediates={"attention": weights} if weights else {},
    )
