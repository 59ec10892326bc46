"""The fields of MCR that its units read."""

import dataclasses
from collections.abc import Mapping

import flax.linen as nn

from mcr_jax.contract import Spec
from mcr_jax.errors import UserError
from mcr_jax.field import field
from mcr_jax.layers.settings import JoinedSettings
from mcr_jax.layers.transformer import Project, split_heads


@dataclasses.dataclass(kw_only=True)
class Settings(JoinedSettings):
  """What a reinforcement layer can be; the variants are those of Table 5."""

  targets: tuple[str, ...] = field(
    (), modalities=True, doc="The modalities to be reinforced; () is all of them."
  )
  cmu_heads: int = field(1, low=1, doc="Of CMU, where the paper writes one.")
  source_update: str = field(
    "sum",
    choices=("sum", "sum_no_smm", "ffl", "low_level"),
    doc="SUM, SUM without selective memory, feed-forward layers alone, or none.",
  )
  cmu: bool = field(True, doc="Whether there are cross-mutual units.")
  scu: bool = field(True, doc="Whether there are self-cross units.")
  mutual_attention: bool = field(True, doc="Whether CMU exchanges scores.")
  attention_layer: bool = field(True, doc="Whether SCU weighs its branches.")
  structure: str = field(
    "parallel",
    choices=("parallel", "serial"),
    doc="Whether both units read the target, or SCU what CMU made of it.",
  )
  scu_scoring: str = field(
    "folded",
    choices=("folded", "literal"),
    doc="Eq. 9 as one inner product, or with the paper's parameters.",
  )
  cmu_exchange: str = field(
    "auto",
    choices=("auto", "mixed", "literal"),
    doc="Eqs. 4-5 by mixed keys, as written, or the cheaper of the two.",
  )
  units: str = field(
    "auto",
    choices=("auto", "apart", "together"),
    doc="Units of one kind as one computation: where sequences have as many steps, and "
    "on accelerators where padding them to that costs little (auto), never, or always.",
  )

  @property
  def reinforced(self) -> tuple[str, ...]:
    """The targets, in order."""
    return self.targets or self.spec.modalities

  @property
  def read(self) -> tuple[str, ...]:
    """The modalities whose source stream some target reads, in order."""
    every = {s for t in self.reinforced for s in self.sources(t)}
    return tuple(m for m in self.spec.modalities if m in every)

  def roles(self, target: str) -> dict[str, str]:
    """The sources of a target by their place, which is a name for all targets."""
    return {m: str(i) for i, m in enumerate(self.sources(target))}

  def sources(self, target: str) -> tuple[str, ...]:
    """The modalities that reinforce a target, in order; its own where it is alone."""
    return tuple(m for m in self.spec.modalities if m != target) or (target,)

  def in_roles(self, *roles: Mapping[str, str]) -> "Settings":
    """These for units whose modalities have other names: modality -> role, of each.

    Lengths of a role are the largest.
    """
    lengths = {}
    for names in roles:
      for m, role in names.items():
        lengths[role] = max(lengths.get(role, 0), self.spec.lengths[m])
    return dataclasses.replace(self, spec=Spec(lengths))

  def project(self, name: str) -> Project:
    """Queries, keys or values of CMU, submodule of the module that calls this."""
    return Project(self.cmu_heads, self.width, dtype=self.computation, name=name)

  def dense(self, name: str) -> nn.Dense:
    """A linear map to this width, submodule of the module that calls this."""
    return nn.Dense(self.width, use_bias=False, dtype=self.computation, name=name)

  def check(self) -> None:
    """Raises UserError where fields do not go together."""
    split_heads(self.width, self.heads)
    split_heads(self.width, self.cmu_heads)
    if not (self.cmu or self.scu):
      raise UserError(
        "model.cmu and model.scu are both False: nothing would reinforce a target."
      )
