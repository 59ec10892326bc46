"""Promises about numbers, on programs that run."""

import re
from typing import Any

import jax
import numpy as np
import optax

from mcr_jax.conformance.subject import (
  SAMPLES,
  Broken,
  Subject,
  by_path,
  make_batch,
  shortened,
)
from mcr_jax.contract import Batch, flatten

STEPS = 300


def decay_leaves_out_what_is_added(subject: Subject) -> None:
  """Weight decay takes kernels and leaves what starts as zeros or ones."""
  for name, value in by_path(subject.first).items():
    left_out = bool(re.fullmatch(subject.kind.card.undecayed, name))
    kernel = name.endswith("kernel")
    if kernel and left_out:
      raise Broken(f"Card.undecayed names {name}, which is a kernel.")
    if not (kernel or left_out) and np.isin(value, (0, 1)).all():
      raise Broken(f"Card.undecayed does not name {name}, which is added to nothing.")


def every_parameter_is_used(subject: Subject) -> None:
  """Every parameter has a gradient."""

  def idle(variables) -> set[str]:
    gradient = by_path({"params": subject.learn(subject.short, variables)[1]})
    return {name for name, x in gradient.items() if not x.any()}

  found = idle(subject.variables)
  if found and set(subject.variables) != {"params"}:
    # Some is read once the model remembers something.
    found &= idle(subject.after(subject.short, 2))
  if found:
    raise Broken(f"No loss depends on {', '.join(sorted(found))}.")


def padding_is_not_read(subject: Subject) -> None:
  """What stands on padding, in holes and in missing modalities reaches nothing."""
  fill = lambda m, x, junk: np.where(subject.batch.mask[m][..., None], x, junk)
  filled = lambda junk: subject.batch.replace(
    x={m: fill(m, x, junk) for m, x in subject.batch.x.items()}
  )
  expected = _seen(subject, filled(0.0))
  for junk in (1e6, np.nan, -np.inf):
    found = _seen(subject, filled(junk))
    _equal(expected, found, f"{junk} where there is no data changes")


def padding_may_be_of_any_length(subject: Subject) -> None:
  """Neither how far a batch is padded nor another seed beside changes a prediction."""
  expected = _real(subject.batch, subject.predict(subject.batch).predictions)
  # Where training sees something else, such as the statistics of the batch, predictions
  # take a program more.
  output = subject.learn(subject.short)[2]
  alike = set(subject.variables) == {"params"} and not _is_noisy(subject)
  output = output if alike else subject.predict(subject.short)
  found = _real(subject.short, output.predictions)
  _equal({"predictions": expected}, {"predictions": found}, "Padding changes")


def samples_are_alone(subject: Subject) -> None:
  """A prediction depends on no other sample of its batch."""
  batch, other = subject.batch, make_batch(subject.spec, seed=1)
  mixed = jax.tree.map(lambda a, b: np.concatenate([a[:1], b[1:]]), batch, other)
  for x in mixed.x.values():
    x[-1] = np.nan
  first = lambda b: _real(b, subject.predict(b).predictions, rows=1)
  expected, found = {"predictions": first(batch)}, {"predictions": first(mixed)}
  _equal(expected, found, "Other samples of the batch change")


def modalities_may_miss(subject: Subject) -> None:
  """A missing modality, and no modality at all, leave everything finite."""
  names = subject.spec.modalities
  for missing in ((names[0],), (names[-1],), names):
    mask = {m: x & (m not in missing) for m, x in subject.batch.mask.items()}
    found = _seen(subject, subject.batch.replace(mask=mask))
    for name, value in flatten(found).items():
      if not np.isfinite(value).all():
        raise Broken(f"Without {' and '.join(missing)} not all of {name} is finite.")


def rows_of_no_weight_do_not_count(subject: Subject) -> None:
  """A row of weight 0 changes no loss and no gradient."""
  batch, other = subject.short, shortened(make_batch(subject.spec, seed=1))
  last = lambda a, b: np.concatenate([a[:-1], b[-1:]])
  mixed = jax.tree.map(last, batch, other).replace(weight=batch.weight)
  mixed = mixed.replace(label=last(batch.label, 7 + other.label), more=batch.more)
  expected, found = (
    dict(zip(("losses", "gradient"), subject.learn(b)[:2], strict=True))
    for b in (batch, mixed)
  )
  _equal(expected, found, "A row of weight 0 changes")


def seeds_are_independent(subject: Subject) -> None:
  """A seed that diverges changes nothing of the others in its program."""
  expected, found = (
    {"predictions": x.predictions, "intermediates": dict(x.intermediates)}
    for x in (subject.predict(subject.batch), subject.predict(subject.batch, np.nan))
  )
  _equal(expected, found, "Another seed changes")


def a_batch_is_learnt(subject: Subject) -> None:
  """It learns a batch by heart: the squared error falls below a tenth."""
  optimizer = optax.adam(1e-2)
  variables, first, update = subject.first, None, jax.jit(optimizer.update)
  state = optimizer.init(variables["params"])
  for _ in range(STEPS):
    _, gradient, output = subject.learn(subject.short, variables)
    error = float(subject.losses(output, subject.short)["task"])
    first = error if first is None else first
    if error < first / 10:
      return
    change, state = update(gradient, state)
    params = jax.tree.map(np.add, variables["params"], change)
    variables = {**variables, "params": params}
  raise Broken(
    f"After {STEPS} steps the error is {error:.3g}; it began at {first:.3g}."
  )


def _is_noisy(subject: Subject) -> bool:
  """Whether training draws numbers with every rate at 0."""
  one, two = (subject.learn(subject.short, key=key)[2] for key in (0, 1))
  return not np.array_equal(one.predictions, two.predictions)


def _real(batch: Batch, predictions: np.ndarray, rows: int = SAMPLES) -> np.ndarray:
  """Those of the turns that exist, of the first rows."""
  turn = batch.more.get("turn", np.ones(len(predictions), bool))
  return predictions[:rows][turn[:rows]]


def _seen(subject: Subject, batch: Batch) -> dict[str, Any]:
  """All that a batch leads to."""
  output, short = subject.predict(batch), shortened(batch)
  losses, gradient, trained = subject.learn(short)
  return {
    "predictions": _real(batch, output.predictions),
    "predictions in training": _real(short, trained.predictions),
    "losses": losses,
    "gradient": gradient,
    "intermediates": dict(output.intermediates),
  }


def _equal(expected: dict[str, Any], found: dict[str, Any], what: str) -> None:
  """Raises Broken where a number differs by more than rounding."""
  expected, found = flatten(expected), flatten(found)
  for name, value in expected.items():
    if not np.allclose(value, found[name], rtol=1e-9, atol=1e-9, equal_nan=False):
      raise Broken(f"{what} {name}.")


CHECKS = (
  decay_leaves_out_what_is_added,
  every_parameter_is_used,
  padding_is_not_read,
  padding_may_be_of_any_length,
  samples_are_alone,
  modalities_may_miss,
  rows_of_no_weight_do_not_count,
  seeds_are_independent,
  a_batch_is_learnt,
)
