import json
import logging
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import textwrap
import time
import types

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from absl import logging as absl_logging

from mcr_jax.errors import DamagedCheckpoint, UserError
from mcr_jax.runs.checkpoint import Checkpoints
from mcr_jax.runs.trees import digest_of, flatten

# TensorStore's threads may report to Orbax's event loop after a failed read closed it.
pytestmark = pytest.mark.filterwarnings(
  "ignore::pytest.PytestUnraisableExceptionWarning"
)


def tree(fill: float = 1.0) -> dict:
  params = {
    "head": {"kernel": jnp.full((5, 7), fill), "bias": jnp.arange(7.0)},
    "half": jnp.full((3,), fill, jnp.bfloat16),
  }
  return {
    "params": params,
    "opt": optax.adam(1e-3).init(params),
    "step": jnp.int32(11),
    "stopped": np.array([True, False]),
    "nothing": None,
  }


def template(of: dict) -> dict:
  return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), of)


def test_what_was_saved_comes_back_in_its_containers(tmp_path):
  saved = tree()
  Checkpoints(tmp_path).save_last(3, saved, {"epoch": 2, "best": [0.5, None]})
  restored, meta, step = Checkpoints(tmp_path).restore_last(template(saved))
  assert (meta, step) == ({"epoch": 2, "best": [0.5, None]}, 3)
  assert jax.tree.structure(restored) == jax.tree.structure(saved)
  for back, leaf in zip(jax.tree.leaves(restored), jax.tree.leaves(saved), strict=True):
    assert (back.dtype, back.shape) == (leaf.dtype, leaf.shape)
    np.testing.assert_array_equal(back, leaf)


def test_without_a_template_parameters_come_back_as_nested_dicts(tmp_path):
  Checkpoints(tmp_path).save_best(1, tree(), {})
  restored = Checkpoints(tmp_path).restore_best().tree
  assert isinstance(restored["params"]["head"]["kernel"], np.ndarray)
  np.testing.assert_array_equal(restored["params"]["head"]["bias"], np.arange(7.0))


def test_a_template_decides_where_arrays_lie(tmp_path):
  mesh = jax.make_mesh((jax.device_count(),), ("data",))
  split = jax.sharding.NamedSharding(mesh, jax.P("data"))
  rows = 2 * jax.device_count()
  keys = jax.random.split(jax.random.key(3), rows)
  values = jnp.arange(3.0 * rows).reshape(rows, 3)
  Checkpoints(tmp_path).save_last(1, {"keys": keys, "values": values}, {})
  wanted = {
    "keys": jax.ShapeDtypeStruct(keys.shape, keys.dtype),
    "values": jax.ShapeDtypeStruct(values.shape, values.dtype, sharding=split),
  }
  restored = Checkpoints(tmp_path).restore_last(wanted).tree
  assert restored["values"].sharding == split
  np.testing.assert_array_equal(restored["values"], values)
  chex.assert_trees_all_equal(
    jax.random.key_data(restored["keys"]), jax.random.key_data(keys)
  )


def test_a_new_folder_has_no_checkpoint(tmp_path):
  assert Checkpoints(tmp_path).restore_last() is None
  assert Checkpoints(tmp_path / "missing").restore_best() is None


@pytest.mark.parametrize("gone", ["checkpoints", "checkpoints/last", "its steps"])
@pytest.mark.parametrize("steps", [1, 2])
def test_checkpoints_that_were_deleted_are_missed(tmp_path, gone, steps):
  checkpoints = Checkpoints(tmp_path)
  for step in range(1, steps + 1):
    checkpoints.save_last(step, {"x": np.float32(step)}, {})
  folder = tmp_path / "checkpoints/last"
  for path in folder.iterdir() if gone == "its steps" else [tmp_path / gone]:
    shutil.rmtree(path)
  with pytest.raises(DamagedCheckpoint, match=f"knows of step {steps}: it was deleted"):
    checkpoints.restore_last()


def test_a_process_killed_at_its_first_save_had_no_checkpoint(tmp_path):
  checkpoints = Checkpoints(tmp_path)
  checkpoints._record("last", 1, "of a step that was never written")
  assert checkpoints.restore_last() is None


def test_a_best_step_beyond_the_last_one_is_forgotten_for_good(tmp_path):
  checkpoints = Checkpoints(tmp_path)
  checkpoints.save_last(1, {"x": np.float32(1)}, {})
  checkpoints.save_best(2, {"x": np.float32(2)}, {})
  checkpoints.forget_after(1)
  assert checkpoints.restore_best() is None and checkpoints.restore_last().step == 1


@pytest.mark.parametrize("left", ["3.deleted", "3.orbax-checkpoint-tmp"])
def test_what_a_stopped_run_left_half_goes_when_it_goes_on(tmp_path, left):
  Checkpoints(tmp_path).save_last(4, {"x": np.float32(1)}, {})
  (tmp_path / "checkpoints/last" / left / "d").mkdir(parents=True)
  Checkpoints(tmp_path).forget_after(4)
  assert [p.name for p in (tmp_path / "checkpoints/last").iterdir()] == ["4"]


def test_the_newest_two_of_last_and_the_newest_best_stay(tmp_path):
  checkpoints = Checkpoints(tmp_path)
  for step in range(1, 5):
    checkpoints.save_best(step, {"x": np.float32(step)}, {})
    checkpoints.save_last(step, {"x": np.float32(step)}, {})
  assert checkpoints.steps("last") == [3, 4]
  assert checkpoints.steps("best") == [4]
  digests = json.loads((tmp_path / "digests.json").read_text())
  assert set(digests["last"]) >= {"3", "4"} and len(digests["last"]) <= 3


def test_a_best_step_outlives_the_ones_that_last_has_not_reached(tmp_path):
  checkpoints = Checkpoints(tmp_path)
  checkpoints.save_best(2, {"x": np.float32(2)}, {})
  checkpoints.save_last(3, {"x": np.float32(3)}, {})
  for step in (4, 5, 6):
    checkpoints.save_best(step, {"x": np.float32(step)}, {})
  assert checkpoints.steps("best") == [2, 6]
  checkpoints.forget_after(3)  # killed here, and resumed
  assert checkpoints.restore_best().step == 2


def test_saving_a_step_again_replaces_it(tmp_path):
  checkpoints = Checkpoints(tmp_path)
  for value in (1, 1, 2):
    checkpoints.save_last(5, {"x": np.float32(value)}, {})
  assert checkpoints.restore_last().tree["x"] == 2


def test_the_digest_sees_path_dtype_shape_and_bytes():
  leaf = np.arange(6, dtype=np.float32)
  others = [
    {"b": leaf},
    {"a": leaf.view(np.int32)},
    {"a": leaf.reshape(2, 3)},
    {"a": np.nextafter(leaf, 9, dtype=np.float32)},
    {"a": leaf, "b": leaf},
  ]
  digests = {digest_of(leaves) for leaves in [{"a": leaf}, *others]}
  assert len(digests) == 6
  assert digest_of({"a": leaf.copy()}) in digests


def test_a_flipped_byte_in_any_file_is_noticed_or_harmless(tmp_path):
  saved = tree()
  random.seed(0)
  checkpoints = Checkpoints(tmp_path)
  checkpoints.save_last(1, saved, {"epoch": 1})
  whole = flatten(saved)
  noticed = set()
  files = [p for p in (tmp_path / "checkpoints").rglob("*") if p.is_file()]
  for file in [*files, tmp_path / "digests.json"]:
    data = file.read_bytes()
    for position in {0, len(data) - 1, len(data) // 2, random.randrange(len(data))}:
      flipped = bytearray(data)
      flipped[position] ^= 4
      file.write_bytes(flipped)
      try:
        restored = checkpoints.restore_last()
      except DamagedCheckpoint as error:
        noticed.add(file.name)
        assert str(tmp_path) in str(error)
      else:
        # A byte that nobody reads, such as a time: then nothing has changed.
        assert restored.meta == {"epoch": 1}
        assert digest_of(flatten(restored.tree)) == digest_of(whole)
      file.write_bytes(data)
  arrays = max(files, key=lambda p: p.stat().st_size)
  assert noticed >= {"digests.json", arrays.name}


def test_a_flipped_byte_among_the_arrays_is_noticed_wherever_it_is(tmp_path):
  values = np.random.default_rng(0).normal(size=4096)  # does not compress
  checkpoints = Checkpoints(tmp_path)
  checkpoints.save_best(1, {"values": values}, {})
  files = [p for p in (tmp_path / "checkpoints").rglob("*") if p.is_file()]
  arrays = max(files, key=lambda p: p.stat().st_size)
  whole = arrays.read_bytes()
  assert len(whole) > 0.9 * values.nbytes
  for position in range(200, len(whole) - 200, 3001):
    flipped = bytearray(whole)
    flipped[position] ^= 1
    arrays.write_bytes(flipped)
    with pytest.raises(DamagedCheckpoint, match="not those that were written|read"):
      checkpoints.restore_best()


@pytest.mark.parametrize("how", ["truncate", "delete"])
def test_a_torn_step_is_named_with_its_remedy(tmp_path, how):
  checkpoints = Checkpoints(tmp_path)
  for step in (1, 2):
    checkpoints.save_last(step, tree(step), {})
  folder = tmp_path / "checkpoints" / "last" / "2"
  for file in [p for p in folder.rglob("*") if p.is_file()]:
    file.unlink() if how == "delete" else os.truncate(file, file.stat().st_size // 2)
  expected = rf"{re.escape(str(folder))} \(step 2\).* fall back to step 1\."
  with pytest.raises(DamagedCheckpoint, match=expected):
    checkpoints.restore_last()


def test_a_step_that_did_not_fit_into_the_addresses_names_their_limit(
  tmp_path, monkeypatch
):
  def write(*_):
    raise ValueError("Invalid key")

  monkeypatch.setattr("mcr_jax.runs.checkpoint.write", write)
  for limit, error in ((None, ValueError), (4 * 10**9, UserError)):
    monkeypatch.setattr("mcr_jax.allocator.address_limit", lambda limit=limit: limit)
    with pytest.raises(error, match="Invalid key") as found:
      Checkpoints(tmp_path).save_last(1, {"x": np.ones(3)}, {})
  assert "ulimit -v) of 4.0 GB" in str(found.value)


def test_threads_of_a_save_that_failed_log_nothing_afterwards(tmp_path, monkeypatch):
  before = absl_logging.get_verbosity()

  def broken(*_):
    raise RuntimeError("of Orbax")

  with monkeypatch.context() as patch:
    patch.setattr("mcr_jax.runs.store._orbax", broken)
    with pytest.raises(RuntimeError, match="of Orbax"):
      Checkpoints(tmp_path).save_last(1, {"x": np.ones(3)}, {})
  assert absl_logging.get_verbosity() == absl_logging.FATAL
  absl_logging.set_verbosity(before)
  Checkpoints(tmp_path).save_last(1, {"x": np.ones(3)}, {})
  assert absl_logging.get_verbosity() == before


def test_threads_that_report_to_nobody_are_silent_and_others_are_not(
  tmp_path, monkeypatch, caplog
):
  """What they say comes with one failed read of many: here without the chance."""
  heard = []
  monkeypatch.setattr(sys, "unraisablehook", heard.append)
  Checkpoints(tmp_path).save_last(1, {"x": np.ones(3)}, {})
  for text in ("Event loop is closed", "another"):
    error = RuntimeError(text)
    sys.unraisablehook(types.SimpleNamespace(exc_value=error, object=None))
  assert [str(found.exc_value) for found in heard] == ["another"]
  for text in ("Task exception was never retrieved", "another"):
    logging.getLogger("asyncio").error(text)
  assert [record.message for record in caplog.records] == ["another"]


@pytest.mark.parametrize(
  "error", [RuntimeError("can't start new thread"), MemoryError()]
)
def test_too_little_memory_is_not_a_damaged_checkpoint(tmp_path, monkeypatch, error):
  Checkpoints(tmp_path).save_last(1, {"x": np.ones(3)}, {})

  def read(folder):
    raise ValueError("of Orbax") from error

  monkeypatch.setattr("mcr_jax.runs.checkpoint.read", read)
  with pytest.raises(ValueError, match="of Orbax"):
    Checkpoints(tmp_path).restore_last()


def test_the_only_step_has_nothing_to_fall_back_to(tmp_path):
  Checkpoints(tmp_path).save_last(1, {"x": np.ones(3)}, {})
  (tmp_path / "digests.json").unlink()
  with pytest.raises(DamagedCheckpoint, match="no entry.*no earlier step"):
    Checkpoints(tmp_path).restore_last()


def test_a_checkpoint_of_another_model_names_what_differs(tmp_path):
  saved = tree()
  Checkpoints(tmp_path).save_last(1, saved, {})
  other = template(saved)
  other["params"]["head"]["kernel"] = jax.ShapeDtypeStruct((5, 9), jnp.float32)
  other["extra"] = jax.ShapeDtypeStruct((2,), jnp.float32)
  expected = (
    r"extra: absent saved, float32\[2\] here; .*\[5, 7\] saved, .*\[5, 9\] here"
  )
  with pytest.raises(UserError, match=expected):
    Checkpoints(tmp_path).restore_last(other)


SAVES = """
  import sys
  import numpy as np
  from mcr_jax.runs.checkpoint import Checkpoints
  checkpoints = Checkpoints(sys.argv[1])
  done = checkpoints.restore_last()
  step = 0 if done is None else done.step
  checkpoints.forget_after(step)
  while True:
    step += 1
    tree = {str(i): np.full(50, step, np.float32) for i in range(20)}
    checkpoints.save_best(step, tree, {"step": step})
    checkpoints.save_last(step, tree, {"step": step})
    print(step, flush=True)
"""


def start(code: str, folder) -> subprocess.Popen:
  return subprocess.Popen(
    [sys.executable, "-c", textwrap.dedent(code), str(folder)],
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
  )


def test_a_process_killed_while_saving_leaves_a_whole_checkpoint(tmp_path):
  random.seed(1)
  reached = 0
  for _ in range(4):
    process = start(SAVES, tmp_path)
    reached = int(process.stdout.readline())  # the import is over
    time.sleep(random.random() * 0.3)
    process.send_signal(signal.SIGKILL)
    output, _ = process.communicate()
    reached = max([reached, *map(int, output.split())])
    for restored in (
      Checkpoints(tmp_path).restore_last(),
      Checkpoints(tmp_path).restore_best(),
    ):
      assert restored.step in (reached, reached + 1)
      assert restored.meta == {"step": restored.step}
      assert len(restored.tree) == 20
      for leaf in restored.tree.values():
        np.testing.assert_array_equal(leaf, np.full(50, restored.step, np.float32))


REFUSED = """
  import os, resource, sys
  import numpy as np
  from mcr_jax import cli
  from mcr_jax.runs.checkpoint import Checkpoints
  def main(argv):
    checkpoints = Checkpoints(sys.argv[1])
    checkpoints.save_last(1, {"x": np.zeros(3)}, {})
    draw = np.random.default_rng(0)
    tree = {str(i): draw.normal(size=9_000) for i in range(20)}
    before()
    checkpoints.save_last(2, tree, {})
  def limit():
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
  def broken():
    # What a disk answers that failed under many threads at once.
    from mcr_jax.runs import checkpoint
    def write(*_):
      raise RuntimeError("Event loop is closed")
    checkpoint.write = write
    limit()
  before = {before}
  cli.run(main)
"""


@pytest.mark.parametrize("before", ["limit", "broken"])
def test_a_disk_that_refuses_is_one_line_and_leaves_the_step_before(tmp_path, before):
  code = REFUSED.replace("{before}", before)
  process = start(code, tmp_path)
  _, errors = process.communicate()
  assert process.returncode == 2, errors
  assert errors.startswith("mcr_jax: error: ") and errors.count("\n") == 1, errors
  assert "larger than is allowed" in errors and "/last/2 " in errors
  assert Checkpoints(tmp_path).restore_last().step == 1
  assert [p.name for p in (tmp_path / "checkpoints" / "last").iterdir()] == ["1"]
