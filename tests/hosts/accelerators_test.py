"""An accelerator that JAX leaves alone is named, with what mends it."""

import pathlib

import jax
import pytest

import mcr_jax
from mcr_jax import cli
from mcr_jax.__main__ import programs
from mcr_jax.hosts import accelerators

NAMED = (
  "JAX_PLATFORMS",
  "CUDA_VISIBLE_DEVICES",
  "TPU_ACCELERATOR_TYPE",
  "TPU_WORKER_ID",
)


@pytest.fixture(autouse=True)
def plain(monkeypatch):
  """No accelerator, and nothing that hides one."""
  for name in NAMED:
    monkeypatch.delenv(name, raising=False)
  monkeypatch.setattr(accelerators, "_smi", lambda *_: "")
  before = jax.config.jax_platforms
  jax.config.update("jax_platforms", None)
  yield
  jax.config.update("jax_platforms", before)


def machine(root, *paths, driver="580.65.06"):
  """A file system with these files, of a machine with an NVIDIA driver."""
  version = root / "proc/driver/nvidia/version"
  version.parent.mkdir(parents=True)
  version.write_text(f"NVRM version: NVIDIA UNIX x86_64 Kernel Module  {driver}  Jul\n")
  for path in paths:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).touch()
  return root


def test_a_machine_without_one_says_nothing(tmp_path):
  assert accelerators.find(tmp_path) is None and accelerators.unused(tmp_path) == ""
  # A driver, but no card.
  assert accelerators.find(machine(tmp_path)) is None


@pytest.mark.parametrize(
  ("driver", "extra", "own"),
  [("580.65.06", "cuda13", "cuda"), ("550.54.15", "cuda12", "cuda12")],
)
def test_the_extra_suits_the_driver(tmp_path, driver, extra, own):
  found = accelerators.find(machine(tmp_path, "dev/nvidia0", driver=driver))
  assert (found.extra, found.own, found.usable) == (extra, own, True)


def test_nvidia_smi_knows_a_card_and_its_driver(tmp_path, monkeypatch):
  said = {"-L": "GPU 0: Tesla T4 (UUID: GPU-0)\n"}
  monkeypatch.setattr(accelerators, "_smi", lambda *a: said.get(a[0], "550.54.15\n"))
  found = accelerators.find(tmp_path)
  assert (found.extra, found.usable) == ("cuda12", True)
  said["-L"] = "No devices found.\n"
  assert accelerators.find(tmp_path) is None


def test_a_missing_plugin_names_the_command_that_installs_it(tmp_path):
  line = accelerators.unused(machine(tmp_path, "dev/nvidia0"))
  assert line.startswith(
    "the machine has an accelerator (NVIDIA GPU) and JAX runs on the CPU"
  )
  assert line.endswith(f'pip install "jax[cuda13]=={jax.__version__}"')
  assert "\n" not in line


def test_what_hides_a_card_is_named(tmp_path, monkeypatch):
  root = machine(tmp_path, "dev/nvidia0")
  monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
  assert accelerators.unused(root).endswith("unset CUDA_VISIBLE_DEVICES")
  jax.config.update("jax_platforms", "cpu")
  assert accelerators.unused(root).endswith("unset JAX_PLATFORMS")


def test_a_container_without_the_card_is_told_so(tmp_path):
  line = accelerators.unused(machine(tmp_path, "proc/driver/nvidia/gpus/0000:01"))
  assert "docker run --gpus all" in line


def test_a_plugin_that_did_not_start_is_asked_why(tmp_path, monkeypatch):
  monkeypatch.setattr(accelerators, "installed", lambda name: "0.1")
  line = accelerators.unused(machine(tmp_path, "dev/nvidia0"))
  assert "JAX_PLATFORMS=cuda python" in line


def test_a_tpu_is_found_by_its_device_or_by_the_cloud(tmp_path, monkeypatch):
  monkeypatch.setenv("TPU_ACCELERATOR_TYPE", "v5litepod-1")
  assert "jax[tpu]" in accelerators.unused(tmp_path)
  monkeypatch.delenv("TPU_ACCELERATOR_TYPE")
  (tmp_path / "dev").mkdir()
  (tmp_path / "dev/accel0").touch()
  assert accelerators.find(tmp_path).kind == accelerators.TPU


def test_a_card_that_is_used_needs_no_line(tmp_path, monkeypatch):
  monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
  assert accelerators.unused(machine(tmp_path, "dev/nvidia0")) == ""


def test_every_program_that_computes_prepares_itself():
  folder = pathlib.Path(mcr_jax.__file__).parent
  # These compute nothing, or a few numbers.
  for name in {*programs()} - {"compare", "data", "models"}:
    file = folder / f"{name}.py"
    # The page leaves computing to a process of its own.
    main = "worker.py" if name == "demo" else "__main__.py"
    file = file if file.is_file() else folder / name / main
    assert "cli.prepare(" in file.read_text("utf-8"), name


def test_a_program_that_prepares_itself_says_it(monkeypatch, capsys):
  monkeypatch.setattr(accelerators, "unused", lambda: "a GPU is idle")
  monkeypatch.setattr(cli.allocator, "keep_freed_memory", lambda: None)
  monkeypatch.setattr(cli.gc, "freeze", lambda: None)
  monkeypatch.setattr(cli.gc, "set_threshold", lambda *_: None)
  monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "kept")
  cli.prepare()
  assert capsys.readouterr().err == "mcr_jax: a GPU is idle\n"
