"""The page before there is a clip, and what it loads."""

from pathlib import Path
from typing import Any

import mcr_jax
from mcr_jax.demo.upload import LARGEST
from mcr_jax.pages import assets

HERE = Path(__file__).parent / "page"


def page(facts: dict[str, Any]) -> str:
  """The page before there is a clip.

  Args:
    facts: of `Reader.facts`.
  """
  values = {"version": mcr_jax.__version__, "largest": LARGEST, **facts}
  return assets.render("demo.html", folders=[HERE], **values)


def files() -> dict[str, tuple[str, str]]:
  """What the page loads, name -> (type, text)."""
  read = lambda path: path.read_text("utf-8")
  style = read(assets.HERE / "templates" / "style.css") + read(HERE / "demo.css")
  return {
    "style.css": ("text/css", style),
    "demo.js": ("text/javascript", read(HERE / "demo.js")),
    "charts.js": ("text/javascript", assets.charts_script(read(HERE / "draw.js"))),
  }
