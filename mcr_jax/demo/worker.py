"""The process with the model: clips come in as lines of JSON, and so do answers go out.

  <- {"number": 1, "clip": "/tmp/...", "name": "a.mp4", "words": "/tmp/..." | null}
  -> {"facts": {...}}                                       once, when the run is loaded
  -> {"number": 1, "stage": "Decoding", "share": 0.4}
  -> {"number": 1, "extracted": true}                       the files are needed no more
  -> {"number": 1, "result": "<section>..."}
  -> {"number": 1, "refused": "one line", "kind": "UserError"}   without number: no run

It ends with the process that started it.
"""

import contextlib
import json
import os
import queue
import signal
import sys
import threading
import traceback
from pathlib import Path
from typing import Any

from mcr_jax import cli
from mcr_jax.errors import McrJaxError


def main(argv: list[str]) -> None:
  """Loads a run and explains clips until nobody asks any more.

  Args:
    argv: the settings, JSON: workdir, checkpoint, own, seconds.
  """
  settings = json.loads(argv[0])
  # What a library prints is not an answer.
  answers = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
  os.dup2(2, 1)
  say = lambda **values: print(json.dumps(values), file=answers, flush=True)
  asked: queue.Queue = queue.Queue()
  threading.Thread(target=_listen, args=(asked,), daemon=True).start()
  try:
    cli.prepare()
    from mcr_jax.demo.reader import Reader

    reader = Reader(**settings)
    say(facts=reader.facts)
  except McrJaxError as error:
    say(refused=str(error), kind=type(error).__name__)
    return
  while True:
    job = json.loads(asked.get())
    answer(reader, job, lambda n=job["number"], **values: say(number=n, **values))


def answer(reader: Any, job: dict[str, Any], say) -> None:
  """One job, from its files to HTML or to why not."""
  from mcr_jax.demo import view
  from mcr_jax.demo.explain import explain

  clip, words = Path(job["clip"]), job["words"] and Path(job["words"])
  try:
    tell = lambda stage, share: say(stage=stage, share=share)
    dataset = reader.read(clip, words, job["name"], tell)
    say(extracted=True)
    found = explain(reader.run, dataset, tell)
    tell("Drawing", None)
    say(result=view.result(found))
  except McrJaxError as error:
    message = str(error).replace(str(clip), job["name"])
    if words:
      message = message.replace(str(words), "What is said")
    say(refused=message, kind=type(error).__name__)
  except Exception as error:
    traceback.print_exc()
    what = "memory does not suffice" if _memory(error) else "the terminal shows where"
    say(refused=f"This clip could not be explained: {what}.", kind="McrJaxError")


def _memory(error: Exception) -> bool:
  return isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error)


def _listen(asked: queue.Queue) -> None:
  """Hands lines on; ends this process, and the decoder that it started, behind them."""
  for line in sys.stdin:
    asked.put(line)
  with contextlib.suppress(PermissionError):
    if os.getpgrp() == os.getpid():
      os.killpg(0, signal.SIGKILL)
  os._exit(0)


if __name__ == "__main__":
  main(sys.argv[1:])
