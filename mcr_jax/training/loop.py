"""Training: from a config to a finished workdir.

What a run does, in its order, on one page; how it does each thing is elsewhere.
"""

import time
from pathlib import Path

import jax
import numpy as np
from ml_collections import ConfigDict

from mcr_jax import allocator, evaluators, losses, native
from mcr_jax import config as configs
from mcr_jax.data import schedule as schedules
from mcr_jax.data.schema import SPLITS
from mcr_jax.errors import NonFiniteLoss, UserError
from mcr_jax.hosts import distributed
from mcr_jax.hosts import mesh as meshes
from mcr_jax.hosts.signals import Signals
from mcr_jax.runs import origin as origins
from mcr_jax.runs import workspace
from mcr_jax.runs.checkpoint import Checkpoints
from mcr_jax.runs.run import Run, load_run
from mcr_jax.runs.transfer import start_from
from mcr_jax.runs.writer import Writer, describe
from mcr_jax.training import selection as selections
from mcr_jax.training import setup
from mcr_jax.training.feed import make_feed
from mcr_jax.training.programs import Programs
from mcr_jax.training.progress import Progress
from mcr_jax.training.state import fresh_tally
from mcr_jax.training.step import check_hyper
from mcr_jax.training.validation import Validation


@distributed.together()
def train(
  config: ConfigDict,
  workdir: str | Path,
  *,
  resume: bool = False,
  attention_may_change: bool = False,
  verbose: bool = True,
) -> Run:
  """Trains all seeds of a config, evaluates the best of each, and returns the run.

  Args:
    config: see `mcr_jax.config`; incomplete ones are completed with the defaults.
    workdir: folder of the run; a finished run of the same config is only loaded.
    resume: go on with an unfinished run.
    attention_may_change: also where its native kernels are not to be had.
    verbose: print a line an epoch and the final tables.

  Raises:
    UserError: a mistake in the config, the data or the folder.
    NonFiniteLoss: names seed, epoch and step.
    Interrupted: SIGINT or SIGTERM, after a checkpoint.
  """
  config, workdir = configs.complete(config), Path(workdir)
  status = workspace.status(
    workdir, config, resume, attention_may_change=attention_may_change
  )
  distributed.check_same(
    config=configs.to_json(config), state_of_the_workdir=f"{workdir} {status}"
  )
  if status == "finished":
    if verbose and jax.process_index() == 0:
      print(f"{workdir} is finished already: nothing to do.", flush=True)
    return load_run(workdir)
  trainer = Trainer(config, workdir, verbose=verbose)
  with workspace.claim(workdir):
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
      hyper: name -> (S,) numbers that differ between the members of one program:
        see `step.check_hyper`.
      verbose: see `train`.
    """
    setup.check(config)
    self.config, self.workdir, self.verbose = config, workdir, verbose
    self.seeds = tuple(config.seeds if seeds is None else seeds)
    self.mesh = meshes.make(config.mesh.seed, config.mesh.data)
    if len(self.seeds) % self.mesh.shape["seed"]:
      raise UserError(
        f"mesh.seed={self.mesh.shape['seed']} must divide the {len(self.seeds)} seeds."
      )
    dataset = setup.read_data(config)
    origin = origins.find(config, workdir, dataset, self.seeds)
    self.shape, self.normalizer = origin.shape, origin.normalizer
    self.facts = origin.facts
    distributed.check_same(data=self.facts["data"]["digest"])
    self.ids, self.labels = dataset.ids, dataset.labels
    self.rows = {split: dataset.indices(split) for split in SPLITS}
    # No more rows a batch than the data set has.
    self.batch_size = min(config.train.batch_size, len(dataset))
    self.steps = -(-len(self.rows["train"]) // self.batch_size)
    loss = losses.resolve(config.loss.name, dataset.task)
    self.validation = Validation(
      loss, self.shape, self.labels[self.rows["valid"]], config.train.monitor
    )
    self.programs = Programs(
      setup.build_model(config, self.shape),
      config,
      self.mesh,
      loss=loss,
      total_steps=self.steps * config.train.epochs,
      class_weights=setup.class_weights(config, dataset),
    )
    buckets, self.bucket = setup.make_buckets(config, dataset, self.shape)
    self.feed = make_feed(
      self.programs, config, dataset, self.shape, self.normalizer, buckets
    )
    self._create(origin.pretrained, hyper or {})
    self.selection = selections.start(len(self.seeds))
    self.epoch, self.position = 1, 0
    self.checkpoints = Checkpoints(workdir)
    self.writer = Writer(workdir, self.seeds)
    self.signals, self.progress = Signals(), None
    self._cold = True  # nothing is compiled
    self._saved = time.monotonic()

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
    for note in self.facts["data"]["notes"]:
      self._say(f"note: {note}")

  @distributed.together()
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

  @distributed.together()
  def finish(self) -> Run:
    """Evaluates the best of every seed and marks the run as finished."""
    # Off the mesh: predictions of the run that is returned take one device.
    best = jax.device_put(jax.tree.map(meshes.fetch, self.best))
    run = Run(
      self.workdir,
      self.config,
      self.shape,
      self.normalizer,
      best,
      self.seeds,
      digest=self.facts["data"]["digest"],
    )
    with self.signals:
      self._save()
      for split in self.config.evals.splits:
        self._evaluate(run, split)
        (number,) = distributed.largest(self.signals.number or 0)
        if number:
          self._stop(number, "Only evaluations are missing")
    ending = {"native_fallbacks": dict(native.fallbacks), "finished": True}
    self.writer.write_facts(self.facts | ending)
    self.writer.close()
    distributed.wait("the files of the run are whole")
    return run

  def _create(self, before: Run | None, hyper) -> None:
    """The state before the first step, of every seed."""
    check_hyper(self.programs.model, hyper)
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
      train, self.bucket[train], self.batch_size, self.seeds, self.epoch
    )
    # Every device gets an equal share of every part of a batch.
    plan = plan.padded(self.mesh.shape["data"] * self.config.optim.accumulate)
    self.state = self.feed.train(self.state, plan, self.position, self._after_call)
    self._check_finite()
    active = self.selection["active"]
    variables = (self.state.params, self.state.stats)
    scores, reasons = self.validation(self._predict(variables, self.rows["valid"]))
    self.selection, improved = selections.observe(
      self.selection,
      scores[self.validation.monitor],
      self.epoch,
      self.validation.higher,
      self.config,
    )
    self.best = self.programs.keep_best(self.best, variables, improved)
    task, weight = (meshes.fetch(self.state.tally[k]) for k in ("task", "weight"))
    values = {"train/loss": np.where(active, task / np.maximum(weight, 1e-12), np.nan)}
    values |= {f"valid/{name}": value for name, value in scores.items()}
    values |= {"best/epoch": self.selection["epoch"]}
    values |= {"seconds": time.monotonic() - began}
    reasons = {f"valid/{name}": why for name, why in reasons.items()}
    if not active.all():
      reasons["train/loss"] = "null: that seed stopped early"
    self.writer.write(self.epoch, values, reasons=reasons)
    self._say(self._line(values))
    if self._cold:
      self._cold = False
      self.progress.warm()
      allocator.release_fragments()  # left by the programs of the validation
    self._start_next_epoch()
    self._between_calls()

  def _line(self, values: dict[str, np.ndarray]) -> str:
    """What a reader follows of an epoch; metrics.jsonl has everything."""
    parts = [f"epoch {self.epoch}/{self.config.train.epochs}"]
    for name in ("train/loss", *(f"valid/{name}" for name in self.validation.shown)):
      found = values[name][~np.isnan(values[name])]
      mean = f"{found.mean():.4g}" if len(found) else "undefined"
      spread = f" +- {found.std(ddof=1):.2g}" if len(found) > 1 else ""
      parts.append(f"{name} {mean}{spread}")
    best = " ".join(map(str, self.selection["epoch"]))
    parts += [f"best epoch {best}", f"{values['seconds']:.1f} s", self.progress.note()]
    return "  ".join(filter(None, parts))

  def _start_next_epoch(self) -> None:
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
    before, self.state, self.position = self.position, state, position
    every = self.config.train.steps_per_call or distributed.STEPS
    agreeing = jax.process_count() == 1 or position // every > before // every
    # The last call of an epoch is followed by its validation, then by this.
    if position < self.steps and agreeing:
      self._between_calls()

  def _between_calls(self) -> None:
    """The clock of checkpoints, and signals."""
    waited = time.monotonic() - self._saved
    due, number = distributed.largest(
      int(waited > self.config.train.checkpoint_seconds), self.signals.number or 0
    )
    if due or number:
      self._save()
    if number:
      done = (self.epoch - 1) * self.steps + self.position
      total = self.config.train.epochs * self.steps
      self._stop(number, f"{done} of {total} steps are done and saved")

  def _stop(self, number: int, where: str) -> None:
    self.writer.close()
    self.signals.number = number
    raise self.signals.interrupted(
      f"{where}; go on with --resume and --workdir {self.workdir}."
    )

  def _evaluate(self, run: Run, split: str) -> None:
    rows = self.rows[split]
    predictions = self._predict(self.best, rows)
    results = run.summarise(self.labels[rows], predictions)
    if jax.process_index() == 0:
      evaluators.write(
        self.workdir, split, results, self.ids[rows], self.labels[rows], predictions
      )
    self._say("\n" + evaluators.table(results, split))

  def _predict(self, variables, rows: np.ndarray) -> np.ndarray:
    """(S, N, *outputs) in the order of `rows`."""
    size = min(self.config.train.eval_batch_size or self.batch_size, len(self.ids))
    plan = schedules.fixed_schedule(rows, self.bucket[rows], size)
    plan = plan.padded(self.mesh.shape["data"])
    found = np.concatenate(list(self.feed.predictions(variables, plan)), 1)
    return plan.in_order(found, rows)

  def _check_finite(self) -> None:
    steps = meshes.fetch(self.state.tally["bad_step"])
    bad = [
      f"seed {seed} in epoch {step // self.steps + 1}, step {step % self.steps + 1}"
      for seed, step in zip(self.seeds, steps.tolist(), strict=True)
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
    step = (self.epoch - 1) * self.steps + self.position
    meta = {"epoch": self.epoch, "position": self.position}
    best = {"params": self.best[0], "stats": self.best[1]}
    chosen = self.selection["epoch"]
    # `best` first, so that `last` never promises more than there is. Before the first
    # validation nothing is best.
    if chosen.all():
      self.checkpoints.save_best(step, best, meta | {"epochs": chosen.tolist()})
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
    self.facts["resumed"] = [*self.facts.get("resumed", []), describe()]
    self.writer.write_facts(self.facts)
    self._say(f"going on at epoch {self.epoch}, step {self.position} of {self.steps}")

  def _say(self, line: str) -> None:
    if self.verbose:
      self.writer.log(line)
