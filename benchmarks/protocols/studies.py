"""Studies beside the tables: gamma, the main modality and its order, speed.

Gamma and order are the shape of a published figure or table (Fig. 2 and 3, Table 8),
on other features and 752 samples: five folds by video, predictions pooled.
"""

import collections
import json
import pathlib
import tempfile
import time

import jax
import numpy as np

from mcr_jax import visualize
from mcr_jax.data import npz
from mcr_jax.runs import folds
from mcr_jax.runs.trainer import Trainer
from protocols import corpora, runs, tables

GAMMAS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6)
ORDERS = (
  ("text", "vision", "audio"),
  ("text", "audio", "vision"),
  ("audio", "vision", "text"),
  ("vision", "audio", "text"),
)
SPEED_EPOCHS = 7
CORPUS, CONFIG = "mosi_vectors_folds", "real_mosi_vectors"


def gamma(folder: pathlib.Path, out: pathlib.Path, overrides: tuple[str, ...]) -> None:
  """Every gamma and every seed in one program a fold; gamma 0 is no joint loss."""
  corpus, path = _data(folder, out)
  config = runs.settings(CONFIG, path, corpus, overrides)
  values = (0.0, *GAMMAS)
  members = [(g, seed) for g in values for seed in config.seeds]
  gammas, seeds = (np.array(column) for column in zip(*members, strict=True))
  per_split, kernels, programs = [], [], None
  with tempfile.TemporaryDirectory() as workdir:
    for number in range(len(corpus.splits)):
      # Members are told apart by their place: several share a seed.
      trainer = Trainer(
        folds.config_of(config, number),
        folds.folder(pathlib.Path(workdir), number),
        seeds=tuple(int(seed) for seed in seeds),
        numbers={"loss.gamma": gammas},
        programs=programs,
        verbose=False,
      )
      trainer.run()
      programs, loop = trainer.programs, trainer.loop
      rows = np.arange(len(corpus.dataset))
      per_split.append(loop.predict(loop.best, rows, rows))
      kernels.append(departure(loop.best[0]))
  row = tables.pool("MIA-Net", corpus, per_split)
  found = {k: np.array(v) for k, v in tables.scores(corpus, row).items()}
  found["departure from PSD"] = np.mean(kernels, 0)
  by_gamma = {k: v.reshape(len(values), -1) for k, v in found.items()}
  shown = ("mae", "acc2_non0", "departure from PSD")
  figure = visualize.depth(
    GAMMAS,
    {name: by_gamma[name][1:] for name in shown},
    title="MIA-Net on MOSI's vectors; dashed: without the joint loss",
    xlabel="gamma",
  )
  for axes, name in zip(figure.axes, shown, strict=True):
    axes.axhline(by_gamma[name][0].mean(), color="0.4", linestyle="--")
  figure.savefig(out / "gamma.png")
  columns = list(by_gamma)
  lines = ["### gamma", "", "| gamma | " + " | ".join(columns) + " |"]
  lines.append("| --- " * (len(columns) + 1) + "|")
  for place, value in enumerate(values):
    cells = [tables.cell(by_gamma[name][place]) for name in columns]
    label = f"{value}" if value else "no joint loss"
    lines.append(f"| {label} | " + " | ".join(cells) + " |")
  _write(out, "gamma", lines, {k: v.tolist() for k, v in by_gamma.items()})


def order(folder: pathlib.Path, out: pathlib.Path, overrides: tuple[str, ...]) -> None:
  """Table 8: the main modality first, the auxiliaries in the order they are read."""
  corpus, path = _data(folder, out)
  rows = []
  for main, *auxiliaries in ORDERS:
    label = " ".join((main, *auxiliaries))
    given = (
      f"--config.model.main={main}",
      f"--config.model.auxiliaries={tuple(auxiliaries)}",
    )
    config = runs.settings(CONFIG, path, corpus, (*overrides, *given))
    rows.append(runs.model(label, corpus, config, out / "order"))
  found = tables.document(corpus, rows, rows[0].name)
  text = tables.markdown("main modality and order", found)
  _write(out, "order", text.splitlines(), found)


def speed(folder: pathlib.Path, out: pathlib.Path, overrides: tuple[str, ...]) -> None:
  """MCR beside MulT on three modalities of words: size, memory and time of training.

  Memory is the compiler's plan for the steps with the longest sequences, of one seed:
  parameters, optimiser and data, and the temporary buffer. Epochs of the two models
  take turns, so that what else the machine does slows both.
  """
  corpus = corpora.CORPORA["mosi_text_timing_audio"](folder)
  path = out / "data" / "mosi_text_timing_audio.npz"
  npz.write(path, corpus.dataset)
  loops, found = {}, {}
  for label, name in {"MCR": "real_mosi_words", "MulT": "real_mosi_words:mult"}.items():
    config = runs.settings(name, path, corpus, (*overrides, "--config.seeds=(0,)"))
    with tempfile.TemporaryDirectory() as workdir:
      loop = Trainer(config, pathlib.Path(workdir), verbose=False).loop
    plan = loop.programs.run.lower(
      loop.state,
      loop.feed.source,
      np.zeros((1, loop.steps, config.train.batch_size), np.int32),
      0,
      1,
      loop.constants,
      phase=0,
      bounds=loop.feed.buckets[-1],
    )
    memory = plan.compile().memory_analysis()
    found[label] = {
      "parameters": sum(x.size for x in jax.tree.leaves(loop.state.params)),
      "held_MB": memory.argument_size_in_bytes / 1e6,
      "temporary_MB": memory.temp_size_in_bytes / 1e6,
      "seconds": [],
    }
    loops[label] = loop
  for number in range(1, SPEED_EPOCHS + 2):
    for label, loop in loops.items():
      began = time.monotonic()
      plan = loop.samples.epoch(loop.rows["train"], loop.seeds, number, 1)
      calls = loop.feed.steps(loop.state, plan, 0, loop.constants)
      ((state, _),) = collections.deque(calls, 1)
      loop.state = jax.block_until_ready(state)
      found[label]["seconds"].append(time.monotonic() - began)
  lines = ["### MCR and MulT, one seed, MOSI words, three modalities", ""]
  lines.append(
    "| model | parameters | held MB | temporary MB | s an epoch [min, max] |"
  )
  lines.append("| --- | --- | --- | --- | --- |")
  for label, facts in found.items():
    # The first epoch compiles.
    times = facts["seconds"] = facts["seconds"][1:]
    lines.append(
      f"| {label} | {facts['parameters']:,} | {facts['held_MB']:.1f} "
      f"| {facts['temporary_MB']:.1f} "
      f"| {np.median(times):.2f} [{min(times):.2f}, {max(times):.2f}] |"
    )
  _write(out, "speed", lines, found)


STUDIES = {"gamma": gamma, "order": order, "speed": speed}


def departure(params) -> np.ndarray:
  """(S,) how far the kernels are from positive semi-definite ones, L_KRL's value.

  The sum over modules of |W - W^T| and twice the negative eigenvalues of (W + W^T)/2.
  """
  total = 0.0
  for name, module in params.items():
    if name.startswith("module_"):
      w = np.asarray(module["kernel"]["W"], float)
      turned = w.swapaxes(-1, -2)
      eigenvalues = np.linalg.eigvalsh((w + turned) / 2)
      total += np.abs(w - turned).sum((-1, -2))
      total += np.abs(eigenvalues - np.abs(eigenvalues)).sum(-1)
  return total


def _data(folder, out):
  corpus = corpora.CORPORA[CORPUS](folder)
  path = out / "data" / f"{CORPUS}.npz"
  npz.write(path, corpus.dataset)
  return corpus, path


def _write(out, name, lines, found):
  (out / f"{name}.md").write_text("\n".join(lines) + "\n")
  (out / f"{name}.json").write_text(json.dumps(found, indent=1))
  print("\n".join(lines), flush=True)
