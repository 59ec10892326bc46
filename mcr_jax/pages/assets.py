"""What a page carries in itself: scripts, style, and a policy that allows nothing else.

Vega, Vega-Lite and vega-embed (BSD-3-Clause) come from the package vl-convert-python,
which bundles them without a network; `vendor/sortable.js` is sortable 4.1.7 by Jonas
Earendel (Unlicense). Charts are data: `DRAW` gives each to vega-embed, whose
expressions are interpreted (`ast`), so that the policy can forbid code made of text.
"""

import base64
import functools
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mcr_jax import files
from mcr_jax.errors import UserError

HERE = Path(__file__).parent
DRAW = """
for (const place of document.querySelectorAll("[data-chart]")) {
  const spec = document.getElementById(place.dataset.chart).textContent;
  const actions = {export: true, source: false, compiled: false, editor: false};
  vegaEmbed(place, JSON.parse(spec), {ast: true, renderer: "svg", actions: actions});
}
"""


@functools.cache
def charts_script(snippet: str = DRAW) -> str:
  """The libraries of the charts and what uses them, as a module."""
  try:
    import vl_convert
  except ImportError as error:
    raise _missing(error) from error
  return vl_convert.javascript_bundle(snippet)


@functools.cache
def sort_script() -> str:
  """The script that sorts tables by a click on a head."""
  return (HERE / "vendor" / "sortable.js").read_text("utf-8")


def policy(scripts: list[str]) -> str:
  """A content security policy under which these scripts run, and nothing else."""
  digests = (hashlib.sha256(script.encode()).digest() for script in scripts)
  hashes = " ".join(f"'sha256-{base64.b64encode(x).decode()}'" for x in digests)
  return (
    f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; "
    "img-src data:; base-uri 'none'; form-action 'none'"
  )


def json_for_page(value: Any) -> str:
  """JSON that may stand inside of a script element: nothing in it ends one."""
  text = json.dumps(
    files.finite(files.plain(value)), allow_nan=False, separators=(",", ":")
  )
  return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def render(template: str, *, folders: Sequence[Path] = (), **values: Any) -> str:
  """A template with values, which are escaped.

  Args:
    template: its name.
    folders: where templates are looked for before those of the reports.
    values: what it asks for.
  """
  try:
    import jinja2
  except ImportError as error:
    raise _missing(error) from error
  environment = jinja2.Environment(
    loader=jinja2.FileSystemLoader([*folders, HERE / "templates"]),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
  )
  return environment.get_template(template).render(**values)


def _missing(error: ImportError) -> UserError:
  return UserError(
    f"Reports need {error.name}, which is not installed: pip install 'mcr_jax[report]'."
  )
