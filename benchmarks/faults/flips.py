"""A byte of a file of a finished run is another one: who reads the run must notice.

What reads a run are the programs that load, evaluate, resume, tabulate and draw it. A
byte that none of them reads, or that says the same, is without effect: shown by all
that they read being equal.
"""

import contextlib
import pathlib
from collections.abc import Callable, Iterator

from benchmarks.faults import jobs, subject
from benchmarks.faults.campaign import Failure, drawn

WHAT = "a byte changed in checkpoints, digests, config, run.json and all other files"
MUST = "noticed, or without effect on anything that is read"
COUNT = 2000


@contextlib.contextmanager
def cases(folder: pathlib.Path, seed: int) -> Iterator[Callable[[int], str]]:
  """See `campaign`; the files take turns."""
  subject.preload()
  jobs.make(folder)
  run = folder / "run"
  paths = sorted(x for x in run.rglob("*") if x.is_file())
  expected = {}
  whole = lambda kind: expected.setdefault(kind, read(run, kind))

  def case(number: int) -> str:
    source = drawn(seed, "flips", number)
    path = paths[number % len(paths)]
    before = path.read_bytes()
    at, name = source.randrange(len(before)), shown(path.relative_to(run))
    # A bit that flips, or a byte of another kind.
    other = before[at] ^ (1 << source.randrange(8))
    if source.random() < 0.3:
      other = source.choice([x for x in range(256) if x != before[at]])
    kind = kind_of(path.relative_to(run))
    whole(kind)
    try:
      path.write_bytes(before[:at] + bytes([other]) + before[at + 1 :])
      return f"{name}: {judged(run, kind, name, whole(kind))} | byte {at}"
    finally:
      path.write_bytes(before)

  yield case


def judged(run: pathlib.Path, kind: str, name: str, expected: dict) -> str:
  """Whether what is read is noticed, or the same."""
  from mcr_jax.errors import McrJaxError

  found = read(run, kind)
  said = [x for x in found.values() if isinstance(x, McrJaxError)]
  for what, value in found.items():
    if isinstance(value, Exception) and value not in said:
      raise Failure(f"{name}: {type(value).__name__} when {what} is read")
  if said:
    return "noticed"
  changed = [what for what in found if found[what] != expected[what]]
  if changed:
    raise Failure(f"{name}: {', '.join(changed)} changed in silence")
  return "without effect"


def read(run: pathlib.Path, kind: str) -> dict[str, object]:
  """All that the programs read of a run by what it is, or the error instead."""
  from mcr_jax import config as configs
  from mcr_jax import evaluators, files, load_run
  from mcr_jax.runs import trees, workspace, writer
  from mcr_jax.runs.checkpoint import Checkpoints
  from mcr_jax.sweeps import table

  def loaded():
    found = load_run(run)
    tree = dict(zip(("parameters", "others"), found.variables, strict=True))
    scores = found.normalizer
    return (
      trees.digest_of(trees.flatten(tree)),
      configs.to_json(found.config),
      repr((found.spec, found.seeds, found.digest, found.chosen, found.extract)),
      repr([(m, x.tobytes()) for m, x in scores.mean.items()]),
      repr([(m, x.tobytes()) for m, x in scores.std.items()]),
      (scores.clip, scores.notes),
    )

  def restored(kind):
    whole = getattr(Checkpoints(run), f"restore_{kind}")()
    return trees.digest_of(trees.flatten(whole.tree)), whole.meta, whole.step

  def evaluated(split):
    held = evaluators.read(run, split)
    arrays = held.ids, held.labels, held.predictions
    return files.json_text(held.results.to_json()), [x.tobytes() for x in arrays]

  readers = {
    "the run": loaded,
    "the last checkpoint": lambda: restored("last"),
    "the best checkpoint": lambda: restored("best"),
    "its facts": lambda: workspace.facts(run),
    "its epochs": lambda: writer.read(run / "metrics.jsonl"),
    "its row of a table": lambda: table._best(run, "valid/mae"),
    "its results on test": lambda: evaluated("test"),
    "its results on valid": lambda: evaluated("valid"),
  }
  return {what: _or_error(readers[what]) for what in KINDS[kind]}


KINDS = {
  "last": ("the last checkpoint",),
  "best": ("the best checkpoint",),
  "eval": ("its results on test", "its results on valid"),
  "metrics": ("its epochs", "its row of a table"),
  "other": ("the run", "its facts", "the last checkpoint", "its row of a table"),
}


def kind_of(path: pathlib.Path) -> str:
  """What reads a file of a run, as a name of `KINDS`."""
  if path.parts[0] == "checkpoints":
    return path.parts[1]
  if path.parts[0] in ("eval", "events"):
    return "eval"
  return "metrics" if path.name == "metrics.jsonl" else "other"


def shown(path: pathlib.Path) -> str:
  """The name of a file without what is random in it."""
  inside = path.parts
  if inside[0] == "checkpoints":
    return f"checkpoints/{inside[1]}"
  return "events" if inside[0] == "events" else str(path)


def _or_error(reader: Callable[[], object]) -> object:
  try:
    return reader()
  except Exception as error:
    return error
