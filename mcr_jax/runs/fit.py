"""Training: from a config to a finished workdir, or to one with a folder a fold."""

from collections.abc import Mapping
from pathlib import Path

import jax
from ml_collections import ConfigDict

from mcr_jax import config as configs
from mcr_jax.hosts import distributed
from mcr_jax.runs import folds, own_model, workspace
from mcr_jax.runs.run import Run, load_run
from mcr_jax.runs.shared import Shared
from mcr_jax.runs.trainer import Trainer


@distributed.together()
def fit(
  config: ConfigDict | Mapping,
  workdir: str | Path,
  *,
  resume: bool = False,
  attention_may_change: bool = False,
  verbose: bool = True,
  shared: Shared | None = None,
) -> Run | folds.Folds:
  """Trains all seeds of a config and evaluates the best of each.

  Args:
    config: see `mcr_jax.config`; incomplete ones are completed with the defaults.
    workdir: folder of the run; a finished run of the same config is only loaded.
    resume: go on with an unfinished run.
    attention_may_change: also where its native kernels are not to be had.
    verbose: print a line an epoch and the final tables.
    shared: programs of a run before, which this one uses if it can, and leaves its own.

  Returns:
    the run; with `data.folds` and no `data.fold`, all its folds together.

  Raises:
    UserError: a mistake in the config, the data or the folder.
    NonFiniteLoss: names seed, epoch and step.
    Interrupted: SIGINT or SIGTERM, after a checkpoint.
  """
  config, workdir = configs.complete(config), Path(workdir).expanduser()
  several = folds.wanted(config)
  status = workspace.status(
    workdir, config, resume, attention_may_change=attention_may_change
  )
  distributed.check_same(
    config=configs.to_json(config), state_of_the_workdir=f"{workdir} {status}"
  )
  if status == "finished":
    if verbose and jax.process_index() == 0:
      print(f"{workdir} is finished already: nothing to do.", flush=True)
    return folds.read(workdir) if several else load_run(workdir)
  with own_model.told(config.model.file):
    if several:
      return folds.fit(
        config, workdir, attention_may_change=attention_may_change, verbose=verbose
      )
    trainer = Trainer(config, workdir, programs=shared, verbose=verbose)
    with workspace.claim(workdir):
      trainer.start(resume=status == "resume")
      trainer.run()
      return trainer.finish()
