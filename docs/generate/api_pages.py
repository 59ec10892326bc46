"""A page for each part of the package, of what its modules say of themselves."""

import functools

from docs.generate import package

# In the order of a reader who goes deeper; parts that are not named here come behind.
ORDER = ("mcr_jax", "contract", "models", "layers", "ops", "losses", "metrics", "data")
INDEX = """\
# API

Signatures and docstrings of every public function and class. What most people need is
[the front door](mcr_jax.md); what a model is made of is in [contract](contract.md),
[layers](layers.md) and [ops](ops.md). The models have [pages of their
own](../models/index.md).

"""


def pages() -> dict[str, str]:
  """Name of a part -> its page as Markdown, in order."""
  return {part: _page(part, list(modules)) for part, modules in _parts().items()}


def index() -> str:
  """The page that lists them."""
  lines = []
  for part, modules in _parts().items():
    about = next(iter(modules.values()))
    lines.append(f"- [{part}]({part}.md): {about}".removesuffix(": "))
  return INDEX + "\n".join(lines) + "\n"


@functools.cache
def _parts() -> dict[str, dict[str, str]]:
  """Part -> its modules, each with its first sentence; in order."""
  parts: dict[str, dict[str, str]] = {}
  for name, path in package.modules():
    _, _, inside = name.partition(".")
    part = inside.split(".")[0] or name
    if not inside.startswith("models."):
      parts.setdefault(part, {})[name] = package.first_sentence(path)
  rank = {name: number for number, name in enumerate(ORDER)}
  ordered = sorted(parts, key=lambda part: (rank.get(part, len(rank)), part))
  return {part: parts[part] for part in ordered}


def _page(part: str, modules: list[str]) -> str:
  title = part if part == "mcr_jax" else f"mcr_jax.{part}"
  sections = [f"## {module}\n\n::: {module}\n" for module in modules]
  return "\n".join([f"# {title}\n", *sections])
