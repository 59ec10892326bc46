"""Starting from the weights of another run."""

import functools
import re

import jax
import numpy as np
from jax.tree_util import keystr

from mcr_jax.contract import PER_SAMPLE, Spec
from mcr_jax.errors import UserError
from mcr_jax.training.optim import path_name


def start_from(before, state, spec: Spec, head: str):
  """The state with the parameters of a trained run.

  Seeds are taken one for one, or one source seed serves all. The last fully connected
  layer stays fresh where the two runs have other outputs, which classes in another
  order are too; everything else must fit.

  Args:
    before: the `Run` to start from.
    state: fresh, with a leading seed axis.
    spec: of the new run's data.
    head: pattern of the last fully connected layer, see `contract.Card`.

  Raises:
    UserError: names what does not fit, with both shapes.
  """
  count, given = len(state.step), len(before.seeds)
  if given not in (1, count):
    raise UserError(
      f"{before.workdir} has {given} seeds and this run {count}; train.init_from takes "
      "them one for one, or a single one for all."
    )
  # Layers read modalities side by side, and would read the wrong one.
  orders = [list(x.lengths) for x in (before.spec, spec)]
  if orders[0] != orders[1]:
    raise UserError(
      f"train.init_from={before.workdir} has the modalities {', '.join(orders[0])}, in "
      f"this order; this run has {', '.join(orders[1])}. data.modalities sets it."
    )
  said = lambda x: (x.task, tuple(x.outputs), tuple(x.class_names), x.target_names)
  other_task = said(before.spec) != said(spec)
  wrong = []

  def by_path(tree):
    return {keystr(path): x for path, x in jax.tree_util.tree_leaves_with_path(tree)}

  def choose(known, path, new):
    old = known.get(keystr(path))
    if other_task and re.fullmatch(head, path_name(path)):
      return new
    if old is None or old.shape[1:] != new.shape[1:]:
      had = "nothing" if old is None else old.shape[1:]
      wrong.append(f"{keystr(path)} is {new.shape[1:]} here and {had} there")
      return new
    old = np.broadcast_to(np.asarray(old, new.dtype), new.shape)
    return jax.make_array_from_callback(new.shape, new.sharding, lambda i: old[i])

  replaced = []
  parts = zip((state.params, state.stats), before.variables, strict=True)
  for fresh, trained in parts:
    # What is known of single samples is known of other data.
    kept = {PER_SAMPLE: fresh[PER_SAMPLE]} if PER_SAMPLE in fresh else {}
    shared = lambda tree: {k: v for k, v in tree.items() if k != PER_SAMPLE}
    fresh, trained = shared(fresh), shared(trained)
    known, names = by_path(trained), by_path(fresh)
    wrong += [f"{path} is not in this model" for path in known if path not in names]
    chosen = functools.partial(choose, known)
    replaced.append(jax.tree_util.tree_map_with_path(chosen, fresh) | kept)
  if wrong:
    more = f", and {len(wrong) - 4} more" if len(wrong) > 4 else ""
    raise UserError(
      f"train.init_from={before.workdir} does not fit this model: "
      f"{'; '.join(wrong[:4])}{more}."
    )
  return state.replace(params=replaced[0], stats=replaced[1])
