"""Serves one page on this machine: a clip in, what a trained run says of it, and why.

  python -m mcr_jax.demo --workdir DIR [--port N]

Nothing leaves the machine. Ctrl-C ends it and leaves nothing behind.
"""

import argparse
import asyncio
import contextlib
import dataclasses
import signal
import socket
import sys
from pathlib import Path

from mcr_jax import cli
from mcr_jax.errors import UserError
from mcr_jax.extract import places

HOST = "127.0.0.1"
INSTALL = 'pip install "mcr_jax[demo]"'


def main(argv: list[str]) -> int:
  """Serves the page until it is stopped."""
  arguments = cli.parse(
    argv,
    "Serves a page on this machine to try a trained run on a clip.",
    flags=("workdir",),
    required=("workdir",),
    extra=_arguments,
    examples=[
      "python -m mcr_jax.demo --workdir runs/mine",
      "python -m mcr_jax.demo --workdir model.mcr --port 8000",
      "python -m mcr_jax.demo --workdir runs/mine --seconds 120",
    ],
  )
  if not 0 <= arguments.port <= 65_535:
    raise UserError(f"--port {arguments.port} must lie in [0, 65535]; 0 is a free one.")
  if not arguments.seconds > 0:
    raise UserError(f"--seconds {arguments.seconds:g} must be above 0.")
  try:
    import starlette  # noqa: F401
    import uvicorn  # noqa: F401
  except ImportError as error:
    raise UserError(f"The page needs {error.name}: {INSTALL}.") from None
  for number in (signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, lambda number, _: sys.exit(128 + number))
  with _listening(arguments.port) as listener, contextlib.suppress(KeyboardInterrupt):
    asyncio.run(_serve(listener, arguments))
  return 0


async def _serve(listener: socket.socket, arguments) -> None:
  import uvicorn

  from mcr_jax.demo import app, front, guard, scratch
  from mcr_jax.demo.jobs import Jobs

  settings = {
    "workdir": str(Path(arguments.workdir).absolute()),
    "own": dataclasses.asdict(places.Places.of(arguments)),
    **{name: getattr(arguments, name) for name in ("checkpoint", "seconds")},
  }
  with scratch.folder() as place:
    jobs = Jobs(settings, place)
    try:
      facts = await jobs.open()
      facts["label"] = Path(arguments.workdir).name or str(arguments.workdir)
      token = guard.new_token()
      config = uvicorn.Config(
        app.make(jobs, token, front.page(facts), front.files()),
        http="h11",
        ws="none",
        lifespan="off",
        log_level="error",
        access_log=False,  # the address is a secret
        proxy_headers=False,  # what a header says of its sender is not believed
        server_header=False,
        limit_concurrency=512,
        timeout_graceful_shutdown=1,
      )
      address = f"http://{HOST}:{listener.getsockname()[1]}/{token}/"
      print(f"{address} shows {arguments.workdir}; Ctrl-C ends it.", flush=True)
      await uvicorn.Server(config).serve(sockets=[listener])
    finally:
      await jobs.close()


def _listening(port: int) -> socket.socket:
  listener = socket.socket()
  # Not to wait for connections of a page that was here a moment ago.
  listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
  try:
    listener.bind((HOST, port))
    listener.listen(64)
  except OSError as error:
    listener.close()
    raise UserError(f"--port {port} cannot be had: {error.strerror}.") from None
  return listener


def _arguments(parser: argparse.ArgumentParser) -> None:
  parser.add_argument(
    "--port", type=int, default=0, metavar="N", help="of 127.0.0.1 (a free one)"
  )
  parser.add_argument(
    "--seconds", type=float, default=60.0, help="the longest clip that is taken (60)"
  )
  places.add_arguments(parser)
  parser.add_argument(
    "--checkpoint", default="best", choices=("best", "last"), help="(best)"
  )


if __name__ == "__main__":
  cli.run(main)
