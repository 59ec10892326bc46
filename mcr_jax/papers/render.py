"""A table as text, CSV and LaTeX."""

import csv as csvs
import io
from collections.abc import Mapping, Sequence
from typing import Any

from mcr_jax.evaluators.render import columns as aligned
from mcr_jax.papers import published

Document = Mapping[str, Any]
STATUS = {
  "not implemented": "not implemented",
  "missing": "not run yet",
  "diverged": "diverged",
  "impossible": "impossible",
}
LEGEND = (
  "Every number of ours: mean +- deviation over seeds; in brackets the published "
  "one{}.",
  "*: the best of ours. +: better than every other of ours by a paired t-test over "
  "seeds, p < 0.05; ++: by Holm's correction, too. Nothing of ours is tested against a "
  "published mean.",
)
# Of a table without predictions.
COUNTED = ("In brackets the published number{}. *: the best of ours.",)


def text(document: Document) -> str:
  """For a terminal."""
  columns, warning = document["columns"], document["synthetic"]
  lines = [f"{document['paper']}, {document['source']}: {document['title']}"]
  heads = ["", *(_heading(column) for column in columns)]
  for section in document["sections"]:
    rows = [heads]
    for row in section["rows"]:
      cells = [_cell(row["cells"][column["id"]], column) for column in columns]
      rows.append([f"{row['name']}{_mark(row)}", *cells])
    title = filter(None, (section["title"], warning))
    lines += ["", *title, aligned(rows)]
  trained = any(run["trained"] for run in document["runs"].values())
  # Of synthetic data no difference says anything.
  less = "" if warning else ", and ours less that"
  legend = [line.format(less) for line in (LEGEND if trained else COUNTED)]
  lines += ["", *legend, *document["notes"], *remarks(document)]
  return "\n".join(lines)


def remarks(document: Document) -> list[str]:
  """What rows have to say, each thing once."""
  found: dict[str, list[str]] = {}
  for section in document["sections"]:
    where = f" ({section['title']})" if section["title"] else ""
    for row in section["rows"]:
      said = [row["note"], row["reason"] and f"{row['reason']}."]
      if row["kind"] == "reconstruction":
        said.append("A reconstruction: its paper does not say all that a model needs.")
      for sentence in filter(None, said):
        found.setdefault(sentence, []).append(f"{row['name']}{where}")
  return [f"{', '.join(names)}: {sentence}" for sentence, names in found.items()]


def csv(document: Document) -> str:
  """A line a cell, with everything that is known of it."""
  head = ["section", "row", "kind", "status", "corpus", "column", "published", "mean"]
  head += ["std", "difference", "best", "dagger", "holm", "seeds", "run", "data"]
  file = io.StringIO(newline="")
  writer = csvs.writer(file, lineterminator="\n")
  writer.writerow(head)
  data = "synthetic" if document["synthetic"] else "given"
  for section in document["sections"]:
    for row in section["rows"]:
      for column in document["columns"]:
        cell = row["cells"][column["id"]]
        values = [cell[name] for name in ("published", "mean", "std", "difference")]
        marks = [int(cell[name]) for name in ("best", "dagger", "holm")]
        writer.writerow(
          [
            *(section["title"], row["name"], row["kind"], row["status"]),
            *(column["corpus"], column["title"]),
            *("" if value is None else repr(value) for value in values),
            *marks,
            " ".join(map(repr, cell["seeds"])),
            row["runs"].get(column["corpus"], ""),
            data,
          ]
        )
  return file.getvalue()


def latex(document: Document) -> str:
  r"""With booktabs: our best in bold, $\dagger$ and $\ddagger$ (Holm) beside it.

  Of every column the published number stands left, ours right; where the paper prints
  none at all, ours alone.
  """
  columns = document["columns"]
  rows = [row for section in document["sections"] for row in section["rows"]]
  both = any(x["published"] is not None for r in rows for x in r["cells"].values())
  wide = 2 if both else 1
  paper = published.where(document["paper"], document["source"])
  who = f"Left: {paper}; right: ours" if both else f"After {paper}; ours"
  caption = f"{document['synthetic']} {document['title']}. {who}, mean over seeds."
  caption = escape(caption.strip())
  caption += (
    r" Bold: best of ours. $\dagger$: better than every other of ours, paired "
    r"$t$-test over seeds, $p < 0.05$; $\ddagger$: also with Holm's correction."
  )
  lines = [r"\begin{table}", r"\centering", rf"\caption{{{caption}}}"]
  lines += [rf"\begin{{tabular}}{{l{'r' * wide * len(columns)}}}", r"\toprule"]
  if any(column["group"] for column in columns):
    spans = _spans([column["group"] for column in columns])
    parts = [rf"\multicolumn{{{wide * n}}}{{c}}{{{escape(g)}}}" for g, n in spans]
    lines.append(" & ".join(["", *parts]) + r" \\")
  arrows = {"higher": r"$\uparrow$", "lower": r"$\downarrow$"}
  heads = [
    rf"\multicolumn{{{wide}}}{{c}}{{{escape(c['title'])} {arrows[c['better']]}}}"
    for c in columns
  ]
  lines.append(" & ".join(["", *heads]) + r" \\")
  for section in document["sections"]:
    lines.append(r"\midrule")
    if section["title"]:
      whole = 1 + wide * len(columns)
      lines.append(rf"\multicolumn{{{whole}}}{{l}}{{{escape(section['title'])}}} \\")
    for row in section["rows"]:
      pairs = [_latex_cells(row["cells"][column["id"]], column) for column in columns]
      cells = [cell for pair in pairs for cell in pair[2 - wide :]]
      lines.append(" & ".join([escape(f"{row['name']}{_mark(row)}"), *cells]) + r" \\")
  return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", r"\end{table}", ""])


def escape(plain: str) -> str:
  """Text as LaTeX prints it."""
  named = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\^{}"}
  named |= {">": r"$>$", "<": r"$<$"} | {x: f"\\{x}" for x in "&%$#_{}"}
  return "".join(named.get(letter, letter) for letter in plain)


def _latex_cells(cell: Mapping, column: Mapping) -> tuple[str, str]:
  """The published number, and ours."""
  decimals = column["decimals"]
  printed = _number(cell["published"], decimals)
  if cell["published_dagger"]:
    printed += r"$^\dagger$"
  ours = _number(cell["mean"], decimals)
  if cell["best"]:
    mark = r"$^\ddagger$" if cell["holm"] else r"$^\dagger$" if cell["dagger"] else ""
    ours = rf"\textbf{{{ours}}}{mark}"
  return printed, ours


def _heading(column: Mapping) -> str:
  return f"{column['group']} {column['title']}".strip()


def _mark(row: Mapping) -> str:
  shown = [STATUS.get(row["status"], "")]
  shown += ["reconstruction"] if row["kind"] == "reconstruction" else []
  shown = [*filter(None, shown)]
  return f" [{', '.join(shown)}]" if shown else ""


def _cell(cell: Mapping, column: Mapping) -> str:
  decimals, printed = column["decimals"], cell["published"]
  if cell["mean"] is None:
    return f"({_number(printed, decimals)})" if printed is not None else "-"
  spread = "" if cell["std"] is None else f" +-{cell['std']:.{decimals}f}"
  mark = "*" * cell["best"] + "+" * (cell["dagger"] + cell["holm"])
  found = f"{_number(cell['mean'], decimals)}{spread}{mark}"
  if printed is None:
    return found
  less = cell["difference"]
  less = "" if less is None else f" {less:+.{decimals}f}"
  return f"{found} ({_number(printed, decimals)}{less})"


def _number(value: float | None, decimals: int) -> str:
  return "--" if value is None else f"{value:.{decimals}f}"


def _spans(groups: Sequence[str]) -> list[tuple[str, int]]:
  found: list[tuple[str, int]] = []
  for group in groups:
    if found and found[-1][0] == group:
      found[-1] = (group, found[-1][1] + 1)
    else:
      found.append((group, 1))
  return found
