"""Training: from a config to a finished workdir."""

import difflib
import json
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from mcr_jax import config as configs
from mcr_jax import evaluators, losses, metrics
from mcr_jax.data import schedule as schedules
from mcr_jax.data.load import check_fits, digest
from mcr_jax.data.schema import SPLITS
from mcr_jax.errors import NonFiniteLoss, UserError
from mcr_jax.run import Run, load_run
from mcr_jax.training import mesh as meshes
from mcr_jax.training import selection as selections
from mcr_jax.training import setup, workspace
from mcr_jax.training.checkpoint import Checkpoints
from mcr_jax.training.feed import make_feed
from mcr_jax.training.programs import Programs
from mcr_jax.training.progress import Progress
from mcr_jax.training.signals import Signals
from mcr_jax.training.state import fresh_tally
from mcr_jax.training.transfer import start_from
from mcr_jax.training.writer import Writer, describe


def train(
  config: ConfigDict, workdir: str | Path, *, resume: bool = False, verbose: bool = True
) -> Run:
  """Trains all seeds of a config, evaluates the best of each, and returns the run.

  Args:
    config: see `mcr_jax.config`; incomplete ones are completed with the defaults.
    workdir: folder of the run; a finished run of the same config is only loaded.
    resume: go on with an unfinished run.
    verbose: print a line an epoch and the final tables.

  Raises:
    UserError: a mistake in the config, the data or the folder.
    NonFiniteLoss: names seed, epoch and step.
    Interrupted: SIGINT or SIGTERM, after a checkpoint.
  """
  config, workdir = configs.complete(config), Path(workdir)
  status = workspace.status(workdir, config, resume)
  if status == "finished":
    if verbose:
      print(f"{workdir} is finished already: nothing to do.", flush=True)
    return load_run(workdir)
  trainer = Trainer(config, workdir, verbose=verbose)
  trainer.start(resume=status == "resume")
  trainer.run()
  return trainer.finish()


class Trainer:
  """One run, from its data to its last epoch."""

  def __init__(
    self, config: ConfigDict, workdir: Path, *, seeds=None, hyper=None, verbose=True
  ):
    """Reads the data and builds the programs; writes nothing yet.

    Args:
      config: complete.
      workdir: folder of the run.
      seeds: (S,) of the members; those of the config where not given.
      hyper: name -> (S,) numbers that differ between the members of one program, such
        as "optim.lr", "loss.gamma" or "model.residual_dropout".
      verbose: see `train`.
    """
    self.config, self.workdir, self.verbose = config, workdir, verbose
    self.seeds = tuple(config.seeds if seeds is None else seeds)
    self.mesh = meshes.make(config.mesh.seed, config.mesh.data)
    if len(self.seeds) % self.mesh.shape["seed"]:
      raise UserError(
        f"mesh.seed={self.mesh.shape['seed']} must divide the {len(self.seeds)} seeds."
      )
    before = load_run(config.train.init_from) if config.train.init_from else None
    dataset = setup.read_data(config)
    room = dict(config.data.lengths)
    if before is not None:
      before.check_features(dataset)
      room = {**before.shape.lengths, **room}
    self.shape = setup.Shape.of(dataset, room, config.evals.metrics)
    check_fits(dataset, self.shape.lengths)
    self.normalizer = (
      before.normalizer if before else setup.normalizer_of(config, dataset)
    )
    self.ids, self.labels = dataset.ids, dataset.labels
    self.rows = {split: dataset.indices(split) for split in SPLITS}
    self.steps = -(-len(self.rows["train"]) // config.train.batch_size)
    self.facts = {
      "digest": digest(dataset),
      "source": dataset.source,
      "notes": [*dataset.notes, *self.normalizer.notes],
    }
    self.loss = losses.resolve(config.loss.name, dataset.task)
    self.programs = Programs(
      setup.build_model(config, self.shape),
      config,
      self.mesh,
      loss=self.loss,
      total_steps=self.steps * config.train.epochs,
      class_weights=setup.class_weights(config, dataset),
    )
    buckets, self.bucket = setup.make_buckets(config, dataset, self.shape)
    self.feed = make_feed(
      self.programs, config, dataset, self.shape, self.normalizer, buckets
    )
    self._create(before, hyper or {})
    self.selection = selections.start(len(self.seeds))
    self.epoch, self.position = 1, 0
    self.checkpoints = Checkpoints(workdir)
    self.writer = Writer(workdir, self.seeds)
    self.signals, self.progress = Signals(), None
    self._saved = time.monotonic()

  def start(self, *, resume: bool) -> None:
    """Claims the folder, or picks up where the last checkpoint of its run stands."""
    if resume:
      self._check_same_data()
      self._restore()
      return
    self.workdir.mkdir(parents=True, exist_ok=True)
    self._describe(finished=False)
    self.normalizer.save(self.workdir / "normalization.npz")
    # Last: a folder with a config is a run.
    self.writer.write_text("config.json", configs.to_json(self.config))
    for note in self.facts["notes"]:
      self._say(f"note: {note}")

  def run(self) -> None:
    """All epochs that are left."""
    epochs = self.config.train.epochs
    done = (self.epoch - 1) * self.steps + self.position
    shown = self.verbose and jax.process_index() == 0
    with (
      self.signals,
      Progress(epochs * self.steps, done=done, enabled=shown) as self.progress,
    ):
      while self.epoch <= epochs and self.selection["active"].any():
        self._one_epoch()

  def finish(self) -> Run:
    """Evaluates the best of every seed and marks the run as finished."""
    self._save()
    run = Run(
      self.workdir, self.config, self.shape, self.normalizer, self.best, self.seeds
    )
    for split in self.config.evals.splits:
      rows = self.rows[split]
      predictions = self._predict(self.best, rows)
      results = run.summarise(self.labels[rows], predictions)
      if jax.process_index() == 0:
        evaluators.write(
          self.workdir, split, results, self.ids[rows], self.labels[rows], predictions
        )
      self._say("\n" + evaluators.table(results, split))
    self._describe(finished=True)
    self.writer.close()
    return run

  def _create(self, before: Run | None, hyper) -> None:
    """The state before the first step, of every seed."""
    numbers = {"optim.lr": self.config.optim.lr, "loss.gamma": self.config.loss.gamma}
    numbers = {k: np.full(len(self.seeds), v) for k, v in numbers.items()} | hyper
    numbers = {k: np.asarray(v, np.float32) for k, v in numbers.items()}
    self.state = self.programs.create(self.feed.example(), self.seeds, numbers)
    if before is not None:
      self.state = start_from(before, self.state, self.shape)
    self.best = self.programs.copy((self.state.params, self.state.stats))

  def _one_epoch(self) -> None:
    began = time.monotonic()
    train = self.rows["train"]
    plan = schedules.epoch_schedule(
      train, self.bucket[train], self.config.train.batch_size, self.seeds, self.epoch
    )
    plan = plan.padded(self.mesh.shape["data"])
    self.state = self.feed.train(self.state, plan, self.position, self._after_call)
    self._check_finite()
    active = self.selection["active"]
    scores = self._validate()
    monitor = self.config.train.monitor
    self.selection, improved = selections.observe(
      self.selection,
      scores[monitor],
      self.epoch,
      metrics.higher_is_better(monitor),
      self.config,
    )
    self.best = self.programs.keep_best(
      self.best, (self.state.params, self.state.stats), improved
    )
    tally = self.state.tally
    mean = np.asarray(tally["task"]) / np.maximum(np.asarray(tally["weight"]), 1e-12)
    values = {"train/loss": np.where(active, mean, np.nan)}
    values |= {f"valid/{name}": value for name, value in scores.items()}
    values |= {"best/epoch": self.selection["epoch"]}
    values |= {"seconds": time.monotonic() - began}
    reasons = {} if active.all() else {"train/loss": "null: that seed stopped early"}
    note = self.progress.note()
    self.writer.write(self.epoch, values, reasons=reasons, note=note, log=self.verbose)
    self._turn_the_page()
    self._between_calls()

  def _turn_the_page(self) -> None:
    """What the host decided goes to the device; a new epoch sums from zero."""
    place = lambda x: meshes.place(self.mesh, x, self.programs.by_seed.spec)
    zeros = lambda x: np.broadcast_to(np.asarray(x), (len(self.seeds),))
    self.state = self.state.replace(
      active=place(self.selection["active"]),
      lr_scale=place(self.selection["lr_scale"]),
      tally=place(jax.tree.map(zeros, fresh_tally())),
    )
    self.epoch, self.position = self.epoch + 1, 0

  def _after_call(self, state, position: int) -> None:
    self.progress.update(
      position - self.position, f"epoch {self.epoch}/{self.config.train.epochs}"
    )
    self.state, self.position = state, position
    # The last call of an epoch is followed by its validation, then by this.
    if position < self.steps:
      self._between_calls()

  def _between_calls(self) -> None:
    """The clock of checkpoints, and signals."""
    waited = time.monotonic() - self._saved
    if self.signals.number or waited > self.config.train.checkpoint_seconds:
      self._save()
    if self.signals.number:
      self.writer.close()
      raise self.signals.interrupted(
        f"Epoch {self.epoch}, step {self.position} of {self.steps} is saved in "
        f"{self.workdir}: go on with --resume."
      )

  def _validate(self) -> dict[str, np.ndarray]:
    """Loss and metrics (S,) of the current parameters on the validation split."""
    rows = self.rows["valid"]
    labels = self.labels[rows]
    predictions = self._predict((self.state.params, self.state.stats), rows)
    loss = lambda p: losses.per_example(self.loss, p, labels).mean()
    scores = {"loss": np.array([loss(jnp.asarray(p)) for p in predictions])}
    names = self.shape.class_names
    reports = [
      metrics.compute(self.shape.scheme, p, labels, names) for p in predictions
    ]
    for name in reports[0].values:
      scores[name] = np.array([report.values[name] for report in reports])
    monitor = self.config.train.monitor
    if monitor not in scores:
      near = difflib.get_close_matches(monitor, list(scores), n=1, cutoff=0.0)[0]
      raise UserError(
        f"train.monitor={monitor!r} is no metric of this task; the nearest is "
        f"{near!r}. There are {', '.join(scores)}."
      )
    return scores

  def _predict(self, variables, rows: np.ndarray) -> np.ndarray:
    """(S, N, *outputs) in the order of `rows`."""
    size = self.config.train.eval_batch_size or self.config.train.batch_size
    plan = schedules.fixed_schedule(rows, self.bucket[rows], size)
    plan = plan.padded(self.mesh.shape["data"])
    found = np.concatenate(list(self.feed.predictions(variables, plan)), 1)
    return plan.in_order(found, rows)

  def _check_finite(self) -> None:
    steps = np.asarray(self.state.tally["bad_step"])
    bad = np.flatnonzero(steps >= 0)
    if len(bad):
      step = int(steps[bad].min())
      seeds = ", ".join(str(self.seeds[i]) for i in bad)
      raise NonFiniteLoss(
        f"The loss of seed {seeds} is not finite, first in epoch "
        f"{step // self.steps + 1}, step {step % self.steps + 1}. Lower optim.lr, set "
        "optim.clip, or look for outliers with `python -m mcr_jax.data inspect`."
      )

  def _save(self) -> None:
    self._check_finite()
    step = (self.epoch - 1) * self.steps + self.position
    meta = {"epoch": self.epoch, "position": self.position}
    best = {"params": self.best[0], "stats": self.best[1]}
    # `best` first, so that `last` never promises more than there is.
    self.checkpoints.save_best(
      step, best, meta | {"epochs": self.selection["epoch"].tolist()}
    )
    tree = {"state": self.state, "best": best, "selection": self.selection}
    self.checkpoints.save_last(step, tree, meta)
    self._saved = time.monotonic()

  def _restore(self) -> None:
    on_device = lambda x: jax.ShapeDtypeStruct(
      x.shape, x.dtype, sharding=self.programs.by_seed
    )
    on_host = lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype)
    best = {"params": self.best[0], "stats": self.best[1]}
    template = {
      "state": jax.tree.map(on_device, self.state),
      "best": jax.tree.map(on_device, best),
      "selection": jax.tree.map(on_host, self.selection),
    }
    restored = self.checkpoints.restore_last(template)
    self.checkpoints.forget_after(restored.step if restored else -1)
    if restored is not None:
      self.state, self.selection = restored.tree["state"], restored.tree["selection"]
      self.best = (restored.tree["best"]["params"], restored.tree["best"]["stats"])
      self.epoch, self.position = restored.meta["epoch"], restored.meta["position"]
    self.writer.truncate_after(self.epoch - 1)
    self._say(f"going on at epoch {self.epoch}, step {self.position} of {self.steps}")

  def _check_same_data(self) -> None:
    before = json.loads((self.workdir / "run.json").read_text())["data"]["digest"]
    if before != self.facts["digest"]:
      raise UserError(
        f"The data of {self.workdir} has changed since it began (digest "
        f"{before[:12]}, now {self.facts['digest'][:12]}): a resumed run would mix two."
      )

  def _describe(self, *, finished: bool) -> None:
    self.writer.write_json(
      "run.json",
      {
        **describe(),
        "data": self.facts,
        "shape": self.shape.to_json(),
        "seeds": list(self.seeds),
        "finished": finished,
      },
    )

  def _say(self, line: str) -> None:
    if self.verbose:
      self.writer.log(line)
