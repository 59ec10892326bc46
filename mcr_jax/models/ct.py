"""CT: crossmodal transformers between the main modality and every auxiliary.

Tsai et al.: Multimodal Transformer for Unaligned Multimodal Language Sequences, ACL
2019 (MulT), as the paper of MIA-Net extends it (its Table 10): every auxiliary is
mapped to the main modality, instead of every modality to every other, and a pair has
three transformers. They are those that MulT gives to a pair: main reads auxiliary,
auxiliary reads main, and one over the two together. With `pairs="all"` it is extended
as MulT is: every modality reads every other, and has one transformer over all it read;
there is no main modality then. models/mult.py is MulT itself, on sequences.

Deviations: vectors become sequences by layers/views.py, and a transformer is the one
of models/transformer.py, which encodes what is read; MulT reads the low-level features
in several layers. What a transformer over several reads is given is first joined by a
layer to the model's width, where MulT concatenates. A pair then has 75 d^2 parameters
with its share of the last concatenating layer, as the published counts say (159.52 M
and 238.49 M).
"""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array

from mcr_jax.contract import Card, Intermediates
from mcr_jax.field import field
from mcr_jax.layers.utterance import Present, Vectors
from mcr_jax.models import mha
from mcr_jax.models.transformer import PairTransformer


class Model(mha.Model):
  """Crossmodal transformers on views of vectors."""

  card = Card(
    "CT",
    "Tsai et al.: Multimodal Transformer for Unaligned Multimodal Language Sequences, "
    "ACL 2019, as extended in the paper of MIA-Net",
    kind="reconstruction",
    reads="vectors",
  )

  pairs: str = field(
    "main", choices=("main", "all"), doc="Those of the main modality, or all."
  )

  def parts(
    self, vectors: Vectors, present: Present, train: bool
  ) -> tuple[list[Array], Intermediates]:
    if self.pairs == "main" or len(self.modalities) == 1:
      return super().parts(vectors, present, train)
    views = {m: self.views(m, vectors[m], present[m]) for m in self.modalities}
    parts, intermediates = [], {}
    for target, (x, here) in views.items():
      reads = []
      for name, (memory, there) in views.items():
        if name != target:
          role = f"toward_{target}_{name}"
          read, inner = self.transformer(role)(x, memory, there, train=train)
          reads.append(read)
          intermediates |= {
            f"{key}_{target}_{name}": value for key, value in inner.items()
          }
      joint = self.over(target, reads, train)
      # A missing target reads nothing that belongs to it.
      parts.append(jnp.where(here[..., None], joint, 0))
    return parts, intermediates

  def pair(self, name, x, here, memory, present, train):
    toward, inner = self.transformer(f"toward_{name}")(x, memory, present, train=train)
    back, _ = self.transformer(f"back_{name}")(memory, x, here, train=train)
    # What a missing modality says about the main one is nothing.
    back = jnp.where(present[..., None], back, 0)
    return self.over(name, [toward, back], train), inner

  def over(self, name, reads, train):
    """One transformer over several reads, joined to the model's width."""
    both = jnp.concatenate(reads, -1)
    both = nn.Dense(self.width, dtype=both.dtype, name=f"pair_{name}")(both)
    everywhere = jnp.ones(both.shape[:2], bool)
    return self.transformer(f"joint_{name}")(both, both, everywhere, train=train)[0]

  def transformer(self, name):
    return PairTransformer(self.heads, self.dropout, name=name)
