"""`python -m mcr_jax.sweep`: trains the points of a sweep and compares them."""

import argparse
from pathlib import Path

from mcr_jax import cli


def main(argv: list[str]) -> None:
  """Trains what is not trained yet, then prints and writes the table."""
  arguments = cli.parse(
    argv,
    "Trains every point of a sweep, in one program where they differ only in numbers, "
    "and prints one table.",
    extra=_arguments,
    examples=[
      "python -m mcr_jax.sweep --config mcr_mosi:unaligned --sweep mcr_depth"
      " --workdir runs/depth --config.data.path=unaligned_50.pkl",
      "python -m mcr_jax.sweep --config mcr_synthetic:quick --sweep mcr_random"
      " --workdir runs/search",
      "python -m mcr_jax.sweep --config own:tfn --sweep mine.py --workdir runs/mine"
      " --config.data.path=clips.npz --resume",
    ],
  )
  from mcr_jax import config as configs

  config = configs.load(arguments.config, arguments.overrides)
  cli.prepare(config.train.cache_dir, arguments.coordinator)
  from mcr_jax.sweeps import points, run, share

  sweep = points.load(arguments.sweep)
  run.sweep(
    config,
    sweep,
    Path(arguments.workdir),
    resume=arguments.resume,
    together=arguments.together,
    share=share.parse(arguments.share),
    facts={"config_file": arguments.config, "sweep_file": arguments.sweep},
  )


def _arguments(parser: argparse.ArgumentParser) -> None:
  parser.add_argument(
    "--sweep",
    required=True,
    metavar="NAME",
    help="shipped sweep by its name, or a file with get_sweep()",
  )
  parser.add_argument(
    "--together",
    type=int,
    default=30,
    metavar="N",
    help="trainings (points times seeds) in one program at most (30)",
  )
  parser.add_argument(
    "--share",
    default="1/1",
    metavar="I/N",
    help="train every N-th point from the I-th on, beside other processes; a last call "
    "without --share makes the table",
  )


if __name__ == "__main__":
  cli.run(main)
