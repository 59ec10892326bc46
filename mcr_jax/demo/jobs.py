"""One job at a time: its states, the process that does it, and how it is ended."""

import asyncio
import contextlib
import dataclasses
import json
import os
import shutil
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mcr_jax import errors
from mcr_jax.demo.upload import Upload
from mcr_jax.errors import McrJaxError, UserError

LONGEST_ANSWER = 64 << 20
RUNNING = ("receiving", "working")
COMMAND = (sys.executable, "-m", "mcr_jax.demo.worker")


class Busy(UserError):
  """There is a job already."""


@dataclasses.dataclass
class Job:
  """What the page is told.

  Attributes:
    number: from 1.
    state: `receiving`, `working`, `done`, `failed` or `cancelled`.
    stage: what is being done, in words.
    share: of the stage that is done, 0 to 1; None where nobody knows.
    message: why it failed, in one line.
  """

  number: int
  state: str = "receiving"
  stage: str = "Receiving the clip"
  share: float | None = None
  message: str = ""


class Jobs:
  """The jobs of one server.

  Args:
    settings: for the worker, JSON.
    place: folder where clips are while they are needed.
    command: that starts the worker.
  """

  def __init__(
    self, settings: dict[str, Any], place: Path, command: Sequence[str] = COMMAND
  ):
    self._settings, self._place, self._command = settings, place, command
    self._process = self._reader = None
    self._facts = None
    self.job: Job | None = None
    self.result = ""

  async def open(self) -> dict[str, Any]:
    """Starts the worker and returns what it says of the run.

    Raises:
      McrJaxError: the run, or a package, is not what it must be.
    """
    await self._start()
    return await self._facts

  async def close(self) -> None:
    """Ends the worker and what it started."""
    reader, self._reader = self._reader, None
    if reader:
      reader.cancel()
      with contextlib.suppress(asyncio.CancelledError):
        await reader
    process, self._process = self._process, None
    if process and process.returncode is None:
      with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
      await process.wait()

  def reserve(self) -> tuple[Job, Path]:
    """A job, and the folder for its files.

    Raises:
      Busy: there is one.
    """
    if self.job and self.job.state in RUNNING:
      raise Busy("Another clip is being worked on, perhaps in another tab.")
    self.result = ""
    self.job = Job(self.job.number + 1 if self.job else 1)
    folder = self._folder(self.job)
    folder.mkdir()
    return self.job, folder

  async def begin(self, job: Job, found: Upload) -> None:
    """Gives the worker what was received."""
    if self._process is None or self._process.returncode is not None:
      await self._start()
    if job.state != "receiving":
      return  # cancelled in another tab
    job.state, job.stage = "working", "Loading the model"
    words = str(found.words) if found.words else None
    line = {"number": job.number, "clip": str(found.clip), "name": found.name}
    self._process.stdin.write(json.dumps(line | {"words": words}).encode() + b"\n")

  def fail(self, job: Job, message: str) -> None:
    """Ends a job that could not be done, in one line."""
    if job.state in RUNNING:
      job.state, job.message = "failed", " ".join(message.split())
    self._remove(job)

  async def cancel(self, number: int) -> None:
    """Ends a job at once, if it is the one that runs."""
    job = self.job
    if job is None or job.number != number or job.state not in RUNNING:
      return
    working = job.state == "working"
    job.state = "cancelled"
    self._remove(job)
    if working:
      await self.close()
      await self._start()

  def _folder(self, job: Job) -> Path:
    return self._place / f"job{job.number}"

  def _remove(self, job: Job) -> None:
    shutil.rmtree(self._folder(job), ignore_errors=True)

  async def _start(self) -> None:
    self._facts = asyncio.get_running_loop().create_future()
    # A group of its own: Ctrl-C is for the server, and the end of it for all.
    self._process = await asyncio.create_subprocess_exec(
      *self._command,
      json.dumps(self._settings),
      stdin=asyncio.subprocess.PIPE,
      stdout=asyncio.subprocess.PIPE,
      start_new_session=True,
      limit=LONGEST_ANSWER,
    )
    self._reader = asyncio.create_task(self._read(self._process))

  async def _read(self, process) -> None:
    """Takes what the worker says until it ends."""
    with contextlib.suppress(ValueError):  # a line beyond the limit, or no JSON
      while line := await process.stdout.readline():
        self._hear(json.loads(line))
    with contextlib.suppress(ProcessLookupError):
      os.killpg(process.pid, signal.SIGKILL)
    code = await process.wait()
    why = f"The process with the model ended ({_how(code)}); the terminal may say why."
    began = self._facts.done() and self._facts.exception() is None
    if not self._facts.done():
      self._facts.set_exception(McrJaxError(why))
    if self.job and self.job.state == "working":
      self.fail(self.job, why)
    if began:  # so that the next clip finds the model loaded
      await self._start()

  def _hear(self, said: dict[str, Any]) -> None:
    job = self.job
    if not self._facts.done():
      if "facts" in said:
        self._facts.set_result(said["facts"])
      elif "refused" in said:
        kind = getattr(errors, said["kind"], McrJaxError)
        self._facts.set_exception(kind(said["refused"]))
        if job and job.state == "working":
          self.fail(job, said["refused"])
      return
    if job is None or job.state != "working" or said.get("number") != job.number:
      return
    if "stage" in said:
      job.stage, job.share = said["stage"], said["share"]
    elif "extracted" in said:
      self._remove(job)
    elif "result" in said:
      self.result = said["result"]
      job.state, job.share = "done", 1.0
      self._remove(job)
    elif "refused" in said:
      self.fail(job, said["refused"])


def _how(code: int) -> str:
  return signal.Signals(-code).name if code < 0 else f"status {code}"
