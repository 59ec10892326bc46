import signal
import subprocess
import sys

import pytest

from mcr_jax import cli
from mcr_jax.errors import UserError


def program(body: str, *arguments: str, **more) -> subprocess.CompletedProcess:
  """Runs a program whose main has this body."""
  code = f"""
import errno, os, signal, sys
from mcr_jax import cli, errors
# A test run in the background of a shell inherits a SIGINT that is ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
def main(argv):
  {body}
cli.run(main)
"""
  command = [sys.executable, "-c", code, *arguments]
  return subprocess.run(command, capture_output=True, text=True, timeout=60, **more)


@pytest.mark.parametrize(
  ("body", "code", "line"),
  [
    ("raise errors.UserError('a\\nb')", 2, "a b"),
    ("raise errors.NonFiniteLoss('seed 1')", 3, "seed 1"),
    ("raise errors.DamagedCheckpoint('byte')", 4, "byte"),
    ("raise errors.Interrupted(15, 'stopped')", 143, "stopped"),
    ("os.kill(os.getpid(), signal.SIGINT)", 130, "stopped by Ctrl-C"),
    ("open('/')", 2, "/: this is a folder, where a file is needed (Is a directory)."),
    (
      "raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), 'x')",
      2,
      "x: the disk is full (No space left on device).",
    ),
    (
      "raise PermissionError(errno.EACCES, 'Permission denied', 'x')",
      2,
      "x: permission denied (Permission denied).",
    ),
  ],
)
def test_an_early_end_is_one_line_and_its_code(body, code, line):
  done = program(body)
  assert (done.returncode, done.stderr) == (code, f"mcr_jax: error: {line}\n")


def test_a_name_writes_nothing_on_a_terminal_but_itself(capsys):
  cli._fail("\x1b[2Jno\x07 \u202efile é\n", 2)
  assert capsys.readouterr().err == "mcr_jax: error: \\x1b[2Jno\\x07 \\u202efile é\n"


def test_a_bug_keeps_its_traceback():
  done = program("return 1 / 0")
  assert done.returncode == 1 and "Traceback" in done.stderr
  done = program("raise OSError(errno.EBADF, 'Bad file descriptor')")
  assert done.returncode == 1 and "Traceback" in done.stderr


def test_no_memory_says_what_to_lower():
  done = program("raise RuntimeError('RESOURCE_EXHAUSTED: Out of memory')")
  assert done.returncode == 2 and "train.batch_size" in done.stderr
  assert done.stderr.count("\n") == 1


LIMITED = "import resource; resource.setrlimit(resource.RLIMIT_AS, ({}, {}))\n  "


@pytest.mark.parametrize(
  "ending",
  [
    'raise ValueError from RuntimeError("can\'t start new thread")',
    "raise MemoryError",
  ],
)
def test_what_a_limit_of_addresses_ended_names_it(ending):
  done = program(LIMITED.format(10**11, 10**11) + ending)
  assert done.returncode == 2 and "ulimit -v) of 100.0 GB" in done.stderr
  assert done.stderr.count("\n") == 1
  # Without a limit it is another story.
  assert "ulimit" not in program(ending).stderr


def test_too_few_addresses_are_told_before_libraries_abort():
  done = program(LIMITED.format(10**9, 10**9) + "cli.prepare()")
  assert done.returncode == 2 and "ulimit -v) of 1.0 GB" in done.stderr
  done = program(LIMITED.format(10**10, 10**10) + "cli.prepare()")
  assert done.returncode == 0 and "ulimit -v is 10.0 GB" in done.stderr


def test_a_finished_program_returns_0():
  done = program("print(argv)", "a", "--b")
  assert (done.returncode, done.stdout, done.stderr) == (0, "['a', '--b']\n", "")


def test_a_closed_pipe_is_quiet():
  code = "import sys; from mcr_jax import cli; cli.run(lambda a: print('x' * 10**6))"
  command = f'{sys.executable} -c "{code}" | head -c 1'
  done = subprocess.run(command, shell=True, capture_output=True, text=True)
  assert (done.stdout, done.stderr) == ("x", "")


def test_a_tilde_is_the_home_folder_wherever_a_path_begins(monkeypatch):
  monkeypatch.setenv("HOME", "/home/ada")
  given = ["~", "~/x", "--workdir=~/x", "--config.data.path=~/x", "mosi=~/x", "a~/x"]
  assert cli.at_home(given) == [
    "/home/ada",
    "/home/ada/x",
    "--workdir=/home/ada/x",
    "--config.data.path=/home/ada/x",
    "mosi=/home/ada/x",
    "a~/x",
  ]
  done = program("print(argv)", "--workdir=~/x")
  assert done.stdout == "['--workdir=/home/ada/x']\n"


def parse(*argv: str, **more):
  return cli.parse(argv, "Trains.", **more)


def test_flags_and_overrides_are_told_apart():
  arguments = parse(
    "--config", "a.py:quick", "--config.train.epochs", "3", "--workdir=w",
    "--config.mesh.data", "-1", "--config.data.normalize", "--resume",
    "--noconfig.data.trim", "--config.data.path=x y",
  )  # fmt: skip
  assert (arguments.config, arguments.workdir) == ("a.py:quick", "w")
  assert arguments.resume and arguments.coordinator is None
  assert arguments.overrides == [
    "--config.train.epochs=3",
    "--config.mesh.data=-1",
    "--config.data.normalize",
    "--noconfig.data.trim",
    "--config.data.path=x y",
  ]


@pytest.mark.parametrize(
  ("argv", "message"),
  [
    (["--confg", "a.py"], '--confg.*"--config"'),
    (["--work", "a"], '--work.*"--workdir"'),
    (["--train.epochs=3"], "fields of the config are --config.train.epochs"),
    (["--config", "a.py"], "required: --workdir"),
    (["--config", "a.py", "--workdir", "w", "stray"], "stray"),
    (["--workdir"], "--workdir: expected one argument"),
  ],
)
def test_a_wrong_flag_is_a_users_error(argv, message):
  with pytest.raises(UserError, match=message):
    parse(*argv)


def test_a_program_has_only_its_flags():
  split = lambda parser: parser.add_argument("--split", choices=["valid", "test"])
  only = dict(flags=("workdir",), required=("workdir",), extra=split)
  assert parse("--workdir", "w", "--split", "test", **only).split == "test"
  with pytest.raises(UserError, match="unknown argument --config.train.epochs"):
    parse("--workdir", "w", "--config.train.epochs=3", **only)
  with pytest.raises(UserError, match="invalid choice: 'tset'"):
    parse("--workdir", "w", "--split", "tset", **only)


def test_help_shows_the_examples(capsys):
  with pytest.raises(SystemExit) as end:
    parse("--help", examples=["python -m mcr_jax.train --config configs/X.py"])
  assert end.value.code == 0
  output = capsys.readouterr().out
  assert "Trains." in output and "--config.GROUP.FIELD" in output
  assert "  python -m mcr_jax.train --config configs/X.py\n" in output


PREPARE = "cli.prepare(); import jax; print(jax.config.jax_compilation_cache_dir)"


def test_only_prepare_sets_the_compilation_cache(tmp_path):
  import os

  plain = {k: v for k, v in os.environ.items() if k != "JAX_COMPILATION_CACHE_DIR"}
  at = {**plain, "XDG_CACHE_HOME": str(tmp_path)}
  assert program(PREPARE, env=at).stdout == f"{tmp_path}/mcr_jax\n"
  chosen = {**at, "JAX_COMPILATION_CACHE_DIR": "/chosen"}
  assert program(PREPARE, env=chosen).stdout == "/chosen\n"
  body = "import mcr_jax.config, jax; print(jax.config.jax_compilation_cache_dir)"
  assert program(body, env=at).stdout == "None\n"


def test_a_cache_that_cannot_be_written_is_told_once(tmp_path):
  import os

  place = tmp_path / "file"
  place.write_text("no folder")
  body = """cli.prepare(); import warnings
  for name in ("a", "b"):
    warnings.warn(f"Error writing persistent compilation cache entry for {name}")
"""
  at = {**os.environ, "JAX_COMPILATION_CACHE_DIR": str(place)}
  done = program(body, env=at)
  assert done.returncode == 0 and f"{place} (Not a directory)" in done.stderr
  assert done.stderr.count("\n") == 1


@pytest.mark.skipif(sys.platform != "linux", reason="the allocator is glibc's")
def test_the_allocator_keeps_freed_memory():
  body = """import resource, platform
  from mcr_jax import allocator
  kept = allocator.keep_freed_memory()
  assert kept == (platform.libc_ver()[0] == "glibc")
  faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt
  once = lambda: bytearray(b"x") * 50_000_000
  once()
  before = faults()
  once()
  print(faults() - before if kept else 0)"""
  assert int(program(body).stdout) < 1000  # of 12,000 pages


def test_sigterm_without_a_handler_is_not_our_exit():
  done = program("os.kill(os.getpid(), signal.SIGTERM)")
  assert done.returncode == -signal.SIGTERM


def test_where_a_program_will_write_is_tried_before_its_work(tmp_path):
  path = tmp_path / "a" / "b" / "out.png"
  assert cli.output_file(path) == path
  assert path.parent.is_dir() and not path.exists()
  path.write_text("old")
  cli.output_file(path)
  assert path.read_text() == "old"
  with pytest.raises(IsADirectoryError):
    cli.output_file(path.parent)
  with pytest.raises((NotADirectoryError, FileExistsError)):
    cli.output_file(path / "out.png")
  with pytest.raises(FileNotFoundError):
    cli.output_file("/proc/out.png")


def test_a_process_killed_while_it_tries_leaves_nothing_that_looks_like_a_result(
  tmp_path, monkeypatch
):
  def killed(dir):
    raise KeyboardInterrupt

  monkeypatch.setattr("tempfile.TemporaryFile", killed)
  with pytest.raises(KeyboardInterrupt):
    cli.output_file(tmp_path / "out.npz")
  assert not list(tmp_path.iterdir())
