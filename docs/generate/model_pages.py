"""A page a model, from its card, its fields, its docstring and its shapes."""

import functools
import inspect
import sys
from collections.abc import Mapping
from typing import Any

import jax

from docs.generate import fields, markdown, package
from mcr_jax import contract, models
from mcr_jax.models.__main__ import counted

KINDS = {
  "exact": "the equations of the paper",
  "reconstruction": "a reconstruction: what no source states was inferred",
  "baseline": "a baseline",
}
READS = {
  "sequences": "sequences",
  "vectors": "one vector a modality; sequences are averaged over their real steps",
}
# Aligned CMU-MOSI: GloVe words, Facet frames, COVAREP.
LENGTHS = {"text": 50, "vision": 50, "audio": 50}
WIDTHS = {"text": 300, "vision": 35, "audio": 74}
DIALOGUE = dict(unit="dialogue", turns=33, columns=("turn", "speaker", "index"))
SHAPE = {
  "utterance": "at the shape of aligned CMU-MOSI",
  "dialogue": "of 33 turns",
}
INDEX = """\
# Models

Every model trains by `--config own:NAME` on any file, and is one file in
`mcr_jax/models/`. Parameters are those for the features of aligned CMU-MOSI
({shape}). How far each is from its
authors' code is [here](../reference/authors.md).

"""
TRAIN = """\
    python -m mcr_jax.train --config own:{name} --config.data.path=FILE --workdir DIR
"""


def titles() -> dict[str, str]:
  """Name -> title of every model."""
  return {name: models.load(name).card.title for name in models.names()}


def index() -> str:
  """The page that lists them."""
  header = ("model", "what it is", "reads", "a sample", "parameters")
  shape = ", ".join(f"{m} {LENGTHS[m]} x {WIDTHS[m]}" for m in LENGTHS)
  rows = []
  for name in models.names():
    card = models.load(name).card
    count = f"{parameters(_shapes(name)[0]):,}"
    link = f"[{card.title}]({name}.md)"
    rows.append((link, markdown.text(about(name)), card.reads, card.unit, count))
  return INDEX.format(shape=shape) + markdown.table(header, rows)


def page(name: str) -> str:
  """The page of one model as Markdown."""
  card = models.load(name).card
  own = fields.rows(models.load(name), tuple(models.fields(name)))
  variables, output = _shapes(name)
  body = _docstring(name).partition("\n\n")[2]
  drawn = contract.flatten(output.intermediates)
  return "\n".join(
    [
      f"# {card.title}\n",
      f"{markdown.text(about(name))}\n",
      markdown.table(("", ""), _facts(card, parameters(variables))),
      TRAIN.format(name=name),
      markdown.prose(body),
      "## Fields of `config.model`\n",
      markdown.table(fields.HEADER, own),
      fields.LEGEND * any("⇄" in row[-1] for row in own),
      "## Intermediates\n",
      f"What `run.outputs` returns by name, of two samples {SHAPE[card.unit]}.\n",
      markdown.table(
        ("name", "shape"),
        [(markdown.code(k), markdown.code(v.shape)) for k, v in drawn.items()],
      ),
      "## Code\n",
      *(f"::: {module}\n" for module in package.under(f"mcr_jax.models.{name}")),
    ]
  )


def about(name: str) -> str:
  """What a model is, in the words of its docstring's first sentence."""
  first = _docstring(name).partition("\n\n")[0].replace("\n", " ")
  words = first.partition(": ")[2] or first
  return words[0].upper() + words[1:]


def parameters(variables: Mapping[str, Any]) -> int:
  """How many numbers a model learns."""
  return sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))


def _facts(card: contract.Card, count: int) -> list[tuple[str, str]]:
  facts = {
    "Paper": markdown.text(card.paper),
    "What it is": KINDS[card.kind],
    "Reads": READS[card.reads],
    "A sample": f"one {card.unit}",
    "Modalities": counted(card),
    "Parameters": f"{count:,} for aligned CMU-MOSI",
    "Further losses": ", ".join(_losses(card)),
    "Phases": f"{len(card.phases)} by default" if card.phases else "",
  }
  return [(name, value) for name, value in facts.items() if value]


def _losses(card: contract.Card) -> list[str]:
  notes = dict.fromkeys(card.optional, " (with some fields)")
  notes[card.joint] = " (shares with the task by `loss.gamma`)"
  return [
    f"`{name}`, weight {weight:g}{notes.get(name, '')}"
    for name, weight in card.weights.items()
    if name != "task"
  ]


def _docstring(name: str) -> str:
  return inspect.cleandoc(sys.modules[models.load(name).__module__].__doc__ or "")


@functools.cache
def _shapes(name: str):
  """Variables and output for two samples at the shape above, as shapes only."""
  card = models.load(name).card
  given = DIALOGUE if card.unit == "dialogue" else {}
  most = card.modalities[1] or len(LENGTHS)
  lengths = dict(list(LENGTHS.items())[:most])
  widths = {m: WIDTHS[m] for m in lengths}
  spec = contract.Spec(lengths, widths, **given)
  model, batch = models.build(name, spec), spec.example()
  output, variables = jax.eval_shape(model.init_with_output, jax.random.key(0), batch)
  return variables, output
