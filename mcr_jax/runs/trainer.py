"""One run in its folder: from a data set to the results of its best epochs.

`training/loop.py` computes; what a run does around it stands here, in its order.
"""

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
from ml_collections import ConfigDict

from mcr_jax import config as configs
from mcr_jax import evaluators, native
from mcr_jax.data.schema import Dataset
from mcr_jax.errors import NonFiniteLoss, UserError
from mcr_jax.hosts import distributed
from mcr_jax.hosts import mesh as meshes
from mcr_jax.hosts.signals import Signals
from mcr_jax.runs import inputs
from mcr_jax.runs import origin as origins
from mcr_jax.runs import verdict as verdicts
from mcr_jax.runs.build import loop_of
from mcr_jax.runs.checkpoint import Checkpoints
from mcr_jax.runs.progress import Progress, Waiting, duration
from mcr_jax.runs.run import Run
from mcr_jax.runs.shared import Shared
from mcr_jax.runs.writer import Writer, describe, read
from mcr_jax.training.loop import Called, Epoch
from mcr_jax.training.programs import Programs

TELLING = 60.0  # seconds of a run that are worth a line before they are spent


class Trainer:
  """One run, from its data to its last epoch."""

  def __init__(
    self,
    config: ConfigDict,
    workdir: Path,
    read: Callable[[], Dataset] | None = None,
    *,
    seeds=None,
    numbers=None,
    programs: Programs | Shared | None = None,
    capacity: int = 0,
    verbose: bool = True,
  ):
    """Builds the programs; writes nothing yet.

    Args:
      config: complete.
      workdir: folder of the run.
      read: gives the data set, whose features go to the device; that of the config
        where not given.
      seeds: (S,) of the members; those of the config where not given.
      numbers: name -> (S,) that differ between the members of one program, see
        `recipe.numbers_of`.
      programs: of another run with the same recipe, to compile nothing again; or where
        they are kept for the run that has it.
      capacity: steps of an epoch that programs have room for, see `feed.Resident`.
      verbose: print a line an epoch and the final tables.
    """
    self.config, self.workdir, self.verbose = config, workdir, verbose
    self.seeds = tuple(config.seeds if seeds is None else seeds)
    mesh = meshes.make(config.mesh.seed, config.mesh.data)
    if len(self.seeds) % mesh.shape["seed"]:
      raise UserError(
        f"mesh.seed={mesh.shape['seed']} must divide the {len(self.seeds)} seeds."
      )
    dataset = read() if read else inputs.read_data(config)
    origin = origins.find(config, workdir, dataset, self.seeds)
    self.spec, self.normalizer = origin.spec, origin.normalizer
    self.facts = origin.facts
    distributed.check_same(data=self.facts["data"]["digest"])
    if not isinstance(programs, Programs):
      programs = (programs or Shared()).of(config, self.spec, mesh)
    self.programs = programs
    self.ids, self.labels = dataset.ids, dataset.labels
    # From here on only the feed knows the features, and frees those that it copies.
    features = dict(dataset.modalities)
    dataset = dataclasses.replace(dataset, modalities={})
    self.loop, self.rows = loop_of(
      self.programs,
      dataset,
      features,
      self.normalizer,
      self.seeds,
      numbers=numbers or {},
      pretrained=origin.pretrained,
      capacity=capacity,
    )
    self.checkpoints = Checkpoints(workdir)
    self.writer = Writer(workdir, self.seeds)
    self.signals, self.progress = Signals(), None
    self._saved = time.monotonic()
    self._cost_told = False

  def start(self, *, resume: bool) -> None:
    """Claims the folder, or picks up where the last checkpoint of its run stands."""
    if resume:
      self._restore()
      return
    # A process that still looks for a run in the folder must not find half of one.
    distributed.wait("all processes have read the workdir")
    self.workdir.mkdir(parents=True, exist_ok=True)
    self.writer.write_facts(self.facts | {"finished": False})
    if jax.process_index() == 0:
      self.normalizer.save(self.workdir / "normalization.npz")
    # Last: a folder with a config is a run.
    self.writer.write_text("config.json", configs.to_json(self.config))
    params = jax.tree.leaves(self.loop.state.params)
    count = sum(x.size for x in params) // len(self.seeds)
    samples = min(self.config.train.batch_size, len(self.rows["train"][0]))
    self._say(
      f"{self.config.model.name}: {count:,} parameters a seed; an epoch is "
      f"{self.loop.steps:,} steps of {samples} samples"
    )
    for note in self.facts["data"]["notes"]:
      self._say(f"note: {note}")

  @distributed.together()
  def run(self) -> None:
    """All epochs that are left."""
    loop, shown = self.loop, self.verbose and jax.process_index() == 0
    with (
      self.signals,
      Progress(loop.total, done=loop.done, enabled=shown) as self.progress,
      Waiting(self._say) as clock,
    ):
      for event in loop.events():
        clock.over()
        if isinstance(event, Called):
          self._after_call(event)
        else:
          self._after_epoch(event)

  @distributed.together()
  def finish(self) -> Run:
    """Evaluates the best of every seed and marks the run as finished."""
    # Off the mesh: predictions of the run that is returned take one device.
    best = jax.device_put(jax.tree.map(meshes.fetch, self.loop.best))
    run = Run(
      self.workdir,
      self.config,
      self.spec,
      self.normalizer,
      best,
      self.seeds,
      digest=self.facts["data"]["digest"],
      chosen=self.chosen,
      extract=self.facts["data"].get("extract"),
    )
    with self.signals:
      self._save()
      for split in self.config.evals.splits:
        self._evaluate(run, split)
        (number,) = distributed.largest(self.signals.number or 0)
        if number:
          self._stop(number, "Only evaluations are missing")
    verdict = self._verdict()
    ending = {"native_fallbacks": dict(native.fallbacks), "finished": True}
    ending |= {"chosen": self.chosen, "verdict": verdict}
    self.writer.write_facts(self.facts | ending)
    self.writer.close()
    if verdict:
      self._say("\n" + "\n".join(verdict))
    distributed.wait("the files of the run are whole")
    return run

  @property
  def chosen(self) -> tuple[bool, ...]:
    """(S,) whether validation chose the epoch that is kept of a seed."""
    return tuple((~np.isnan(self.loop.selection["value"])).tolist())

  def _verdict(self) -> list[str]:
    """What the curves say; only the process that writes them knows."""
    if jax.process_index() or not self.writer.metrics.is_file():
      return []
    entries = read(self.writer.metrics)
    return verdicts.sentences(entries, self.config, self.seeds)

  def _after_call(self, event: Called) -> None:
    loop = self.loop
    text = f"epoch {loop.epoch}/{self.config.train.epochs}"
    self.progress.update(event.steps, text)
    self._tell_cost()
    if event.last:
      self._check_finite()
      return  # its validation comes first
    every = self.config.train.steps_per_call or distributed.STEPS
    before = loop.position - event.steps
    if jax.process_count() == 1 or loop.position // every > before // every:
      self._between_events()

  def _tell_cost(self) -> None:
    """Once, as soon as the speed is known: what the whole run is going to take."""
    left = self.progress.seconds_left()
    if self._cost_told or left is None or self.loop.epoch > 1:
      return
    self._cost_told = True
    if left > TELLING and self.progress.note():
      patience = self.config.train.patience
      early = f", or less where it stops early (train.patience={patience})"
      self._say(
        f"about {duration(left)} at this speed for {self.config.train.epochs} epochs"
        + early * bool(patience)
      )

  def _after_epoch(self, event: Epoch) -> None:
    self.writer.write(event.number, event.values, reasons=event.reasons)
    self._say(self._line(event))
    if event.first:
      self.progress.warm()
    self._between_events()

  def _line(self, event: Epoch) -> str:
    """What a reader follows of an epoch; metrics.jsonl has everything."""
    parts = [f"epoch {event.number}/{self.config.train.epochs}"]
    shown = [f"valid/{name}" for name in self.loop.validation.shown]
    for name in ("train/loss", *shown):
      found = event.values[name][~np.isnan(event.values[name])]
      mean = f"{found.mean():.4g}" if len(found) else "undefined"
      spread = f" +- {found.std(ddof=1):.2g}" if len(found) > 1 else ""
      parts.append(f"{name} {mean}{spread}")
    best = " ".join(map(str, event.values["best/epoch"]))
    seconds = f"{event.values['seconds']:.1f} s"
    parts += [f"best epoch {best}", seconds, self.progress.note()]
    return "  ".join(filter(None, parts))

  def _between_events(self) -> None:
    """The clock of checkpoints, and signals."""
    waited = time.monotonic() - self._saved
    due, number = distributed.largest(
      int(waited > self.config.train.checkpoint_seconds), self.signals.number or 0
    )
    if due or number:
      self._save()
    if number:
      done, total = self.loop.done, self.loop.total
      self._stop(number, f"{done} of {total} steps are done and saved")

  def _stop(self, number: int, where: str) -> None:
    self.writer.close()
    self.signals.number = number
    raise self.signals.interrupted(
      f"{where}; go on with --resume and --workdir {self.workdir}."
    )

  def _evaluate(self, run: Run, split: str) -> None:
    samples, rows = self.rows[split]
    predictions = self.loop.predict(self.loop.best, samples, rows)
    results = run.summarise(self.labels[rows], predictions)
    if jax.process_index() == 0:
      evaluators.write(
        self.workdir, split, results, self.ids[rows], self.labels[rows], predictions
      )
    self._say("\n" + evaluators.table(results, split))

  def _check_finite(self) -> None:
    steps = self.loop.steps
    bad = [
      f"seed {seed} in epoch {step // steps + 1}, step {step % steps + 1}"
      for seed, step in zip(self.seeds, self.loop.bad_steps().tolist(), strict=True)
      if step >= 0
    ]
    if bad:
      self.writer.close()
      raise NonFiniteLoss(
        f"The loss or its gradient is not finite: {'; '.join(bad)}. Lower optim.lr, "
        "set optim.clip, or look for outliers with `python -m mcr_jax.data inspect`."
      )

  def _save(self) -> None:
    self._check_finite()
    loop = self.loop
    meta = {"epoch": loop.epoch, "position": loop.position}
    tree, chosen = loop.tree(), loop.selection["epoch"]
    # `best` first, so that `last` never promises more than there is. Before the first
    # validation nothing is best.
    if chosen.all():
      best = meta | {"epochs": chosen.tolist()}
      self.checkpoints.save_best(loop.done, tree["best"], best)
    self.checkpoints.save_last(loop.done, tree, meta)
    self._saved = time.monotonic()

  def _restore(self) -> None:
    restored = self.checkpoints.restore_last(self.loop.template())
    self.checkpoints.forget_after(restored.step if restored else -1)
    if restored is not None:
      self.loop.restore(restored.tree, **restored.meta)
    self.writer.truncate_after(self.loop.epoch - 1)
    self.facts["resumed"] = [*self.facts.get("resumed", []), describe()]
    # A run that was finished goes on with another config where it asks for more epochs.
    self.writer.write_facts(self.facts | {"finished": False})
    self.writer.write_text("config.json", configs.to_json(self.config))
    if not self.loop.selection["active"].any():
      self._say(
        f"every seed had stopped early (train.patience={self.config.train.patience}): "
        "more epochs change nothing"
      )
    where = f"epoch {self.loop.epoch}, step {self.loop.position} of {self.loop.steps}"
    self._say(f"going on at {where}")

  def _say(self, line: str) -> None:
    if self.verbose:
      self.writer.log(line)
