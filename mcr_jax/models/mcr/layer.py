"""One reinforcement layer of MCR: CMU and SCU for every target, then SUM."""

import flax.linen as nn
import jax.numpy as jnp

from mcr_jax.contract import Intermediates
from mcr_jax.models.mcr.cmu import CMU, Masks, Streams
from mcr_jax.models.mcr.scu import SCU
from mcr_jax.models.mcr.settings import Settings
from mcr_jax.models.mcr.update import Join, Update
from mcr_jax.ops.norm import standardize

Carry = tuple[Streams, Streams, Streams]


def plain_join(sources: Streams, settings: Settings) -> Streams:
  """`Z_ds = [Z_s1, Z_s2]` of every target."""
  return {
    t: jnp.concatenate([sources[s] for s in settings.sources(t)], 1)
    for t in settings.targets
  }


class Layer(nn.Module):
  """(targets, source streams, joined sources) -> the same, refreshed.

  Deviation: `last` leaves SUM out, as nothing would read what it makes.
  """

  settings: Settings
  last: bool = False

  @nn.compact
  def __call__(
    self, carry: Carry, masks: Masks, train: bool
  ) -> tuple[Carry, Intermediates]:
    targets, sources, joined = carry
    out = {}
    # Statistics are taken once an array, however many norms read it.
    standardized = {m: standardize(z) for m, z in sources.items()}
    reinforced = {}
    # By name: a dict that went through a scan comes back sorted.
    for t in self.settings.targets:
      reinforced[t], drawn = self._reinforce(
        t, targets[t], sources, standardized, joined[t], masks, train
      )
      out |= drawn
    if not self.last:
      sources, joined, drawn = self._update(reinforced, sources, joined, masks, train)
      out |= drawn
    return (reinforced, sources, joined), out

  def _reinforce(self, t, z, sources, standardized, joined, masks, train):
    """`Z_t'`: the sum of both units, or one after the other."""
    s, out = self.settings, {}
    names = s.sources(t)
    pick = lambda streams: {m: streams[m] for m in names}
    total = jnp.zeros_like(z)
    if s.cmu == "on":
      unit = CMU(t, s, name=f"cmu_{t}")
      first, out[f"cmu_{t}"] = unit(
        z, standardize(z), pick(sources), pick(standardized), masks, train=train
      )
      if s.structure == "serial":
        z = first
      total = first
    if s.scu == "on":
      unit = SCU(t, s, name=f"scu_{t}")
      own = pick(masks)
      second, out[f"scu_{t}"] = unit(
        standardize(z),
        standardize(joined),
        masks[t],
        jnp.concatenate(list(own.values()), 1),
        s.positions(own),
        train=train,
      )
      total = second if s.structure == "serial" else total + second
    return total, out

  def _update(self, targets, sources, joined, masks, train):
    s, out = self.settings, {}
    if s.source_update == "low_level":
      return sources, joined, out
    updated = {}
    for m, z in sources.items():
      update = Update(m, s, name=f"update_{m}")
      updated[m], out[f"update_{m}"] = update(z, targets.get(m), masks[m], train=train)
    if s.source_update == "ffl":
      return updated, plain_join(updated, s), out
    rejoined = {}
    for t in targets:
      streams = {m: updated[m] for m in s.sources(t)}
      rejoined[t], out[f"join_{t}"] = Join(s, name=f"join_{t}")(streams, masks)
    return updated, rejoined, out
