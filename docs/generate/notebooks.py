"""The first two cells of every notebook: `python -m docs.generate.notebooks`.

What installs is the same in all of them, and runs before there is anything to import.
"""

import json
import re

from docs.generate import package

ROOT = package.ROOT.parent
FOLDER = ROOT / "notebooks"
COLAB = "https://colab.research.google.com/github/"
BADGE = "https://colab.research.google.com/assets/colab-badge.svg"
SETUP = """\
# Installs mcr_jax, JAX and what draws, where they are not there yet: about two minutes
# and 1 GB; where a GPU or a TPU is, also what JAX needs to compute there, some GB. It
# may restart the notebook: run all cells once more then.
import importlib.util
import os
import pathlib
import subprocess
import sys

REPOSITORY = "{address}"  # cloned where neither it nor the package is here

places = [pathlib.Path(name).absolute() for name in (".", "..", "mcr_jax")]
root = next((place for place in places if (place / "mcr_jax/hosts").is_dir()), None)
if root is None and importlib.util.find_spec("mcr_jax") is None:
  assert REPOSITORY, "Say in REPOSITORY which address to clone."
  subprocess.run(["git", "clone", "-q", "--depth=1", REPOSITORY, "mcr_jax"], check=True)
  root = places[-1]
if root is not None:
  os.chdir(root)
  sys.path.insert(0, str(root))

from mcr_jax.hosts import notebook

notebook.prepare()"""


def address() -> str:
  """Where the repository is, as `CITATION.cff` says it; "" where it does not."""
  text = (ROOT / "CITATION.cff").read_text("utf-8")
  found = re.search(r"^repository-code: *\"?([^\"\s]+)", text, re.M)
  return found[1] if found else ""


def badge(name: str) -> str:
  """The link that opens a notebook on Colab; without an address, its list of all."""
  place = re.search(r"github\.com/([^/]+/[^/]+?)(\.git)?/?$", address())
  link = f"{COLAB}{place[1]}/blob/main/notebooks/{name}" if place else COLAB
  return f"[![Open in Colab]({BADGE})]({link})"


def updated(name: str, text: str) -> str:
  """A notebook with both cells as they are now; what its first one says is kept."""
  found = json.loads(text)
  title, setup = found["cells"][:2]
  said = "".join(title["source"]).split("\n\n", 1)[-1 if _has_badge(title) else 0 :]
  title["source"] = _lines("\n\n".join([badge(name), *said]))
  setup["source"] = _lines(SETUP.format(address=address()))
  return json.dumps(found, indent=1, ensure_ascii=False) + "\n"


def _has_badge(cell: dict) -> bool:
  return "".join(cell["source"]).startswith("[![Open in Colab]")


def _lines(text: str) -> list[str]:
  return text.splitlines(keepends=True)


def main() -> None:
  """Writes them."""
  for path in sorted(FOLDER.glob("*.ipynb")):
    path.write_text(updated(path.name, path.read_text("utf-8")), "utf-8")


if __name__ == "__main__":
  main()
