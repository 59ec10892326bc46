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
from mcr_jax.layers.siblings import Sibling, call
from mcr_jax.layers.stream import Masks, Stream, concatenate
from mcr_jax.models.mcr.cmu import CMU, role_names
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
    s, intermediates = self.settings, {}
    # By name: a dict that went through a scan comes back sorted.
    z = [*(carry.targets[t] for t in s.reinforced), *(carry.sources[m] for m in s.read)]
    every = Stream.each(z, [masks[m] for m in (*s.reinforced, *s.read)])
    targets = dict(zip(s.reinforced, every, strict=False))
    streams = dict(zip(s.read, every[len(targets) :], strict=True))
    parts = []
    if s.cmu:
      cross = self._cross(targets, streams, intermediates, train)  # Eq. 2
      parts.append(cross)
      if s.structure == "serial":
        targets = {t: Stream.of(z, masks[t]) for t, z in cross.items()}
    if s.scu:
      parts.append(self._self_cross(targets, carry.joined, masks, intermediates, train))
    if s.structure == "serial":
      reinforced = parts[-1]
    else:
      reinforced = {t: sum(part[t] for part in parts) for t in targets}
    if self.last:
      return carry._replace(targets=reinforced), intermediates
    return self._update(reinforced, carry, masks, intermediates, train), intermediates

  def _cross(self, targets, streams, intermediates, train):
    """Z_ta of every target."""
    s, siblings = self.settings, []
    for t, target in targets.items():
      own = {m: streams[m] for m in s.sources(t)}
      names = role_names(s.roles(t))
      siblings.append(Sibling(CMU(s, name=f"cmu_{t}"), (target, own), names))
    family = CMU(s.in_roles(*map(s.roles, targets)), parent=None)
    return self._call(siblings, family, intermediates, train)

  def _self_cross(self, targets, joined, masks, intermediates, train):
    """Z_tb of every target."""
    s, siblings = self.settings, []
    for t, target in targets.items():
      own = {m: masks[m] for m in s.sources(t)}
      z_ds = Stream(joined[t], None, concatenate(own), s.positions(own))
      unit = SCU(s, s.spec.lengths[t], name=f"scu_{t}")
      siblings.append(Sibling(unit, (target, z_ds)))
    family = SCU(s, max(x.unit.longest for x in siblings), parent=None)
    return self._call(siblings, family, intermediates, train)  # Eq. 6

  def _update(self, targets, carry, masks, intermediates, train):
    """Z_s' of every source and Z_ds' of every target, by what targets have become."""
    s, siblings = self.settings, []
    if s.source_update == "low_level":
      return carry._replace(targets=targets)
    for m, z in carry.sources.items():
      unit = Update(s, s.spec.lengths[m], name=f"update_{m}")
      siblings.append(Sibling(unit, (z, targets.get(m), masks[m])))
    family = Update(s, max(x.unit.longest for x in siblings), parent=None)
    sources = self._call(siblings, family, intermediates, train)  # Eq. 12
    if s.source_update == "ffl":
      return Carry(targets, sources, plain_join(sources, s))
    if not s.scu:  # It alone reads joined sources.
      return Carry(targets, sources, carry.joined)
    siblings = []
    for t in targets:
      own, real = ({m: x[m] for m in s.sources(t)} for x in (sources, masks))
      names = {f"bias_{m}": f"bias_{role}" for m, role in s.roles(t).items()}
      unit = Join(s, name=f"join_{t}")
      siblings.append(Sibling(unit, (own, real), s.roles(t) | names))
    family = Join(s.in_roles(*map(s.roles, targets)), parent=None)
    joined = self._call(siblings, family, intermediates, train)
    return Carry(targets, sources, joined)

  def _call(self, siblings, family, intermediates, train) -> dict[str, Array]:
    """What units make, by the modality at the end of their names."""
    together, found = self.settings.units != "apart", {}
    results = call(siblings, family, train=train, together=together)
    for one, result in zip(siblings, results, strict=True):
      kind, m = one.unit.name.split("_", 1)
      found[m], intermediates[one.unit.name] = result
    return found
