"""The results in README.md and on the site, from the tables that are kept.

  bin/results [DIR or FILE ...]

keeps the tables of these workdirs, then writes the README anew.
"""

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from docs.generate import markdown, package, saved
from mcr_jax import cli

README = package.ROOT.parent / "README.md"
BEGIN = "<!-- results: bin/results writes this from benchmarks/results/tables -->\n"
END = "<!-- end of results -->\n"
# What the README shows of a table: columns, and systems besides the papers' own.
COLUMNS, SYSTEMS = 4, 5
OWN = ("MCR", "MIA-Net")
ARROWS = {"higher": "↑", "lower": "↓"}
LEGEND = (
  "Mean ± deviation over seeds; **bold** is the best of ours, † better than every "
  "other of ours by a paired t-test over seeds (p < 0.05), ‡ by Holm's correction, "
  "too; in brackets what is published."
)
HEAD = f"""\
# Results

The tables that were run whole, each by the command below it. {LEGEND}
"""

Table = Mapping[str, Any]


def block(tables: Sequence[Table]) -> str:
  """The short form for the README."""
  parts = [f"{textwrap.fill(LEGEND, 88)}\n"] * bool(tables)
  for table in tables:
    columns = table["columns"][:COLUMNS]
    lines = []
    for section in table["sections"]:
      title = [f"*{section['title']}*", *[""] * len(columns)]
      lines += [title] * bool(section["title"] and len(table["sections"]) > 1)
      for row in _short(section["rows"], table["columns"][0]):
        lines.append([row["name"], *(_shown(row, column) for column in columns)])
    shown = markdown.table(["system", *map(_heading, columns)], lines)
    parts.append(f"**{table['title']}** (`{table['name']}`)\n\n{shown}")
  return "\n".join(parts)


def page(tables: Sequence[Table]) -> str:
  """The whole tables as Markdown."""
  return "\n".join([HEAD, *map(_whole, tables)])


def updated(text: str, tables: Sequence[Table]) -> str:
  """The README with the tables as they are now."""
  before, _, rest = text.partition(BEGIN)
  _, _, after = rest.partition(END)
  return f"{before}{BEGIN}{block(tables)}{END}{after}"


def _whole(table: Table) -> str:
  where = f", {table['source']}" if table["source"] else ""
  parts = [f"## {table['title']}\n", f"`{table['name']}` ({table['paper']}{where})\n"]
  for section in table["sections"]:
    heads = [_heading(column) for column in table["columns"]]
    lines = [
      [_name(row), *(_shown(row, column) for column in table["columns"])]
      for row in section["rows"]
    ]
    title = [f"### {section['title']}\n"] if section["title"] else []
    parts += [*title, markdown.table(["system", *heads], lines)]
  notes = [*table["notes"], *_significant(table)]
  parts += [f"- {markdown.text(note)}\n" for note in notes]
  if command := table.get("command"):
    parts.append(f"\n    {command}\n")
  return "\n".join(parts)


def _significant(table: Table) -> Iterator[str]:
  """What the paired bootstrap over samples says of the best in the first column."""
  first = table["columns"][0]
  own = [c for c in table["comparisons"] if c["column"] == first["id"]]
  for number in dict.fromkeys(entry["section"] for entry in own):
    each = [entry for entry in own if entry["section"] == number]
    same = [entry["other"] for entry in each if not entry["p_samples"] < 0.05]
    less = f" except {', '.join(same)}" if same else ""
    yield (
      f"{first['title']} by a paired bootstrap over samples, at 5%: "
      f"{each[0]['best']} is better than every other of its section{less}."
    )


def _short(rows: Sequence[Mapping], first: Mapping) -> list[Mapping]:
  """The best of ours with the papers' own systems; rows of others where all are."""
  ours = [row for row in rows if row["cells"][first["id"]]["mean"] is not None]
  if not ours:
    return [row for row in rows if row["cells"][first["id"]]["published"] is not None]
  sign = -1 if first["better"] == "higher" else 1
  ranked = sorted(ours, key=lambda row: sign * row["cells"][first["id"]]["mean"])
  best = {row["name"] for row in ranked[:SYSTEMS]}
  chosen = lambda row: row["name"] in best or row["name"].startswith(OWN)
  return [row for row in ranked if chosen(row)]


def _heading(column: Mapping) -> str:
  return f"{column['group']} {column['title']} {ARROWS[column['better']]}".strip()


def _name(row: Mapping) -> str:
  said = {
    "reconstruction": " (reconstruction)",
    "not implemented": " (not implemented)",
  }
  return markdown.text(row["name"]) + said.get(row["kind"], "")


def _shown(row: Mapping, column: Mapping) -> str:
  """A cell: ours, and in brackets the published number."""
  cell, decimals = row["cells"][column["id"]], column["decimals"]
  known = cell["published"] is not None
  printed = f"({cell['published']:.{decimals}f})" if known else ""
  if cell["mean"] is None:
    return printed or "–"
  ours = f"{cell['mean']:.{decimals}f}"
  if cell["std"] is not None:
    ours += f" ± {cell['std']:.{decimals}f}"
  if cell.get("best"):
    ours = f"**{ours}**" + ("‡" if cell["holm"] else "†" if cell["dagger"] else "")
  return f"{ours} {printed}".strip()


def main(argv: list[str]) -> None:
  """Keeps what is named, and writes the README."""
  for source in argv:
    print(f"kept in {saved.keep(Path(source))}")
  text = updated(README.read_text("utf-8"), saved.tables())
  README.write_text(text, "utf-8")
  print(f"written: {README}")


if __name__ == "__main__":
  cli.run(main)
