"""CIM: contextual inter-modal attention between every two modalities.

Akhtar et al.: Multi-task Learning for Multi-modal Emotion Recognition and Sentiment
Analysis, NAACL 2019. Of a pair X, Y (positions x features): each side reads the other,
O_x = softmax(X Y^T) Y and O_y = softmax(Y X^T) X, and gates what it read by itself,
A_x = O_x * X and A_y = O_y * Y. All A and the unimodal X are concatenated.

Deviations: positions are views of a vector (layers/views.py), where the paper has the
utterances of a video; scores are divided by the root of the width, because the paper's
features are bounded and narrow and ours are not; ReLU after the concatenating layer.
`pairs="main"` keeps the pairs of the main modality only, and `unimodal=False` leaves
out the X, which together give the parameters that the paper of MIA-Net prints for CIM
(its Table 10). Without the X, all samples that have one modality alone are predicted
alike.
"""

import itertools

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from mcr_jax.contract import Batch, Card
from mcr_jax.field import field
from mcr_jax.layers.utterance import Fused, Fusion, Present, Vectors
from mcr_jax.layers.views import Views
from mcr_jax.ops import fusion


class Model(Fusion):
  """Inter-modal attention on views of vectors."""

  card = Card(
    "CIM",
    "Akhtar et al.: Multi-task Learning for Multi-modal Emotion Recognition and "
    "Sentiment Analysis, NAACL 2019",
    kind="reconstruction",
    reads="vectors",
  )

  pairs: str = field(
    "all", choices=("all", "main"), doc="All, or those of the main modality."
  )
  main: str = field("", modalities=True, doc="That modality; the first one if empty.")
  unimodal: bool = field(
    True, doc="Whether modalities are also read by themselves; one alone always is."
  )
  width: int = field(1024, low=1, doc="Features of a position.")
  positions: int = field(6, low=1, doc="Views of a vector.")

  def fuse(
    self, vectors: Vectors, present: Present, batch: Batch, *, train: bool
  ) -> Fused:
    view = lambda name: Views(self.positions, self.width, name=f"view_{name}")
    views = {name: view(name)(vector) for name, vector in vectors.items()}
    parts = []
    for one, other in self.chosen():
      both = (present[one] & present[other])[:, None, None]
      for x, y in ((views[one], views[other]), (views[other], views[one])):
        parts.append(jnp.where(both, attend_and_gate(x, y), 0))
    if self.unimodal or not parts:
      here = lambda name: present[name][:, None, None]
      parts += [jnp.where(here(name), view, 0) for name, view in views.items()]
    joined = jnp.concatenate(parts, -1)
    x = nn.relu(nn.Dense(self.width, dtype=joined.dtype, name="join")(joined))
    return Fused(x.mean(-2))

  def chosen(self) -> list[tuple[str, str]]:
    main, auxiliaries = fusion.main_and_auxiliaries(self.modalities, self.main)
    if self.pairs == "main":
      return [(main, name) for name in auxiliaries]
    return list(itertools.combinations(self.modalities, 2))


def attend_and_gate(
  x: Float[Array, "B T D"], y: Float[Array, "B T D"]
) -> Float[Array, "B T D"]:
  """What x reads from y, times x."""
  wide = jnp.promote_types(x.dtype, jnp.float32)
  scores = jnp.einsum("bqd,bkd->bqk", x, y).astype(wide) * x.shape[-1] ** -0.5
  shares = nn.softmax(scores, axis=-1).astype(x.dtype)
  return jnp.einsum("bqk,bkd->bqd", shares, y) * x
