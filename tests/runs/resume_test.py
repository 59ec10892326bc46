"""A run that was stopped and resumed is the run that was not, bit for bit."""

import os
import signal

import numpy as np
import pytest

from mcr_jax import load_run
from mcr_jax.config import complete, override, to_json
from mcr_jax.config.old import FORMAT
from mcr_jax.errors import DamagedCheckpoint, Interrupted, UserError
from mcr_jax.runs import workspace
from mcr_jax.runs.fit import fit
from mcr_jax.runs.progress import Progress
from tests.training import tiny

# TensorStore's threads may report to Orbax's event loop after a failed read closed it.
pytestmark = pytest.mark.filterwarnings(
  "ignore::pytest.PytestUnraisableExceptionWarning"
)
STEPS = 4


@pytest.fixture(scope="module")
def config(tmp_path_factory):
  """Everything that carries state from step to step is on."""
  return tiny.config(
    tiny.write(tmp_path_factory.mktemp("data")),
    data={"modality_dropout": 0.2},
    optim={"schedule": "plateau", "plateau_patience": 1, "weight_decay": 0.01},
    train={"checkpoint_seconds": 1e6},
  )


@pytest.fixture(scope="module")
def whole(config, tmp_path_factory):
  workdir = tmp_path_factory.mktemp("whole") / "run"
  fit(config, workdir, verbose=False)
  return workdir


def signal_after(monkeypatch, steps: int, number: int) -> None:
  """Sends this process a signal when a run has done so many steps."""
  update, count = Progress.update, []

  def counted(self, new, text=""):
    update(self, new, text)
    count.append(new)
    if sum(count) == steps:
      os.kill(os.getpid(), number)

  monkeypatch.setattr(Progress, "update", counted)


def assert_same(workdir, whole):
  assert tiny.epochs(workdir) == tiny.epochs(whole)
  for split in ("valid", "test"):
    np.testing.assert_array_equal(
      tiny.predictions(workdir, split), tiny.predictions(whole, split)
    )
  # Over parameters, optimiser, keys, selection and position.
  assert tiny.newest_digests(workdir) == tiny.newest_digests(whole)


@pytest.mark.parametrize(
  ("steps", "number"),
  [
    (2, signal.SIGINT),
    (STEPS, signal.SIGTERM),
    (STEPS + 3, signal.SIGTERM),
    (3 * STEPS, signal.SIGINT),
  ],
  ids=["before a validation", "between epochs", "within an epoch", "at the end"],
)
def test_a_run_stopped_by_a_signal_resumes_bit_for_bit(
  config, whole, tmp_path, monkeypatch, steps, number
):
  with monkeypatch.context() as patch:
    signal_after(patch, steps, number)
    with pytest.raises(Interrupted, match=rf"{steps} of {3 * STEPS} steps.*--resume"):
      fit(config, tmp_path / "run", verbose=False)
  with pytest.raises(UserError, match="--resume"):
    fit(config, tmp_path / "run", verbose=False)
  fit(config, tmp_path / "run", resume=True, verbose=False)
  assert_same(tmp_path / "run", whole)


def test_a_finished_run_goes_on_to_more_epochs_as_if_it_had_had_them(
  config, whole, tmp_path
):
  fewer = override(config, ["--config.train.epochs=2"])
  fit(fewer, tmp_path / "run", verbose=False)
  fit(config, tmp_path / "run", resume=True, verbose=False)
  assert_same(tmp_path / "run", whole)
  assert load_run(tmp_path / "run").config.train.epochs == config.train.epochs
  assert workspace.facts(tmp_path / "run")["finished"]


def test_every_signal_has_its_exit_code(config, tmp_path, monkeypatch):
  for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
    with monkeypatch.context() as patch:
      signal_after(patch, 1, number)
      with pytest.raises(Interrupted) as error:
        fit(config, tmp_path / str(number), verbose=False)
    assert error.value.exit_code == code


def test_a_run_may_resume_under_other_arrangements(
  config, whole, tmp_path, monkeypatch
):
  with monkeypatch.context() as patch:
    signal_after(patch, STEPS + 1, signal.SIGTERM)
    with pytest.raises(Interrupted):
      fit(config, tmp_path / "run", verbose=False)
  other = config.copy_and_resolve_references().unlock()
  other.mesh.data, other.train.steps_per_call, other.train.seeds_by = 2, 0, "vmap"
  fit(other, tmp_path / "run", resume=True, verbose=False)
  tiny.assert_close(tiny.epochs(tmp_path / "run"), tiny.epochs(whole))


def test_whether_layers_are_scanned_may_change_at_a_resume(tmp_path, monkeypatch):
  monkeypatch.setattr(workspace, "facts", lambda _: {"format": FORMAT})
  model = {"name": "mcr", "scan_layers": True}
  before = to_json(complete({"model": model}))
  (tmp_path / "config.json").write_text(before, "utf-8")
  same = complete({"model": model | {"scan_layers": False}})
  other = complete({"model": model | {"width": 20}})
  assert workspace.status(tmp_path, same, resume=True) == "resume"
  with pytest.raises(UserError, match="model.width: 40 -> 20"):
    workspace.status(tmp_path, other, resume=True)


def test_before_its_first_validation_a_run_has_no_best_checkpoint(
  config, tmp_path, monkeypatch
):
  with monkeypatch.context() as patch:
    signal_after(patch, 1, signal.SIGTERM)
    with pytest.raises(Interrupted):
      fit(config, tmp_path / "run", verbose=False)
  with pytest.raises(UserError, match="stopped before its first validation"):
    load_run(tmp_path / "run")
  assert load_run(tmp_path / "run", checkpoint="last").seeds == (1, 3)


@pytest.mark.parametrize("cut", ["run.json", "normalization.npz", "config.json"])
def test_a_start_that_was_cut_off_starts_again(config, whole, tmp_path, cut):
  """Whatever is written before config.json claims nothing; after it, --resume does."""
  files = ["run.json", "normalization.npz", "config.json"]
  workdir = tmp_path / "run"
  workdir.mkdir()
  for name in files[: files.index(cut) + 1]:
    workdir.joinpath(name).write_bytes(whole.joinpath(name).read_bytes())
  tiny.unfinish(workdir)
  workdir.joinpath(f".{cut}.a1b2c3d4").write_text("torn")
  fit(config, workdir, resume=cut == "config.json", verbose=False)
  assert_same(workdir, whole)


def test_data_that_changed_cannot_be_resumed_nor_evaluated(tmp_path, monkeypatch):
  path = tiny.write(tmp_path)
  config = tiny.config(path)
  with monkeypatch.context() as patch:
    signal_after(patch, STEPS + 1, signal.SIGTERM)
    with pytest.raises(Interrupted):
      fit(config, tmp_path / "run", verbose=False)
  tiny.write(tmp_path, seed=1)
  with pytest.raises(UserError, match="has changed since it began"):
    fit(config, tmp_path / "run", resume=True, verbose=False)
  with pytest.raises(UserError, match="has changed since .* was trained on it"):
    load_run(tmp_path / "run").evaluate("test")


def test_a_damaged_checkpoint_is_noticed(config, tmp_path, monkeypatch):
  with monkeypatch.context() as patch:
    signal_after(patch, STEPS + 1, signal.SIGTERM)
    with pytest.raises(Interrupted):
      fit(config, tmp_path / "run", verbose=False)
  digests = tmp_path / "run" / "digests.json"
  text = digests.read_text()
  for kind in ("best", "last"):
    digest = tiny.newest_digests(tmp_path / "run")[kind]
    digests.write_text(text.replace(digest, digest[::-1]))
    with pytest.raises(DamagedCheckpoint, match="not those that were written"):
      if kind == "best":
        load_run(tmp_path / "run")
      else:
        fit(config, tmp_path / "run", resume=True, verbose=False)
    digests.write_text(text)
