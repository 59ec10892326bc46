"""What there is to reproduce: a table's needs, and about how long it takes here."""

import functools
from collections.abc import Iterator, Sequence

from ml_collections import ConfigDict

from mcr_jax.contract import Spec
from mcr_jax.errors import UserError
from mcr_jax.papers import estimate, published
from mcr_jax.papers.definition import Source, Table
from mcr_jax.papers.jobs import config_of, implemented
from mcr_jax.runs import inputs, progress

# Features a step in the papers: of sequences, and of MIA-Net's vectors.
SEQUENCES = {"text": 300, "audio": 74, "vision": 35, "covarep": 74, "facet": 35}
VECTORS = SEQUENCES | {"text": 1024, "audio": 768, "vision": 256}
TASKS = {
  "mosi": ("regression", (1,)),
  "mosei": ("regression", (1,)),
  "iemocap": ("binary", (4, 2)),
  "meld": ("multiclass", (7,)),
}
# Where the papers do not say: utterances of IEMOCAP in the files that are shared, and
# the dialogues of MELD with the turns of the longest.
SAMPLES = {"iemocap": (2717, 798, 938)}
DIALOGUES, TURNS = (1038, 114, 280), 33


def lines(tables: Sequence[Table]) -> Iterator[str]:
  """A paragraph a table, as soon as it is known."""
  machine = estimate.measure()
  yield (
    "Time: at most about, five seeds of what is implemented, on this machine, by steps "
    f"priced at {machine.operation * 1e12:.0f} ps an operation, "
    f"{machine.equation * 1e6:.1f} us an equation of a loop over time and "
    f"{machine.parameter * 1e9:.1f} ns a parameter's update, which were measured "
    "now. All epochs and whole sequences of the paper's data count: early stopping and "
    "short samples take less; what is compiled comes on top. Each has "
    ":quick, which takes minutes, on synthetic data."
  )
  for table in tables:
    yield from _paragraph(table, machine)


def _paragraph(table: Table, machine: estimate.Machine) -> list[str]:
  names, there = [], []
  for row in table.rows:
    if row.sources:
      names.append(row.name)
      there += [row.name] if all(map(implemented, row.sources.values())) else []
  lacking = sorted({*names} - {*there})
  needs = [f"--data {name}=FILE ({modalities(table, name)})" for name in table.data]
  seconds, runs = 0.0, set()
  for source in table.sources:
    text = f"{source}"
    if source.config and implemented(source) and text not in runs:
      runs.add(text)
      seconds += _seconds(source.config, source.data.partition("-")[0], machine)
  time = f"{len(runs)} runs, about {progress.duration(seconds)}" if runs else "seconds"
  rows = f"{len(there)} of {len(names)} rows are implemented"
  missing = f"; not {', '.join(lacking)}" if lacking else ""
  where = published.where(table.paper, table.source)
  return [
    f"\n{table.name}: {table.title} ({where})",
    f"  needs: {', '.join(needs) or 'nothing'}",
    f"  {rows}{missing}",
    f"  time: {time}",
  ]


def modalities(table: Table, name: str) -> str:
  """The modalities of one data set of a table, as words."""
  found: dict[str, None] = {}
  for source in table.sources:
    if source.data == name and source.config and implemented(source):
      own = source.overrides.get("data.modalities")
      found |= dict.fromkeys(own or _config(source.config).data.modalities)
  aligned = ", unaligned" if ":unaligned" in _configs_of(table, name) else ""
  return f"{', '.join(found) or 'what its systems read'}{aligned}"


def _configs_of(table: Table, name: str) -> str:
  return " ".join(source.config for source in table.sources if source.data == name)


@functools.cache
def _config(name: str) -> ConfigDict:
  model = name.partition(":")[2].partition(",")[0]
  return config_of(Source(name, model), "unknown", (), quick=False)


@functools.cache
def _seconds(name: str, corpus: str, machine: estimate.Machine) -> float:
  """Of the training of a config on a corpus of the paper's size; NaN if unknown."""
  config = _config(name)
  spec, samples = _shapes(config, corpus)
  try:
    work = estimate.work_of(config, spec)
  except UserError:  # a model that reads something else than the papers' features
    return 0.0
  return estimate.training(config, work, samples, machine)


def _shapes(config: ConfigDict, corpus: str) -> tuple[Spec, dict[str, int]]:
  """The spec of a corpus with the papers' features, and the samples of its splits."""
  dialogue, task = inputs.unit_of(config) == "dialogue", TASKS[corpus]
  names, lengths = config.data.modalities or ("text", "audio", "vision"), None
  lengths = {name: config.data.lengths.get(name, 1) for name in names}
  widths = SEQUENCES if any(n > 1 for n in lengths.values()) else VECTORS
  classes = task[1][-1] if task[0] == "multiclass" else 0
  spec = Spec(
    lengths={name: TURNS if dialogue else n for name, n in lengths.items()},
    widths={name: widths.get(name, 300) for name in names},
    task=task[0],
    outputs=task[1],
    class_names=tuple(map(str, range(classes))),
    unit="dialogue" if dialogue else "utterance",
    turns=TURNS if dialogue else 1,
    columns=("index", "turn", "speaker") if dialogue else ("index",),
    samples=1000,
  )
  known = {n: x for p in ("MIA-Net", "MCR") for n, x in _samples(p).items()} | SAMPLES
  sizes = DIALOGUES if dialogue else known[corpus]
  return spec, dict(zip(("train", "valid", "test"), sizes, strict=True))


def _samples(paper: str) -> dict[str, list[int]]:
  return published.paper(paper)["samples"]
