"""`python -m mcr_jax.train`: trains the model of a config into a workdir."""

import argparse

from mcr_jax import cli
from mcr_jax.errors import UserError


def main(argv: list[str]) -> None:
  """Trains, or goes on with, the run that the arguments name."""
  arguments = cli.parse(
    argv,
    "Trains all seeds of a config, keeps each at its best validation epoch, and "
    "evaluates it.",
    examples=[
      "python -m mcr_jax.train --config mcr_synthetic --workdir runs/first",
      "python -m mcr_jax.train --config own:mia_net --workdir runs/own"
      " --config.data.path=clips.npz --config.seeds=0,1",
      "python -m mcr_jax.train --config mcr_mosi --workdir runs/mosi"
      " --config.data.path=mosi.npz --resume",
      "python -m mcr_jax.train --config own:mia_net --help-config",
    ],
    required=("config",),
    extra=_arguments,
  )
  from mcr_jax import config as configs

  config = configs.load(arguments.config, arguments.overrides)
  if arguments.help_config:
    from mcr_jax.config import described

    print(described.text(config))
    return
  if arguments.workdir is None:
    raise UserError("--workdir DIR is required: the folder of the run.")
  cli.prepare(config.train.cache_dir, arguments.coordinator)
  from mcr_jax.runs.fit import fit

  fit(
    config,
    arguments.workdir,
    resume=arguments.resume,
    attention_may_change=arguments.attention_may_change,
  )


def _arguments(parser: argparse.ArgumentParser) -> None:
  parser.add_argument(
    "--attention-may-change",
    action="store_true",
    help="resume also where the native kernels that the run began with are missing",
  )
  parser.add_argument(
    "--help-config",
    action="store_true",
    help="list the fields of the config, with what they are and may be, and end",
  )


if __name__ == "__main__":
  cli.run(main)
