"""How all tests run: on four virtual CPU devices, with JAX at its strictest."""

import os
import pathlib
import shutil
import tempfile

import pytest

from tests import quick

REAL_DATA = "MCR_JAX_REAL_DATA"
ROOT = pathlib.Path(__file__).resolve().parent.parent
# Files that take longest, or wait for programs that they start: begun last, one of them
# would leave the other processes idle.
FIRST = (
  "models/contract_test.py",
  "hosts/two_process_test.py",
  "notebooks_test.py",
  "gpu_check_test.py",
  "models/mcr_test.py",
  "training/loop_test.py",
)

# Before anything imports jax, which workers and programs that tests start inherit.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
if quick.DEVICES not in os.environ.get("XLA_FLAGS", ""):
  os.environ["XLA_FLAGS"] = quick.flags(devices=4)

# Programs that several tests, or the processes that they start, compile alike: the
# workers of xdist inherit the folder from the process that starts them.
_SESSION_CACHE = None
if not os.environ.get("JAX_COMPILATION_CACHE_DIR"):
  _SESSION_CACHE = tempfile.mkdtemp(prefix="mcr_jax_tests_")
  os.environ["JAX_COMPILATION_CACHE_DIR"] = _SESSION_CACHE
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")


def pytest_configure():
  import jax

  jax.config.update("jax_numpy_rank_promotion", "raise")


def pytest_collection_modifyitems(items):
  rank = {ROOT / "tests" / name: place for place, name in enumerate(FIRST)}
  items.sort(key=lambda item: rank.get(item.path, len(FIRST)))


def pytest_unconfigure():
  if _SESSION_CACHE:
    shutil.rmtree(_SESSION_CACHE, ignore_errors=True)


@pytest.fixture
def any_size():
  """Axes without a number: what checks the types of tests cannot broadcast them."""
  import jaxtyping

  jaxtyping.config.update("jaxtyping_disable", True)
  yield
  jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture(scope="session")
def real_data():
  """`real_data("corpus/file.npz")` is the path of a real file, or skips the test."""
  root = pathlib.Path(os.environ.get(REAL_DATA) or ROOT / "../shared/data").resolve()

  def path(name):
    found = root / name
    if not found.exists():
      pytest.skip(f"needs the real file {name}; set {REAL_DATA} to the folder with it")
    return found

  return path
