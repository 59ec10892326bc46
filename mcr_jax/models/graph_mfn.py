"""Graph-MFN: the memory of MFN, moved by a graph over all subsets of modalities.

A. Zadeh, P. P. Liang, J. Vanbriesen, S. Poria, E. Tong, E. Cambria, M. Chen and L.-P.
Morency, "Multimodal language analysis in the wild: CMU-MOSEI dataset and interpretable
dynamic fusion graph", ACL 2018. Steps 2 and 3 of MFN (`models.mfn`) become, with r the
states of the LSTMs,

  1. s_m = relu(W_m [r_m[t-1], r_m[t]])                       a vertex a modality
  2. e = E([s_1, ..., s_M]), an efficacy an edge
  3. v_S = P_S([e_(R -> S) v_R for all R within S]), v_{m} = s_m, and
     tau = P_T([e_(R -> T) v_R for all R])                    the summary

for all subsets S of two modalities or more, by their size; R are sets that are not
empty, and smaller than S. Then tau is what moves the memory. All of this is done for
all steps at once.

Edges are numbered by their target (by size, then by the order of the modalities, the
summary last), those of one target by their source in the same order: 19 for three
modalities.

The paper leaves the networks P and E open; their layers are those of the released code.
`graph="nonlinear"` is what the paper's words ask for: a ReLU behind the wide layers and
efficacies in (0, 1). `graph="linear"` is the code, which has neither. Cells of the
LSTMs are read, as MFN reads them; `read="hidden"` is what the MMSA collection does.

Deviation from both: the networks P_S of the sets are trained. The released code keeps
them where neither the optimiser nor a checkpoint finds them. A modality that a sample
lacks has the vertex 0, and no edge leads out of it, or out of a set of such ones.
"""

import itertools

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mcr_jax.contract import Batch, Card, Output
from mcr_jax.field import field, rate
from mcr_jax.layers.dropout import Rate
from mcr_jax.layers.grid import ALIGNMENT_LOSSES
from mcr_jax.layers.memory import MemoryFusion, before
from mcr_jax.layers.output import output_mlp

Vertex = tuple[str, ...]


class Model(MemoryFusion):
  """MFN with a dynamic fusion graph on sequences of one grid of steps."""

  card = Card(
    "Graph-MFN",
    "Zadeh, Liang, Vanbriesen, Poria, Tong, Cambria, Chen, Morency: Multimodal "
    "Language Analysis in the Wild: CMU-MOSEI Dataset and Interpretable Dynamic Fusion "
    "Graph, ACL 2018",
    optional=ALIGNMENT_LOSSES,
  )

  read: str = field(
    "cell", choices=("cell", "hidden"), doc="The states that vertices are made of."
  )
  graph: str = field(
    "nonlinear",
    choices=("nonlinear", "linear"),
    doc="Whether the networks of the graph have a ReLU, and efficacies lie in (0, 1).",
  )
  graph_width: int = field(100, low=1, doc="Of the hidden layers of the graph.")
  vertex_width: int = field(64, low=1, doc="Of a set of modalities, and the summary.")
  output_width: int = field(128, low=1, doc="Of the hidden layer of the last MLP.")
  output_dropout: Rate = rate("Behind the hidden layer of the last MLP.")

  @nn.compact
  def __call__(self, batch: Batch, *, train: bool = False) -> Output:
    grid = self.on_one_grid(batch, train=train)
    states = self.encode(grid)
    present = {m: mask.any(-1)[:, None, None] for m, mask in grid.mask.items()}
    singles = {}
    for m, r in getattr(states, self.read).items():
      both = jnp.concatenate([before(r), r], -1)
      single = nn.relu(self._dense(r.shape[-1], f"single_{m}")(both))
      singles[m,] = jnp.where(present[m], single, 0)
    summary, efficacies = self._fuse(singles, present)
    u, steps = self.remember(summary, grid.real, train=train)
    y = output_mlp(
      jnp.concatenate([states.last, u.astype(states.last.dtype)], -1),
      self.output_width,
      self.outputs,
      self.output_dropout,
      dtype=self.computation,
      train=train,
    )
    intermediates = {"efficacies": efficacies, **steps, **grid.intermediates}
    return Output(y, grid.losses, intermediates=intermediates)

  def _fuse(
    self,
    values: dict[Vertex, Float[Array, "B T _"]],
    present: dict[str, Bool[Array, "B 1 1"]],
  ) -> tuple[Float[Array, "B T K"], Float[Array, "B T E"]]:
    """The summary and the efficacies, from the vertices of single modalities."""
    values, pairs = dict(values), edges(self.modalities)
    efficacies = self._efficacies(jnp.concatenate([*values.values()], -1))
    there = [jnp.stack([present[m] for m in source]).any(0) for source, _ in pairs]
    efficacies = jnp.where(jnp.concatenate(there, -1), efficacies, 0)
    factors = dict(zip(pairs, jnp.split(efficacies, len(pairs), -1), strict=True))

    def merge(target, name):
      read = [
        factor.astype(values[source].dtype) * values[source]
        for (source, to), factor in factors.items()
        if to == target
      ]
      return self._network(jnp.concatenate(read, -1), name)

    for s in vertices(self.modalities)[len(self.modalities) :]:
      values[s] = merge(s, f"vertex_{'_'.join(s)}")
    return merge((), "summary"), efficacies

  def _efficacies(self, singles):
    """E, in float32 or wider."""
    count = len(edges(self.modalities))
    e = self._dense(count, "efficacies")(self._network(singles, "efficacy"))
    e = e.astype(jnp.promote_types(e.dtype, jnp.float32))
    return nn.sigmoid(e) if self.graph == "nonlinear" else e

  def _network(self, x, name):
    """Two layers, `<name>_hidden` and `<name>_value`."""
    y = self._dense(self.graph_width, f"{name}_hidden")(x)
    y = nn.relu(y) if self.graph == "nonlinear" else y
    return self._dense(self.vertex_width, f"{name}_value")(y)

  def _dense(self, size, name):
    return nn.Dense(size, dtype=self.computation, name=name)


def vertices(modalities: tuple[str, ...]) -> list[Vertex]:
  """All sets of modalities that are not empty, by size and then in their order."""
  sizes = range(1, len(modalities) + 1)
  return [s for size in sizes for s in itertools.combinations(modalities, size)]


def edges(modalities: tuple[str, ...]) -> list[tuple[Vertex, Vertex]]:
  """(source, target) of every edge in order; the summary is the target ()."""
  sets = vertices(modalities)
  within = [(r, s) for s in sets for r in sets if set(r) < set(s)]
  return within + [(r, ()) for r in sets]
