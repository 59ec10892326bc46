"""CT: crossmodal transformers between the main modality and every auxiliary.

Tsai et al.: Multimodal Transformer for Unaligned Multimodal Language Sequences, ACL
2019 (MulT), as the paper of MIA-Net extends it (its Table 10): every auxiliary is
mapped to the main modality, instead of every modality to every other, and a pair has
three transformers. They are those that MulT gives to a pair: main reads auxiliary,
auxiliary reads main, and one over the two together. models/mult.py is MulT itself.

Deviations: vectors become sequences as in models/mha.py, and a transformer is the one
of models/transformer.py, which encodes what is read; MulT reads the low-level features
in several layers. The two directions are joined by a layer of the model's width, where
MulT concatenates. A pair then has 75 d^2 parameters with its share of the last
concatenating layer, as the published counts say (159.52 M and 238.49 M).
"""

import flax.linen as nn
import jax.numpy as jnp

from mcr_jax.models import mha
from mcr_jax.models.transformer import Transformer


class Model(mha.Model):
  """Crossmodal transformers on views of vectors."""

  def pair(self, name, x, here, memory, present, train):
    transformer = lambda role: Transformer(
      self.heads, self.dropout, name=f"{role}_{name}"
    )
    toward, drawn = transformer("toward")(x, memory, present, train=train)
    back, _ = transformer("back")(memory, x, here, train=train)
    # What a missing modality says about the main one is nothing.
    back = jnp.where(present[..., None], back, 0)
    both = jnp.concatenate([toward, back], -1)
    both = nn.Dense(self.width, dtype=x.dtype, name=f"pair_{name}")(both)
    everywhere = jnp.ones(both.shape[:2], bool)
    joint, _ = transformer("joint")(both, both, everywhere, train=train)
    return joint, drawn
