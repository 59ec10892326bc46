"""The rows that a part has measured, on disk after each: what is there stays there."""

import json
import pathlib
import time
import traceback
from collections.abc import Callable


class Ledger:
  """Rows by name, in one file, until a moment."""

  def __init__(self, path: pathlib.Path, deadline: float, quick: bool):
    self.path, self.deadline, self.quick = path, deadline, quick
    self.rows = json.loads(path.read_text()) if path.exists() else {}
    self.late = False

  def due(self, name: str, seconds: float = 0.0) -> bool:
    """Whether this row is still to measure, and there are `seconds` for it."""
    if name in self.rows and "failed" not in self.rows[name]:
      return False
    if time.time() + seconds > self.deadline:
      self.late = True
    return not self.late

  def measure(self, name: str, function: Callable[[], dict], seconds: float = 0.0):
    """Adds what `function` returns, or how it failed; the others go on."""
    if not self.due(name, seconds):
      return
    began = time.time()
    try:
      row = function()
    except Exception as error:
      traceback.print_exc(limit=-4)
      row = {"failed": f"{type(error).__name__}: {error}".splitlines()[0][:300]}
    self.rows[name] = row | {"took": round(time.time() - began, 1)}
    self.path.write_text(json.dumps(self.rows, indent=1))
    shown = row.get("failed") or row.get("line", "")
    print(f"  {name:<44} {shown}", flush=True)
