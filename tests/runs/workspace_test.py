"""What a workdir may hold, and what its contents mean."""

import pathlib

import pytest

from mcr_jax import config as configs
from mcr_jax.errors import UserError
from mcr_jax.runs import workspace
from mcr_jax.runs.writer import Writer
from tests.training import tiny

FACTS = {"format": 2, "seeds": [1, 3], "shape": {}, "data": {"digest": "0"}}


@pytest.fixture
def config(tmp_path):
  return tiny.config(tmp_path / "features.npz")


@pytest.fixture
def workdir(tmp_path):
  return tmp_path / "run"


def begin(workdir, config, **facts):
  workdir.mkdir()
  (workdir / "config.json").write_text(configs.to_json(config))
  Writer(workdir).write_facts(FACTS | facts)


def test_a_folder_that_is_empty_or_not_there_is_new(workdir, config):
  for resume in (False, True):
    assert workspace.status(workdir, config, resume) == "new"
  workdir.mkdir()
  assert workspace.status(workdir, config, False) == "new"


def test_an_unfinished_run_needs_resume(workdir, config):
  begin(workdir, config, finished=False)
  with pytest.raises(UserError, match="unfinished run.*--resume"):
    workspace.status(workdir, config, False)
  assert workspace.status(workdir, config, True) == "resume"


def test_a_run_goes_on_with_the_kernels_that_it_began_with(workdir, config):
  config.model = {"name": "mult", "attention": "native"}
  config = configs.complete(config)
  begin(workdir, config, finished=False, native="sse9")
  with pytest.raises(UserError, match="'sse9'.*--attention-may-change"):
    workspace.status(workdir, config, True)
  found = workspace.status(workdir, config, True, attention_may_change=True)
  assert found == "resume"


def test_a_run_that_used_no_kernels_does_not_miss_them(workdir, config):
  config.model = {"name": "mult", "attention": "dense"}
  config = configs.complete(config)
  begin(workdir, config, finished=False, native="sse9")
  assert workspace.status(workdir, config, True) == "resume"


def test_a_finished_run_stays_as_it_is(workdir, config):
  begin(workdir, config, finished=True)
  for resume in (False, True):
    assert workspace.status(workdir, config, resume) == "finished"


def test_another_config_is_answered_with_the_difference(workdir, config):
  begin(workdir, config, finished=True)
  other = configs.override(config, ["--config.optim.lr=0.5", "--config.seeds=7"])
  with pytest.raises(UserError) as error:
    workspace.status(workdir, other, True)
  assert "optim.lr: 0.01 -> 0.5" in str(error.value)
  assert "seeds: (1, 3) -> (7,)" in str(error.value)


@pytest.mark.parametrize("finished", [False, True])
def test_more_epochs_are_a_resume_where_nothing_else_depends_on_their_number(
  workdir, config, finished
):
  begin(workdir, config, finished=finished)
  more = configs.override(config, [f"--config.train.epochs={config.train.epochs + 3}"])
  assert workspace.status(workdir, more, True) == "resume"
  with pytest.raises(UserError, match=f"{config.train.epochs} epochs.*--resume"):
    workspace.status(workdir, more, False)
  fewer = configs.override(config, ["--config.train.epochs=1"])
  with pytest.raises(UserError, match="train.epochs: .* -> 1"):
    workspace.status(workdir, fewer, True)
  other = configs.override(more, ["--config.optim.lr=0.5"])
  with pytest.raises(UserError, match="optim.lr"):
    workspace.status(workdir, other, True)


@pytest.mark.parametrize(
  "fixed",
  [
    {"optim": {"schedule": "cosine"}},
    {"train": {"epochs": 3, "phases": ({"epochs": 3},)}},
  ],
)
def test_more_epochs_of_a_schedule_over_all_of_them_are_another_run(
  workdir, config, fixed
):
  config = configs.complete(
    configs.plain(config) | {k: configs.plain(config)[k] | v for k, v in fixed.items()}
  )
  begin(workdir, config, finished=True)
  more = configs.override(config, ["--config.train.epochs=50"])
  with pytest.raises(UserError, match=f"--config.train.init_from={workdir}"):
    workspace.status(workdir, more, True)


def test_where_a_run_computes_may_change(workdir, config):
  begin(workdir, config, finished=False)
  moved = configs.override(
    config, ["--config.mesh.data=4", "--config.train.checkpoint_seconds=1.0"]
  )
  assert workspace.status(workdir, moved, True) == "resume"


def test_files_that_are_no_runs_are_left_alone(workdir, config):
  workdir.mkdir()
  (workdir / "thesis.tex").write_text("")
  with pytest.raises(UserError, match="'thesis.tex'.*choose a new folder"):
    workspace.status(workdir, config, False)
  with pytest.raises(UserError, match="is a file"):
    workspace.status(workdir / "thesis.tex", config, False)


def test_what_a_cut_off_start_leaves_is_no_run(workdir, config):
  workdir.mkdir()
  for name in ("run.json", ".normalization.npz.0f0f0f0f", ".config.json.a1b2c3d4"):
    (workdir / name).write_text("torn")
  assert workspace.status(workdir, config, False) == "new"


def test_damaged_files_are_named(workdir, config):
  begin(workdir, config, finished=True)
  (workdir / "config.json").write_text("{")
  with pytest.raises(UserError, match=r"config.json cannot be read"):
    workspace.status(workdir, config, True)
  (workdir / "run.json").write_text('{"seeds": [1')
  with pytest.raises(UserError, match=r"run.json is damaged"):
    workspace.status(workdir, config, True)
  (workdir / "run.json").unlink()
  with pytest.raises(UserError, match=r"run.json is missing"):
    workspace.status(workdir, config, True)


@pytest.mark.parametrize(("number", "version"), [(None, "0.1.0"), (3, "9.9")])
def test_only_its_own_version_goes_on_with_an_unfinished_run(
  workdir, config, number, version
):
  begin(workdir, config, finished=False, format=number, versions={"mcr_jax": version})
  for resume in (False, True):
    with pytest.raises(UserError, match=f"unfinished.*{version}.*format 2"):
      workspace.status(workdir, config, resume)


def test_a_run_of_a_later_version_is_not_guessed_at(workdir, config):
  begin(workdir, config, finished=True, format=3, versions={"mcr_jax": "9.9"})
  with pytest.raises(UserError, match="later mcr_jax, 9.9"):
    workspace.status(workdir, config, False)


def test_a_folder_is_trained_in_by_one_at_a_time(tmp_path):
  with workspace.claim(tmp_path / "run"):
    with pytest.raises(UserError, match="Another process is training in"):
      with workspace.claim(tmp_path / "run"):
        pass
  with workspace.claim(tmp_path / "run"):
    assert not list((tmp_path / "run").iterdir())


def test_a_folder_that_cannot_be_written_is_told_at_once(workdir, config, monkeypatch):
  monkeypatch.setattr("os.access", lambda path, mode: path != workdir.parent)
  with pytest.raises(UserError, match=f"cannot be written: {workdir.parent} is read"):
    workspace.status(workdir / "deeper", config, False)


def test_a_run_json_that_was_changed_is_not_believed(workdir, config):
  begin(workdir, config, finished=False)
  path = workdir / "run.json"
  path.write_text(path.read_text().replace('"finished": false', '"finished": true'))
  with pytest.raises(UserError, match="was changed or is damaged: it is not what"):
    workspace.facts(workdir)


def test_a_name_that_checkpoints_cannot_have_is_refused_before_training(config):
  with pytest.raises(UserError, match=r"x\\udcff' is not UTF-8"):
    workspace.status(pathlib.Path("x\udcff"), config, False)
