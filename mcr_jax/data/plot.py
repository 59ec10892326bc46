"""Draws a data set: lengths by modality, and labels by split."""

import os

import numpy as np

from mcr_jax.data.schema import SPLITS, Dataset
from mcr_jax.errors import UserError


def check_name(path: str | os.PathLike) -> None:
  """Raises UserError where no figure could be saved under this name."""
  known = _figure().canvas.get_supported_filetypes()
  if os.path.splitext(path)[1][1:].lower() not in known:
    raise UserError(f"{path} is no picture; its ending may be {', '.join(known)}.")


def draw(dataset: Dataset, path: str | os.PathLike) -> None:
  """Writes one figure; its format is that of the name's ending."""
  sequences = {k: x for k, x in dataset.modalities.items() if not x.vector}
  panels = len(sequences) + (dataset.labels is not None)
  if not panels:
    raise UserError(f"{dataset.source} has neither sequences nor labels to draw.")
  figure = _figure(figsize=(4 * panels, 3), layout="constrained")
  axes = figure.subplots(1, panels, squeeze=False)[0]
  for axis, (name, modality) in zip(axes, sequences.items(), strict=False):
    longest = max(1, int(modality.lengths.max(initial=0)))
    # A bar a length, or a whole number of lengths.
    wide = -(-(longest + 1) // 40)
    edges = np.arange(0, longest + 1 + wide, wide) - 0.5
    axis.hist(modality.lengths, edges, color="0.4")
    axis.set(title=f"{name}, {modality.width} features", xlabel="steps")
  if dataset.labels is not None:
    _labels(dataset, axes[-1])
  axes[0].set_ylabel("samples")
  for axis in axes:
    axis.yaxis.get_major_locator().set_params(integer=True)
  try:
    figure.savefig(path, dpi=150)
  except (OSError, ValueError, OverflowError) as error:
    raise UserError(f"{path} cannot be drawn: {error}") from None


def _figure(**options):
  try:
    from matplotlib.figure import Figure
  except ImportError:
    raise UserError("--plot needs matplotlib: pip install mcr_jax[viz].") from None
  return Figure(**options)


def _labels(dataset, axis):
  labels, names = np.asarray(dataset.labels), list(dataset.class_names)
  if dataset.task == "multitask":
    # A bar for every class of every label: as if each were a yes or no.
    labels = np.concatenate(
      [labels[:, [k]] == np.arange(len(own)) for k, own in enumerate(names)], 1
    )
    names = [name for own in names for name in own]
  groups = [("all", np.arange(len(dataset)))]
  if dataset.splits is not None:
    groups = [(x, dataset.indices(x)) for x in SPLITS if (dataset.splits == x).any()]
  if labels.dtype.kind == "f" and labels.ndim == 1:
    finite = np.isfinite(labels)
    bins = np.histogram_bin_edges(labels[finite].astype(np.float64), 14)
    drawn = [labels[r][finite[r]] for _, r in groups]
    axis.hist(drawn, bins, label=[x for x, _ in groups])
    axis.set(title="labels", xlabel="value")
  else:
    counts = labels.shape[1] if labels.ndim == 2 else max(len(names), labels.max() + 1)
    places = np.arange(counts)
    for i, (split, rows) in enumerate(groups):
      x = labels[rows]
      heights = x.sum(0) if x.ndim == 2 else np.bincount(x, minlength=counts)
      axis.bar(places + 0.25 * (i - 1), heights, 0.25, label=split)
    axis.set(title="labels")
    axis.set_xticks(places, names if len(names) == counts else places, rotation=45)
  axis.legend()
