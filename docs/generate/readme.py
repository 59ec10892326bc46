"""The list of models in README.md: `python -m docs.generate.readme` writes it anew."""

import pathlib
import textwrap

from docs.generate import package
from mcr_jax import models

README = package.ROOT.parent / "README.md"
BEGIN = "<!-- models: python -m docs.generate.readme writes this -->\n"
END = "<!-- end of models -->\n"


def block() -> str:
  """All models by what they read, as one list."""
  found: dict[str, list[str]] = {}
  for name in models.names():
    card = models.load(name).card
    reads = f"{card.reads} of a dialogue" if card.unit == "dialogue" else card.reads
    found.setdefault(reads, []).append(f"{card.title} (`{name}`)")
  ordered = sorted(found.items(), key=lambda item: (len(item[0]) > 9, item[0]))
  lines = (f"- {reads.capitalize()}: {', '.join(x)}" for reads, x in ordered)
  fill = lambda line: textwrap.fill(line, 88, subsequent_indent="  ")
  return "\n".join(map(fill, lines)) + "\n"


def updated(text: str) -> str:
  """The README with the list as it is now."""
  before, _, rest = text.partition(BEGIN)
  _, _, after = rest.partition(END)
  return f"{before}{BEGIN}{block()}{END}{after}"


def main(path: pathlib.Path = README) -> None:
  """Writes it."""
  path.write_text(updated(path.read_text("utf-8")), "utf-8")


if __name__ == "__main__":
  main()
