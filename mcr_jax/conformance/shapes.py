"""Promises that a trace shows, without a program that runs."""

import re

from mcr_jax import models
from mcr_jax.conformance.subject import SAMPLES, WIDTHS, Broken, Subject, by_path
from mcr_jax.errors import UserError


def predictions_are_shaped(subject: Subject) -> None:
  """Predictions have the shape of the outputs, in single precision or wider."""
  units = subject.spec.example(SAMPLES).weight.shape
  for outputs in ((1,), (3, 2)):
    found = subject.trace(outputs=outputs).output.predictions
    if found.shape != (*units, *outputs) or found.dtype.itemsize < 4:
      raise Broken(
        f"Predictions are {found.dtype} {found.shape} for the outputs {outputs}; right "
        f"is float32 {(*units, *outputs)}."
      )


def head_is_what_outputs_decide(subject: Subject) -> None:
  """`Card.head` names what has another shape with other outputs, and nothing else."""
  one, other = (
    by_path(subject.trace(outputs=outputs).variables) for outputs in ((1,), (3, 2))
  )
  decided = {name for name in one if one[name].shape != other[name].shape}
  named = {name for name in one if re.fullmatch(subject.kind.card.head, name)}
  if decided != named or not named:
    raise Broken(
      f"Card.head names {sorted(named)}; the outputs decide {sorted(decided)}."
    )


def modalities_are_counted(subject: Subject) -> None:
  """It takes the numbers of modalities that its card says, and refuses others."""
  fewest, most = subject.kind.card.modalities
  for count in {fewest, 1, 3} - {subject.count}:
    if fewest <= count <= (count if most is None else most):
      try:
        subject.trace(count)
      except Exception as error:
        raise Broken(f"It fails with {count} modalities: {error!r}.") from error
  for count in {fewest - 1, 0 if most is None else most + 1} - {0}:
    try:
      assert count <= len(WIDTHS)
      subject.build(subject.spec_of(count))
    except UserError:
      continue
    raise Broken(f"It takes {count} modalities; its card says {fewest} to {most}.")


def losses_are_declared(subject: Subject) -> None:
  """It makes the losses and the heads of its card while it trains, and no others."""
  card, units = subject.kind.card, subject.batch.weight.shape
  output = subject.trace(train=True).output
  if set(output.losses) - set(card.optional) != set(card.losses):
    raise Broken(
      f"It makes the losses {sorted(output.losses)}; its card says "
      f"{sorted(card.losses)}, and maybe {sorted(card.optional)}."
    )
  if card.joint and card.joint not in card.losses:
    raise Broken(f"Its joint loss {card.joint!r} is none of {sorted(card.losses)}.")
  for name, loss in output.losses.items():
    if loss.shape not in ((), units) or loss.dtype.itemsize < 4:
      raise Broken(
        f"The loss {name} is {loss.dtype} {loss.shape}; right is float32, () or "
        f"{units}."
      )
  if bool(output.auxiliary) != bool(card.auxiliary):
    raise Broken(
      f"It has the heads {sorted(output.auxiliary)}, and their losses are named by "
      f"Card(auxiliary={card.auxiliary!r})."
    )
  for name, found in output.auxiliary.items():
    if found.shape != output.predictions.shape:
      raise Broken(f"The head {name} predicts {found.shape}, unlike the model.")


def order_is_that_of_the_spec(subject: Subject) -> None:
  """Modalities come in the order of the spec, not in that of a batch."""
  turned = subject.trace(order=tuple(sorted(subject.spec.modalities)))
  if turned.program != subject.trace().program:
    raise Broken("It goes through batch.x, whose order changes; use self.modalities.")


def low_precision_is_computed_in(subject: Subject) -> None:
  """`dtype` is that of the computation; parameters stay in single precision."""
  if "dtype" not in models.fields(subject.kind):
    return
  traced = subject.trace(dtype="bfloat16")
  kinds = {str(x.dtype) for x in by_path(traced.variables).values()}
  if kinds != {"float32"} or traced.output.predictions.dtype != "float32":
    raise Broken(
      f"With dtype='bfloat16' parameters are {', '.join(sorted(kinds))} and "
      f"predictions {traced.output.predictions.dtype}; right is float32."
    )
  if not re.search(r"bf16\[[^\]]*\] = dot_general", traced.program):
    raise Broken("With dtype='bfloat16' no matrix product is one of bfloat16.")


def rates_are_marked(subject: Subject) -> None:
  """Every dropout rate is a `rate()`, which may differ inside one program."""
  for name in models.fields(subject.kind):
    if name.endswith("dropout") and name not in subject.rates:
      raise Broken(f"The field {name} is no `rate()`: a sweep needs a program a value.")


def dropout_falls_in_training(subject: Subject) -> None:
  """Dropout hangs on its key and on rates that may be traced, in training alone."""
  noisy = "key" in subject.read_by_predictions(train=False)
  read = subject.read_by_predictions(train=True)
  if noisy:
    raise Broken("What a trained model predicts hangs on a random key.")
  # Some count only beside others, such as the rate of an encoder that has no layers.
  if subject.rates and not ("key" in read and read & set(subject.rates)):
    raise Broken(f"{', '.join(subject.rates)} drop nothing in training.")


CHECKS = (
  predictions_are_shaped,
  head_is_what_outputs_decide,
  modalities_are_counted,
  losses_are_declared,
  order_is_that_of_the_spec,
  low_precision_is_computed_in,
  rates_are_marked,
  dropout_falls_in_training,
)
