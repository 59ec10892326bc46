"""The campaign's table in benchmarks/README.md, from its records."""

import importlib

from benchmarks.faults import campaign

README = campaign.ROOT / "benchmarks" / "README.md"
BEGIN = "<!-- faults: `bin/faults table` writes this from results/faults -->\n"
END = "<!-- end of faults -->\n"
HEAD = (
  "| row | what | must hold | tried | of | failures found | what became of them "
  "| CPU min |\n|---|---|---|---|---|---|---|---|\n"
)


def text() -> str:
  """The table as Markdown."""
  lines, machines = [], []
  for row in campaign.ROWS:
    module = importlib.import_module(f"benchmarks.faults.{row}")
    record = campaign.load(row)
    if record is None:
      cells = [row, module.WHAT, module.MUST, "0", f"{module.COUNT:,}", "", "", ""]
    else:
      found = [x["what"] for x in record["failures"]]
      became = [x["became"] or "open" for x in record["failures"]]
      untried = sum(
        n for what, n in record["outcomes"].items() if what.startswith("not tried")
      )
      cells = [
        *(row, module.WHAT, module.MUST, f"{record['done'] - untried:,}"),
        *(f"{module.COUNT:,}", _listed(found), _listed(became)),
        f"{record['cpu_seconds'] / 60:.0f}",
      ]
      ends = dict.fromkeys((record["commits"][0], record["commits"][-1]))
      machines.append(
        f"{row}: seed {record['seed']}, {record['date']}, {' to '.join(ends)}"
      )
    lines.append(f"| {' | '.join(cells)} |\n")
  return HEAD + "".join(lines) + "\n" + "; ".join(machines) + ".\n"


def write() -> int:
  """Writes it into the page."""
  page = README.read_text("utf-8")
  before, found, rest = page.partition(BEGIN)
  _, ended, after = rest.partition(END)
  if not (found and ended):
    raise SystemExit(f"{README} lacks the lines {BEGIN!r} and {END!r}.")
  README.write_text(f"{before}{BEGIN}\n{text()}\n{END}{after}", "utf-8")
  print(f"written: {README}")
  return 0


def _listed(texts: list[str]) -> str:
  if not texts:
    return "none"
  numbered = (f"{i}. {x}" if len(texts) > 1 else x for i, x in enumerate(texts, 1))
  return "<br>".join(x.replace("|", r"\|") for x in numbered)
