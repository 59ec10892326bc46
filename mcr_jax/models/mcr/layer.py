"""One reinforcement layer of MCR: targets by their sources, then sources by targets.

For every target t with sources s1 and s2, and their join Z_ds = [Z_s1, Z_s2]:

  Z_ta = CMU(Z_s1, Z_s2, Z_t)                                              Eq. 2
  Z_tb = SCU(Z_ds, Z_t)                                                    Eq. 6
  Z_t' = Z_ta + Z_tb
  Z_s', Z_ds' = SUM(Z_t', Z_s)                                             Eq. 12
"""

import flax.linen as nn
from jaxtyping import Array

from mcr_jax.contract import Intermediates
from mcr_jax.layers.stream import Masks, Stream, Streams, concatenate
from mcr_jax.models.mcr.cmu import CMU
from mcr_jax.models.mcr.scu import SCU
from mcr_jax.models.mcr.settings import Settings
from mcr_jax.models.mcr.stream import Carry, plain_join
from mcr_jax.models.mcr.update import Join, Update


class ReinforcementLayer(nn.Module):
  """The streams of one layer to those of the next.

  Deviation: `last` leaves SUM out, as nothing would read what it makes.
  """

  settings: Settings
  last: bool = False

  @nn.compact
  def __call__(
    self, carry: Carry, masks: Masks, train: bool
  ) -> tuple[Carry, Intermediates]:
    targets, sources, joined = carry
    streams = {m: Stream.of(z, masks[m]) for m, z in sources.items()}
    reinforced, intermediates = {}, {}
    # By name: a dict that went through a scan comes back sorted.
    for t in self.settings.reinforced:
      own = {m: streams[m] for m in self.settings.sources(t)}
      target = Stream.of(targets[t], masks[t])
      reinforced[t], inner = self._reinforce(t, target, own, joined[t], train)
      intermediates |= inner
    if not self.last:
      sources, joined, inner = self._update(
        reinforced, sources, joined, masks, train
      )  # Eq. 12
      intermediates |= inner
    return Carry(reinforced, sources, joined), intermediates

  def _reinforce(
    self, t: str, target: Stream, sources: Streams, joined: Array, train: bool
  ) -> tuple[Array, Intermediates]:
    """Z_t' of one target: the sum of both units, or one after the other."""
    s, parts, intermediates = self.settings, [], {}
    if s.cmu:
      unit = CMU(s, name=f"cmu_{t}")
      z_ta, intermediates[f"cmu_{t}"] = unit(target, sources, train=train)  # Eq. 2
      parts.append(z_ta)
      if s.structure == "serial":
        target = Stream.of(z_ta, target.mask)
    if s.scu:
      unit = SCU(s, s.spec.lengths[t], name=f"scu_{t}")
      masks = {m: stream.mask for m, stream in sources.items()}
      z_ds = Stream.of(joined, concatenate(masks), s.positions(masks))
      z_tb, intermediates[f"scu_{t}"] = unit(target, z_ds, train=train)  # Eq. 6
      parts.append(z_tb)
    return parts[-1] if s.structure == "serial" else sum(parts), intermediates

  def _update(self, targets, sources, joined, masks, train):
    """Z_s' of every source and Z_ds' of every target, by what targets have become."""
    s, intermediates = self.settings, {}
    if s.source_update == "low_level":
      return sources, joined, intermediates
    updated = {}
    for m, z in sources.items():
      unit = Update(s, s.spec.lengths[m], name=f"update_{m}")
      updated[m], intermediates[f"update_{m}"] = unit(
        z, targets.get(m), masks[m], train=train
      )
    if s.source_update == "ffl":
      return updated, plain_join(updated, s), intermediates
    if not s.scu:  # It alone reads joined sources.
      return updated, joined, intermediates
    rejoined = {}
    for t in targets:
      own = {m: updated[m] for m in s.sources(t)}
      rejoined[t], intermediates[f"join_{t}"] = Join(s, name=f"join_{t}")(own, masks)
    return updated, rejoined, intermediates
