"""What the command line programs share: flags, exit codes, settings of the process.

Importing the library sets nothing; `prepare` does, and only programs call it.
"""

import argparse
import contextlib
import gc
import logging
import os
import re
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from mcr_jax import allocator
from mcr_jax.errors import FILE_ERRORS, McrJaxError, UserError, did_not_fit, nearest

FLAGS = {
  "config": dict(
    metavar="NAME[:ARG]",
    help="shipped config by its name, or a file with get_config(ARG)",
  ),
  "workdir": dict(
    metavar="DIR", help="folder of the run; what reads one takes a model file, too"
  ),
  "resume": dict(
    action="store_true", help="go on with the unfinished run in --workdir"
  ),
  "coordinator": dict(
    metavar="HOST:PORT,COUNT,INDEX",
    help="join a run of several processes; auto = as SLURM or Kubernetes say",
  ),
}

# Addresses that JAX and TensorStore reserve with hundreds of threads: below the first
# nothing starts, below the second their own code may abort without a word.
_NO_PROGRAM, _SURE = 2e9, 16e9
_TOO_FEW = (
  "the limit of addresses (ulimit -v) of {:.1f} GB does not suffice: JAX reserves far "
  "more of them than it uses memory. Lift it, and limit memory by a cgroup "
  "(systemd-run -p MemoryMax=8G) or the scheduler instead"
)
_OVERRIDE = "--config.GROUP.FIELD"  # only for --help


def run(main: Callable[[list[str]], int | None]) -> NoReturn:
  """Calls `main(arguments)` and ends the process with the contract's exit code.

  0 done, 2 the user's mistake, 3 loss not finite, 4 damaged checkpoint, 130 or 143
  stopped by a signal; 1, with a traceback, is a bug of ours.
  """
  # A daemon may have closed them.
  sys.stdout = sys.stdout or open(os.devnull, "w")
  sys.stderr = sys.stderr or open(os.devnull, "w")
  try:
    code = main(at_home(sys.argv[1:])) or 0
    sys.stdout.flush()
  except McrJaxError as error:
    code = _fail(str(error), error.exit_code)
  except KeyboardInterrupt:
    code = _fail("stopped by Ctrl-C", 130)
  except BrokenPipeError:
    # `| head` has seen enough; without this, the flush at exit would complain.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    code = 141
  except OSError as error:
    code = _file_error(error)
  except Exception as error:
    code = _bug(error)
  sys.exit(code)


def at_home(argv: Sequence[str]) -> list[str]:
  """The arguments with `~` as the home folder, also behind `--flag=` and `name=`.

  Shells do it at the beginning of a word only; what is left would be a folder `~`.
  """
  home = lambda match: match[1] + os.path.expanduser(match[2])
  return [re.sub(r"(^|=)(~[^/=]*)(?=/|$)", home, argument) for argument in argv]


def parse(
  argv: Sequence[str],
  description: str,
  *,
  flags: Sequence[str] = tuple(FLAGS),
  required: Sequence[str] = ("config", "workdir"),
  examples: Sequence[str] = (),
  extra: Callable[[argparse.ArgumentParser], object] | None = None,
  overrides: bool = False,
) -> argparse.Namespace:
  """The arguments of a program; a mistake in them is a UserError.

  Args:
    argv: without the program's name.
    description: one sentence for --help.
    flags: which of `FLAGS` the program has; with "config", `overrides` of the result
      lists the `--config.group.field=value` as `config.load` takes them.
    required: which of them must be given.
    examples: command lines that --help shows.
    extra: adds the program's own arguments to the parser.
    overrides: whether it takes these without a "config" of its own, too.
  """
  parser = _Parser(
    prog=f"python -m {_program()}",
    description=description,
    epilog="\n".join(
      ["examples:", *(f"  {line}" for line in examples)] * bool(examples)
    ),
    formatter_class=argparse.RawDescriptionHelpFormatter,
    allow_abbrev=False,
  )
  for name in flags:
    parser.add_argument(f"--{name}", required=name in required, **FLAGS[name])
  if extra:
    extra(parser)
  found = []
  if overrides or "config" in flags:
    parser.add_argument(
      _OVERRIDE,
      dest="overrides",
      metavar="VALUE",
      help="set one field of the config, for example --config.train.epochs=10",
    )
    argv, found = _split(argv)
  arguments = parser.parse_args(list(argv))
  arguments.overrides = found
  return arguments


def reading_arguments(parser: argparse.ArgumentParser) -> None:
  """Flags of programs that read other data than their run; see `runs.reading`."""
  parser.add_argument(
    "--overlong",
    choices=("error", "truncate"),
    help="what becomes of sequences longer than those of the training (as the run "
    "has it; where the model reads any length, nothing)",
  )
  parser.add_argument(
    "--nonfinite",
    choices=("error", "zero"),
    help="what becomes of NaN and inf in features (as the run has it)",
  )
  parser.add_argument(
    "--skip-bad",
    action="store_true",
    help="leave out samples that would be refused, and name them",
  )


def check_reading(arguments: argparse.Namespace) -> None:
  """Raises UserError where something is said of other data, and none is given."""
  given = [
    f"--{name.replace('_', '-')}"
    for name in ("overlong", "nonfinite", "skip_bad")
    if getattr(arguments, name)
  ]
  given += [override.partition("=")[0] for override in arguments.overrides]
  if given and arguments.input is None:
    raise UserError(
      f"{given[0]} is for other data, which --input names: the run's own is read as it "
      "was trained."
    )


def output_file(path: str | os.PathLike) -> Path:
  """Where a program will write in the end: its folder is made, and it is tried now.

  Hours of work must not end at a folder that is not there.
  """
  path = Path(path)
  path.parent.mkdir(parents=True, exist_ok=True)
  try:
    path.lstat()  # a name may be too long
  except FileNotFoundError:
    # Without a name: a process killed here leaves no file that looks like a result.
    try:
      with tempfile.TemporaryFile(dir=path.parent):
        return path
    except OSError as error:
      error.filename = str(path)
      raise
  if path.exists() and not (path.is_file() or path.is_dir()):
    raise UserError(f"{path} is a device or a pipe; results go to a file.")
  with open(path, "ab"):
    return path


def prepare(cache_dir: str = "", coordinator: str | None = None) -> None:
  """Sets what only a program may: allocator, garbage, logs and the compilation cache.

  Joins the other processes of a run of several, and says on stderr where the machine
  has an accelerator that JAX leaves alone, or native kernels that cannot be used.

  Args:
    cache_dir: of compiled programs; without it the user's JAX_COMPILATION_CACHE_DIR,
      else mcr_jax in the user's cache folder.
    coordinator: see `hosts.distributed.join`.
  """
  limit = allocator.address_limit()
  if limit and limit < _NO_PROGRAM:
    raise UserError(f"{_TOO_FEW.format(limit / 1e9)}.")
  if limit and limit < _SURE:
    print(
      f"mcr_jax: ulimit -v is {limit / 1e9:.1f} GB of addresses; what stops without "
      "another word did not fit into them.",
      file=sys.stderr,
      flush=True,
    )
  allocator.keep_freed_memory()
  from absl import logging as absl_logging

  # Tracing makes millions of objects that live: a fifth of it was looking for garbage.
  gc.freeze()
  gc.set_threshold(100_000, 20, 20)

  absl_logging.set_verbosity(absl_logging.ERROR)
  for name in ("jax", "orbax", "tensorflow"):
    logging.getLogger(name).setLevel(logging.ERROR)
  os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
  if cache_dir:
    os.makedirs(cache_dir, exist_ok=True)
  from mcr_jax import native
  from mcr_jax.hosts import accelerators, compiled, distributed

  home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
  chosen = cache_dir or os.environ.get("JAX_COMPILATION_CACHE_DIR")
  compiled.keep_in(chosen or str(Path(home) / "mcr_jax"))
  distributed.join(coordinator)
  for line in filter(None, (accelerators.unused(), native.unusable())):
    print(f"mcr_jax: {line}", file=sys.stderr, flush=True)


class _Parser(argparse.ArgumentParser):
  """An ArgumentParser whose errors are UserErrors with the nearest known flag."""

  def error(self, message: str) -> NoReturn:
    raise UserError(f"{message}. --help shows what there is.")

  def parse_args(self, argv: list[str]) -> argparse.Namespace:
    # A typo comes first: what it makes missing would be the misleading complaint.
    for flag in (argument.split("=")[0] for argument in argv):
      if flag.startswith("--") and flag not in self._option_string_actions:
        self.error(f"unknown argument {flag}{self._hint(flag)}")
    return super().parse_args(argv)

  def _hint(self, flag: str) -> str:
    known = list(self._option_string_actions)
    if _OVERRIDE in known and "." in flag:
      return f"; fields of the config are --config.{flag.lstrip('-')}"
    return f".{nearest(flag, known)}"


def _program() -> str:
  spec = getattr(sys.modules["__main__"], "__spec__", None)
  return spec.name.removesuffix(".__main__") if spec else Path(sys.argv[0]).stem


def _split(argv: Sequence[str]) -> tuple[list[str], list[str]]:
  """The program's own arguments, and the overrides in the form with an `=`."""
  own, overrides = [], []
  rest = list(argv)
  while rest:
    argument = rest.pop(0)
    if argument == "--":
      return [*own, argument, *rest], overrides
    if not argument.startswith(("--config.", "--noconfig.")):
      own.append(argument)
      continue
    value_follows = rest and not rest[0].startswith("--")
    if "=" not in argument and argument.startswith("--config.") and value_follows:
      argument = f"{argument}={rest.pop(0)}"
    overrides.append(argument)
  return own, overrides


def _fail(message: str, code: int) -> int:
  # One line, whatever a library has put into its message; and names out of files of
  # others may not write on a terminal what they like.
  line = " ".join(message.split()) or "no message"
  line = "".join(c if c.isprintable() else repr(c)[1:-1] for c in line)
  with contextlib.suppress(OSError):
    print(f"mcr_jax: error: {line}", file=sys.stderr, flush=True)
  return code


def _file_error(error: OSError) -> int:
  reason = FILE_ERRORS.get(error.errno)
  if reason is None:
    return _bug(error)
  where = f"{error.filename}: " if error.filename else ""
  return _fail(f"{where}{reason} ({error.strerror}).", UserError.exit_code)


def _bug(error: Exception) -> int:
  limit = allocator.address_limit()
  if limit and did_not_fit(error):
    return _fail(
      f"{_TOO_FEW.format(limit / 1e9)} ({str(error) or 'no memory'}).",
      UserError.exit_code,
    )
  # By its text, because importing JAX for its class would be slow and may fail.
  if "RESOURCE_EXHAUSTED" in str(error) or isinstance(error, MemoryError):
    return _fail(
      "the device's memory does not suffice: lower train.batch_size, raise "
      f"optim.accumulate or set model.remat=true ({str(error)[:200]}).",
      UserError.exit_code,
    )
  traceback.print_exception(error)
  return 1
