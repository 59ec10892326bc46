"""How a trained run reads other data: as its own, unless somebody says otherwise.

Messages of readers name fields of `config.data`. Where a run only predicts there is no
config to set them in, so that they name the flags of the programs instead.
"""

import contextlib
import dataclasses
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from mcr_jax import config as configs
from mcr_jax.contract import Spec
from mcr_jax.data import alignment, classes, load, policies
from mcr_jax.data.checks import validate
from mcr_jax.data.labels import as_task
from mcr_jax.data.load import lengths_of
from mcr_jax.data.schema import Dataset
from mcr_jax.errors import UserError, choose
from mcr_jax.runs import inputs

# What of `config.data` says how a file is read, and not what a run makes of it.
FIELDS = (
  *("overlong", "nonfinite", "unlabelled", "ids", "parts", "label", "split"),
  *("decimal", "encoding", "align", "features", "layers", "vectors"),
)
_SENTENCES = {
  policies.CUT: (
    "--overlong truncate cuts the ends, --skip-bad leaves such samples out."
  ),
  policies.ZERO: (
    "--nonfinite zero replaces them by 0, --skip-bad leaves such samples out."
  ),
  "data.unlabelled=drop leaves them out, keep gives them a weight of 0.": (
    "--skip-bad leaves them out."
  ),
}


@dataclasses.dataclass(frozen=True)
class Reading:
  """What is said about data that a run did not train on.

  Attributes:
    fields: of `FIELDS`, by name; the rest is as the run has it.
    skip_bad: leave out samples that would be refused: too long, not finite, or without
      a label where one is needed.
  """

  fields: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  skip_bad: bool = False

  def __post_init__(self):
    for name in self.fields:
      choose(name, FIELDS, "A field of config.data that says how a file is read")

  def __bool__(self) -> bool:
    return bool(self.fields) or self.skip_bad

  @classmethod
  def of(cls, arguments, config: ConfigDict) -> "Reading":
    """What the arguments of a program say, see `cli.reading_arguments`.

    Args:
      arguments: parsed, with `overrides`.
      config: of the run.
    """
    overrides = list(arguments.overrides)
    for name in ("overlong", "nonfinite"):
      if value := getattr(arguments, name):
        overrides.append(f"--config.data.{name}={value}")
    names = []
    for override in overrides:
      field = re.match(r"--?(?:no)?config\.data\.(\w+)", override)
      if not field:
        raise UserError(
          f"{override}: the run has its config; what can be said of other data is "
          f"--config.data.FIELD=VALUE of {', '.join(FIELDS)}."
        )
      names.append(field[1])
    cls(dict.fromkeys(names))  # a wrong name, before its value
    group = configs.plain(configs.override(config, overrides).data)
    return cls({name: group[name] for name in names}, arguments.skip_bad)

  def group(self, config: ConfigDict, path: str) -> dict[str, Any]:
    """The `data` group of a run's config for a file of another path."""
    own = configs.plain(config.data) | {"parts": {}} | dict(self.fields)
    if self.skip_bad and own["unlabelled"] == "error":
      own["unlabelled"] = "drop"
    return own | {"path": path, "nonfinite": self.policy(own["nonfinite"])}

  def policy(self, own: str) -> str:
    """`own`, where it refuses samples and these are to be left out."""
    return policies.SKIP if self.skip_bad and own == "error" else own


def other_data(
  source: Any,
  run: Any,
  tied: Callable[[Mapping[str, int]], Sequence[str]],
  *,
  labels: bool,
  reading: Reading,
) -> Dataset:
  """A data set that a run did not train on, as its model reads it.

  Args:
    source: a path, or a `Dataset`.
    run: its `config`, `spec` and `workdir` are read.
    tied: see `shapes.tied`; takes modality -> more steps than the run's spec has.
    labels: whether labels and splits are needed.
    reading: what is said about the data.
  """
  with _flags_named():
    dataset = _features(source, run, tied, labels, reading)
    return with_labels(dataset, run.spec, run.workdir) if labels else dataset


def _features(source, run, tied, labels, reading) -> Dataset:
  config, spec = run.config, run.spec
  own = config.data
  if isinstance(source, Dataset):
    dataset = as_task(source, "regression") if spec.task == "regression" else source
    if align := reading.fields.get("align", own.align):
      dataset = alignment.to_steps(dataset, align, shared=True)
    # As of a file: a model reads its own, whatever else there is.
    kept = {m: x for m, x in dataset.modalities.items() if m in spec.lengths}
    dataset = validate(dataclasses.replace(dataset, modalities=kept), labels, ())
    policy = reading.policy(reading.fields.get("nonfinite", own.nonfinite))
    dataset = policies.impute_nonfinite(dataset, policy)
  else:
    group = reading.group(config, os.fspath(source))
    group |= {"modalities": tuple(spec.lengths), "lengths": {}, "absent": "error"}
    group |= {"task": spec.task} if labels else {}
    dataset = load(group, for_training=labels, splits=(), widths=spec.widths)
  dataset = policies.featureless(dataset, drop=labels or reading.skip_bad)
  stated = reading.fields.get("overlong", "")
  if "truncate" in (stated, own.overlong) and stated != "error":
    dataset = policies.limit(dataset, inputs.room_of(config, dataset), "truncate")
  dataset = inputs.as_samples(dataset, spec.unit)
  check_features(dataset, run)
  if more := longer(dataset, spec):
    limits = {m: spec.lengths[m] for m in (more if stated else tied(more))}
    policy = reading.policy(stated or own.overlong)
    dataset = policies.limit(dataset, limits, policy).noted(
      *(
        f"{m}: up to {n} steps, where the training had {spec.lengths[m]}; the model "
        "reads any number."
        for m, n in more.items()
        if m not in limits
      )
    )
  if not len(dataset):
    raise UserError(f"{dataset.source}: no sample is left. {dataset.notes[-1]}")
  return dataset


def longer(dataset: Dataset, spec: Spec) -> dict[str, int]:
  """Modality -> longest sequence, where that is beyond what was trained."""
  found = lengths_of(dataset).items()
  return {m: n for m, n in found if m in spec.lengths and n > spec.lengths[m]}


def check_features(dataset: Dataset, run: Any) -> None:
  """Raises UserError where features are not of the widths and making of the training.

  Args:
    dataset: what is to be read.
    run: its `spec`, `workdir` and `extract` are read.
  """
  widths, own = {m: x.width for m, x in dataset.modalities.items()}, run.spec.widths
  if widths != dict(own):
    raise UserError(
      f"{dataset.source} has features {widths}; the run {run.workdir} was trained "
      f"on {dict(own)}."
    )
  said = dataset.extras.get("extract")
  here = None if said is None else json.loads(str(said))
  if None not in (here, run.extract) and here != run.extract:
    raise UserError(
      f"{dataset.source} was made by another recipe than the features that "
      f"{run.workdir} was trained on: {_differing(run.extract, here)}."
    )


def _differing(there: Any, here: Any) -> str:
  """What two recipes say differently, each first as the run has it."""
  if not (isinstance(there, dict) and isinstance(here, dict)):
    return f"{str(there)[:60]} -> {str(here)[:60]}"
  names = [k for k in {**there, **here} if there.get(k) != here.get(k)]
  return ", ".join(f"{k}: {there.get(k)!r} -> {here.get(k)!r}" for k in names)


def with_labels(dataset: Dataset, spec: Spec, workdir: Path) -> Dataset:
  """The data set with its classes numbered as a run has them.

  Raises:
    UserError: it has other classes or targets.
  """
  dataset = as_task(dataset, spec.task)
  known, found = spec.class_names, dataset.class_names
  if spec.task == "multiclass" and not known:
    known = tuple(map(str, range(spec.outputs[0])))
  if known and spec.task in ("multiclass", "multitask"):
    dataset = classes.as_named(dataset, known)
  elif known and found and known != found:
    dataset = None
  if dataset is None:
    # A name, or those of one of several labels.
    theirs = ", ".join(map(str, found)) or "0 and above"
    own = ", ".join(map(str, known))
    raise UserError(
      f"The data has the classes {theirs}; the run {workdir} was trained on "
      f"{own}, and knows no others."
    )
  known, found = spec.target_names, dataset.target_names
  if known and found and known != found:
    raise UserError(
      f"{dataset.source} has the targets {', '.join(found)}; the run {workdir} "
      f"was trained on {', '.join(known)}, in this order."
    )
  return dataset


@contextlib.contextmanager
def _flags_named() -> Iterator[None]:
  """A block whose UserErrors name flags of programs in place of fields of a config."""
  try:
    yield
  except UserError as error:
    raise UserError(_as_flags(str(error))) from error


def _as_flags(text: str) -> str:
  for sentence, other in _SENTENCES.items():
    text = text.replace(sentence, other)
  text = re.sub(r"(?<![\w.])data\.task=\W?(\w+)\W? needs", r"the task \1 needs", text)
  fields = "|".join(FIELDS)
  return re.sub(rf"(?<![\w.])data\.({fields})\b", r"--config.data.\1", text)
