"""Which accelerator is in the machine, and whether JAX computes on it.

The file system and the driver are asked, not JAX, so that what installs JAX can ask,
too: loading this needs nothing but Python.
"""

import dataclasses
import os
import re
import shutil
import subprocess
from pathlib import Path

NVIDIA, TPU = "NVIDIA GPU", "TPU"
# The first driver of CUDA 13; older ones, of the last years, run CUDA 12.
CUDA13_DRIVER = 580
HIDDEN = ("", "-1", "NoDevFiles", "void", "none")


@dataclasses.dataclass(frozen=True)
class Found:
  """An accelerator.

  Attributes:
    kind: `NVIDIA` or `TPU`.
    extra: of JAX, which brings what computes on it.
    own: the same of this package.
    plugins: distributions any of which does.
    usable: whether its device files are here; a container may only see the driver.
  """

  kind: str
  extra: str
  own: str
  plugins: tuple[str, ...]
  usable: bool = True


def find(root: Path = Path("/")) -> Found | None:
  """The accelerator of this machine, or None; `root` is where its files are."""
  usable = bool([*root.glob("dev/nvidia[0-9]*")]) or _smi("-L").startswith("GPU")
  if usable or [*root.glob("proc/driver/nvidia/gpus/*")]:
    old = 0 < _driver(root) < CUDA13_DRIVER
    extra, own = ("cuda12", "cuda12") if old else ("cuda13", "cuda")
    plugins = ("jax-cuda12-plugin", "jax-cuda13-plugin")
    return Found(NVIDIA, extra, own, plugins, usable)
  tpu = any(name in os.environ for name in ("TPU_ACCELERATOR_TYPE", "TPU_WORKER_ID"))
  if tpu or [*root.glob("dev/accel[0-9]*")]:
    return Found(TPU, "tpu", "tpu", ("libtpu",))
  return None


def unused(root: Path = Path("/")) -> str:
  """A line on an accelerator that JAX leaves alone, with what mends it; or "".

  Where there is one, JAX is started, which a run of several processes must do later
  than it joins the others.
  """
  found = find(root)
  if found is None:
    return ""
  import jax

  if jax.default_backend() != "cpu":
    return ""
  what = _mend(found, jax.config.jax_platforms, jax.__version__)
  seen = f"the machine has an accelerator ({found.kind})"
  return f"{seen} and JAX runs on the CPU all the same; {what}"


def _mend(found: Found, platforms: str | None, version: str) -> str:
  if "cpu" in (platforms or ""):
    return f"JAX_PLATFORMS={platforms} says so: unset JAX_PLATFORMS"
  hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
  if found.kind == NVIDIA and hidden in HIDDEN:
    return f"CUDA_VISIBLE_DEVICES={hidden!r} hides it: unset CUDA_VISIBLE_DEVICES"
  if not found.usable:
    return "its device files are missing here: docker run --gpus all (or ask for a GPU)"
  if not any(map(installed, found.plugins)):
    return f'this brings what is missing: pip install "jax[{found.extra}]=={version}"'
  # A mistake in what is installed is told by JAX when that platform is all it may use.
  platform = "cuda" if found.kind == NVIDIA else "tpu"
  command = f'JAX_PLATFORMS={platform} python -c "import jax; jax.devices()"'
  return (
    f'it did not start, this says why: {command}; pip install -U "jax[{found.extra}]'
    f'=={version}" if the versions do not fit'
  )


def installed(distribution: str) -> str:
  """Its version, or ""."""
  from importlib import metadata

  try:
    return metadata.version(distribution)
  except metadata.PackageNotFoundError:
    return ""


def _driver(root: Path) -> int:
  """The first number of the NVIDIA driver's version; 0 where it is not known."""
  try:
    text = (root / "proc/driver/nvidia/version").read_text("utf-8")
  except OSError:
    text = f" {_smi('--query-gpu=driver_version', '--format=csv,noheader')}"
  numbers = re.search(r"\s(\d{3,})\.\d", text)
  return int(numbers[1]) if numbers else 0


def _smi(*arguments: str) -> str:
  """What nvidia-smi prints, "" where it is not there or finds nothing."""
  program = shutil.which("nvidia-smi")
  if program is None:
    return ""
  try:
    done = subprocess.run(
      [program, *arguments], capture_output=True, text=True, timeout=20
    )
  except (OSError, subprocess.TimeoutExpired):
    return ""
  return done.stdout if done.returncode == 0 else ""
