"""`python -m mcr_jax.data.builders`: what `tfds build` does, for our corpora.

The command `tfds` itself imports Apache Beam and mlcroissant, whatever it is to do
(tensorflow-datasets 4.9.10). This one needs neither and takes the same flags.
"""

import sys

from mcr_jax import cli
from mcr_jax.data import builders
from mcr_jax.errors import UserError


def main(argv: list[str]) -> None:
  """Builds the data sets that the arguments name."""
  from tensorflow_datasets.scripts.cli import build, cli_utils

  parse = cli_utils.make_flags_parser(
    build.Args, "Writes records of the corpora, as `tfds build` does."
  )
  names = ", ".join(x for x in builders.__all__ if x != "from_tfds")
  if not argv:
    raise UserError(f"name a corpus; known are {names}. --help shows the flags.")
  arguments = parse([sys.argv[0], *argv, f"--imports={builders.__name__}"])
  arguments.execute()


if __name__ == "__main__":
  cli.run(main)
