"""What the first cell of a notebook installs, and when it restarts."""

import subprocess
import sys

import jax
import pytest

from mcr_jax.hosts import accelerators, notebook

CARD = accelerators.Found("NVIDIA GPU", "cuda12", "cuda12", ("jax-cuda12-plugin",))


@pytest.fixture
def machine(monkeypatch):
  """What is installed by name, which pip fills; the commands; whether it restarted."""
  found = {"mcr_jax": "1", "jax": "0.10.2", "installs": {}, "commands": [], "ends": []}

  def pip(command, check):
    found["commands"].append(command)
    found.update(found["installs"])

  monkeypatch.setattr(accelerators, "find", lambda: found.get("card"))
  monkeypatch.setattr(accelerators, "installed", lambda name: found.get(name, ""))
  monkeypatch.setattr(accelerators, "unused", lambda: found.get("line", ""))
  names = ("numpy", "mcr_jax", "jax", "jax-cuda12-plugin")
  versions = lambda: {name: found[name] for name in names if name in found}
  monkeypatch.setattr(notebook, "_versions", versions)
  monkeypatch.setattr(notebook, "_is_there", lambda module: "lacks" not in found)
  monkeypatch.setattr(notebook, "_restart", lambda: found["ends"].append(True))
  monkeypatch.setattr(subprocess, "run", pip)
  return found


def test_where_all_is_there_it_only_says_what_computes(machine, capsys):
  machine["line"] = "a card is idle"
  notebook.prepare()
  assert not machine["commands"]
  said = capsys.readouterr().out
  assert f"JAX {jax.__version__} computes on" in said and "a card is idle" in said


def test_what_draws_is_installed_with_the_package(machine):
  machine["lacks"] = True
  notebook.prepare()
  ((python, *_, pip, _, _, _, what),) = machine["commands"]
  assert python == sys.executable and pip == "pip" and what.endswith("[report]")
  assert not machine["ends"]


@pytest.mark.parametrize("plugin", ["", "0.4.30"])
def test_a_card_gets_the_extra_of_its_driver_where_none_fits(machine, plugin):
  machine |= {"card": CARD, "jax-cuda12-plugin": plugin}
  machine["installs"] = {"jax-cuda12-plugin": "0.10.2"}
  notebook.prepare()
  assert machine["commands"][0][-1].endswith("[report,cuda12]")
  notebook.prepare()
  assert len(machine["commands"]) == 1


def test_it_restarts_where_a_loaded_package_changed(machine, capsys):
  assert "numpy" in sys.modules
  machine |= {"mcr_jax": "", "numpy": "1", "installs": {"mcr_jax": "1", "numpy": "2"}}
  notebook.prepare()
  assert machine["ends"] and "because numpy changed" in capsys.readouterr().out
  notebook.prepare()
  assert len(machine["ends"]) == 1
