"""What a user meets first: the package, its programs and their help."""

import ast
import importlib
import pathlib
import subprocess
import sys

import pytest

import mcr_jax
from mcr_jax.__main__ import main, programs
from mcr_jax.errors import UserError

TREE = ast.parse(pathlib.Path(mcr_jax.__file__).read_text("utf-8"))


def test_every_listed_name_is_there_and_nothing_is_loaded_before_it_is_used():
  code = (
    "import sys, mcr_jax\n"
    "listed = dir(mcr_jax)\n"
    "assert not {'jax', 'flax', 'numpy'} & set(sys.modules)\n"
    "assert set(mcr_jax.__all__) <= set(listed)\n"
    "[getattr(mcr_jax, name) for name in mcr_jax.__all__]\n"
    "import mcr_jax.train\n"
    "assert callable(mcr_jax.fit) and not hasattr(mcr_jax, 'nothing')\n"
  )
  subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_type_checkers_see_the_same_names_and_places():
  (block,) = [node for node in TREE.body if isinstance(node, ast.If)]
  seen = {}
  for node in block.body:
    for alias in node.names:
      seen[alias.asname or alias.name] = (node.module, alias.name)
  assert set(seen) | {"__version__"} == set(mcr_jax.__all__)
  for name, place in mcr_jax._MEMBERS.items():
    assert seen.pop(name) == place
  assert all(place == ("mcr_jax", name) for name, place in seen.items())


def test_the_first_line_of_the_docstring_works(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  line = mcr_jax.__doc__.split("\n\n")[1].splitlines()[0].strip()
  found = {"mcr_jax": mcr_jax}
  exec(line, found)
  assert found["config"].model.name == "mcr"


def test_the_list_of_programs_has_a_line_for_each(capsys):
  main([])
  lines = capsys.readouterr().out.splitlines()
  for name, line in programs().items():
    assert line.endswith(".") and f"python -m mcr_jax.{name}" in " ".join(lines)
  main(["train"])
  assert "mcr_jax.train --help" in capsys.readouterr().out
  with pytest.raises(UserError, match='trian.*"train"'):
    main(["trian"])


@pytest.mark.parametrize("name", programs())
def test_every_program_has_help_with_three_examples(name, capsys):
  folder = pathlib.Path(mcr_jax.__file__).parent / name
  module = f"mcr_jax.{name}.__main__" if folder.is_dir() else f"mcr_jax.{name}"
  with pytest.raises(SystemExit) as end:
    importlib.import_module(module).main(["--help"])
  shown = capsys.readouterr().out
  assert end.value.code in (0, None)
  assert shown.partition("examples:")[2].count(f"python -m mcr_jax.{name}") >= 3
