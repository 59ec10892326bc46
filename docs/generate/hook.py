"""What mkdocs calls while it builds the site."""

import pathlib
import sys

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent.parent))

from docs.generate import (  # noqa: E402
  api_pages,
  config_page,
  deviation_page,
  format_page,
  metric_page,
  model_pages,
  program_page,
  results,
  saved,
)

PAGES: dict[str, str] = {}
NOTICE = pathlib.Path(__file__).resolve().parents[2] / "NOTICE"


def on_config(config: MkDocsConfig) -> MkDocsConfig:
  """Makes the pages, and lists those of models and of the API in `nav`."""
  models, parts = model_pages.titles(), api_pages.pages()
  PAGES.clear()
  PAGES["models/index.md"] = model_pages.index()
  PAGES.update({f"models/{name}.md": model_pages.page(name) for name in models})
  PAGES["api/index.md"] = api_pages.index()
  PAGES.update({f"api/{part}.md": page for part, page in parts.items()})
  PAGES["reference/config.md"] = config_page.page()
  PAGES["reference/formats.md"] = format_page.page()
  PAGES["reference/metrics.md"] = metric_page.page()
  PAGES["reference/results.md"] = results.page(saved.tables())
  PAGES["reference/deviations.md"] = deviation_page.page()
  PAGES["reference/programs.md"] = program_page.page()
  PAGES["reference/licences.md"] = f"# Licences\n\n{NOTICE.read_text()}"
  places = {
    "models/": [{title: f"models/{name}.md"} for name, title in models.items()],
    "api/": [{part: f"api/{part}.md"} for part in parts],
  }
  for entry in config.nav:
    for title, place in entry.items():
      if isinstance(place, str) and place in places:
        entry[title] = [f"{place}index.md", *places[place]]
  return config


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
  """Adds the pages to those that are written by hand."""
  for path, content in PAGES.items():
    files.append(File.generated(config, path, content=content))
  return files
