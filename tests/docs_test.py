"""The README and the documentation say what there is: commands, fields, files, code."""

import pathlib
import re

import pytest

import mcr_jax
from docs.generate import fields, markdown, readme
from mcr_jax import conformance, losses, models
from mcr_jax.__main__ import programs
from mcr_jax.config import files, groups

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]
TEXTS = {path.relative_to(ROOT).as_posix(): path.read_text("utf-8") for path in PAGES}
FENCED = re.compile(r"^```python\n(.*?)^```", re.M | re.S)
# Groups whose fields a page names, and what stands for a name.
GROUP = "|".join(groups.GROUPS)
FIELD = re.compile(rf"(?:--config\.|[`(\s])((?:{GROUP})\.\w+)\b(?!\()")
ENDINGS = ("py", "path", "npz", "NAME", "json", "csv", "mcr", "stablehlo")


def code(page, number):
  return FENCED.findall(TEXTS[f"docs/guide/{page}.md"])[number]


def known_fields():
  for group, of in groups.GROUPS.items():
    yield from (f"{group}.{name}" for name in of.__dataclass_fields__)
  for name in models.names():
    yield from (f"model.{field}" for field in models.fields(name))


def test_the_readme_lists_every_model():
  text = TEXTS["README.md"]
  assert readme.updated(text) == text, "python -m docs.generate.readme writes it anew"


@pytest.mark.parametrize("page", TEXTS)
def test_a_page_names_programs_configs_and_fields_that_exist(page):
  text = TEXTS[page]
  called = re.findall(r"python -m mcr_jax\.(\w+)", text)
  assert set(called) <= set(programs())
  configs = re.findall(r"--config (\w+)", text)
  assert set(configs) <= {*files.shipped(), "C"}
  own = re.findall(r"--config own:(\w+)", text)
  assert set(own) <= {*models.names(), "NAME", "MODEL"}
  sweeps = re.findall(r"--sweep (\w+)", text)
  assert set(sweeps) <= set(files.shipped("get_sweep", "sweeps"))
  named = {name for name in FIELD.findall(text) if name.split(".")[1] not in ENDINGS}
  assert named <= set(known_fields())


@pytest.mark.parametrize("page", TEXTS)
def test_a_page_names_files_that_exist(page):
  places = r"`((?:bin|benchmarks|configs|docs|tests|mcr_jax)/[\w./]*)`"
  for name in re.findall(places, TEXTS[page]):
    assert (ROOT / name).exists(), name


def test_the_guide_names_every_loss_and_every_field_of_folds():
  for name in losses.LOSSES:
    assert f"`{name}`" in TEXTS["docs/guide/losses.md"]
  folds = [name for name in groups.Data.__dataclass_fields__ if name.startswith("fold")]
  for name in folds:
    assert f"| `data.{name}` |" in TEXTS["docs/guide/folds.md"]


def test_every_field_says_what_it_is():
  every = [*groups.GROUPS.values(), groups.Phase, groups.Config]
  described = [row for group in every for row in fields.rows(group)]
  named = [row[0].strip("`") for row in described if len(row[3]) < 5]
  assert set(named) <= {*groups.GROUPS}, named


def test_what_a_field_may_be_stands_in_words():
  shown = {row[0]: row[1:3] for row in fields.rows(groups.Data, path="data.")}
  assert shown["`data.trim`"] == ("`True`", "`true` or `false`")
  assert shown["`data.clip`"] == ("`5.0`", "a number in [0, inf)")
  assert shown["`data.overlong`"] == ("`error`", "`error`, `truncate`")
  assert shown["`data.modalities`"] == ("`()`", "names of modalities")
  lengths = f"by modality, each a whole number in [1, {groups.COUNT}]"
  assert shown["`data.lengths`"] == ("`{}`", lengths)


@pytest.mark.slow
def test_the_loop_of_the_guide_runs_and_learns(capsys):
  exec(code("python", 1), {})
  values = [float(line.split()[1]) for line in capsys.readouterr().out.splitlines()]
  assert len(values) == 5 and values[-1] < values[0]


@pytest.mark.parametrize("number", [0, 1])
def test_the_models_of_the_guide_keep_the_contract(number):
  found = {"__name__": __name__}
  exec(code("own_model", number), found)
  results = conformance.results(conformance.Subject(found["Model"]))
  assert not {what: wrong for what, wrong in results if wrong}


def test_prose_keeps_code_and_escapes_the_rest():
  text = "A * b of `c_*`:\n- one\n  more\n- two_ <x>\n\n  x = y\n"
  expected = (
    "A \\* b of `c_*`:\n\n- one\n  more\n- two\\_ &lt;x&gt;\n\n```\nx = y\n```\n"
  )
  assert markdown.prose(text) == expected


def test_the_version_is_one():
  cited = (ROOT / "CITATION.cff").read_text("utf-8")
  assert f"\nversion: {mcr_jax.__version__}\n" in cited
  changes = (ROOT / "CHANGELOG.md").read_text("utf-8")
  assert re.findall(r"^## \[(\d.*?)\]", changes, re.M)[0] == mcr_jax.__version__
