"""Sweeps: points that share a program leave what training each alone would have."""

import json
import math
import pathlib
import shutil
import signal
import subprocess
import sys

import jax
import numpy as np
import pytest

from configs.sweeps import common
from mcr_jax import config as configs
from mcr_jax import evaluators
from mcr_jax.errors import DamagedCheckpoint, Interrupted, UserError
from mcr_jax.runs import workspace, writer
from mcr_jax.runs.checkpoint import Checkpoints
from mcr_jax.runs.fit import fit
from mcr_jax.runs.run import load_run
from mcr_jax.runs.trainer import Trainer
from mcr_jax.sweeps import points, run, share, table, together
from mcr_jax.sweeps.points import Sweep

FOLDER = pathlib.Path(__file__).resolve().parent.parent / "configs"
NUMBERS = [
  {"name": "decayed", "optim.lr": 2e-2, "optim.weight_decay": 0.1, "loss.gamma": 0.5},
  {"name": "slow", "optim.lr": 3e-3},
  {"name": "wild", "optim.lr": 1e30},
]


def base(folder, **train):
  """MIA-Net on vectors of 3 and 2 features, for a moment."""
  random = np.random.default_rng(0)
  split = np.repeat(["train", "valid", "test"], [20, 8, 8])
  text, audio = (random.normal(size=(36, n)).astype(np.float32) for n in (3, 2))
  label = (text[:, 0] + 0.3 * random.normal(size=36)).astype(np.float32)
  names = np.array([f"sample_{i}" for i in range(36)])
  arrays = dict(id=names, split=split, label=label, text=text, audio=audio)
  np.savez(folder / "data.npz", **arrays)
  return configs.complete(
    {
      "seeds": (0, 3),
      "mesh": {"data": 1},
      "data": {"path": str(folder / "data.npz")},
      "model": {"name": "mia_net", "channels": 2},
      "optim": {"name": "adam"},
      "train": {"epochs": 4, "batch_size": 8, "patience": 2, "monitor": "mae", **train},
    }
  )


@pytest.fixture(scope="module", autouse=True)
def small():
  """Arrays that are small, but would be large if those of all members were one."""
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr("mcr_jax.training.optim.LARGE", 8)
    yield


@pytest.fixture(scope="module")
def done(tmp_path_factory):
  """A finished sweep of NUMBERS: (config, folder, rows)."""
  folder = tmp_path_factory.mktemp("sweep")
  config = base(folder)
  rows = run.sweep(config, Sweep(NUMBERS), folder / "all", verbose=False)
  return config, folder, rows


def test_a_member_of_a_program_is_the_run_that_it_would_have_been_alone(done):
  config, folder, _ = done
  (point,) = points.points(config, Sweep(NUMBERS[1:2]))
  fit(point.config, folder / "alone", verbose=False)
  member, alone = folder / "all" / "slow", folder / "alone"
  ours, theirs = (writer.read(f / "metrics.jsonl") for f in (member, alone))
  assert len(ours) == len(theirs)
  for one, other in zip(ours, theirs, strict=True):
    assert set(one) == set(other)
    for name in set(one) - {"seconds", "reasons"}:
      a, b = (np.array(x[name], float) for x in (one, other))
      np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
  for split in ("valid", "test"):
    a, b = (evaluators.read(f, split).predictions for f in (member, alone))
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
  same = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)
  for kind in ("best", "last"):
    one, other = (load_run(f, checkpoint=kind).variables for f in (member, alone))
    jax.tree.map(same, one, other)
  # Down to the paths of the checkpoint, so that anything that reads the one reads both.
  trees = [Checkpoints(f).restore_last().tree for f in (member, alone)]
  assert jax.tree.structure(trees[0]) == jax.tree.structure(trees[1])


def test_a_members_folder_is_a_finished_run(done):
  config, folder, rows = done
  point = rows[1].point
  place = folder / "all" / point.name
  assert workspace.status(place, point.config, False) == "finished"
  assert workspace.facts(place)["together"] == ["decayed", "wild"]
  assert not (folder / "all" / together.FOLDER).exists()
  trained = load_run(place)
  assert trained.seeds == (0, 3) and trained.config.optim.lr == 3e-3
  again = trained.evaluate("test", write=False).metrics["mae"]
  assert again.mean == pytest.approx(rows[1].scores["test"]["mae"].mean, abs=1e-5)


def test_a_point_that_diverges_is_set_aside(done):
  _, folder, rows = done
  assert "loss of seed 0, 3 is not finite, first in epoch 1" in rows[2].diverged
  assert not rows[2].scores and math.isnan(rows[2].value)
  assert table.best(rows) is rows[0]
  text = table.text(rows, rows[0])
  assert "\n* decayed" in text and "\n  wild" in text and "wild: the loss" in text
  document = json.loads((folder / "all" / "table.json").read_text())
  assert document["best"] == "decayed" and document["points"][2]["value"] is None
  lines = (folder / "all" / "table.csv").read_text().splitlines()
  assert lines[0].startswith("point,best,seeds,diverged,optim.lr,optim.weight_decay")
  assert lines[1].startswith("decayed,1,2,,0.02,0.1,0.5,")


def test_a_sweep_that_is_done_trains_nothing(done, monkeypatch):
  config, folder, rows = done
  monkeypatch.setattr(Trainer, "__init__", lambda *_, **__: pytest.fail("trains"))
  again = run.sweep(config, Sweep(NUMBERS), folder / "all", verbose=False)
  assert [row.value for row in again][:2] == [row.value for row in rows][:2]
  with pytest.raises(UserError, match="another config.*optim.lr: 0.003 -> 0.002"):
    changed = Sweep([{"name": "slow", "optim.lr": 2e-3}])
    run.sweep(config, changed, folder / "all", verbose=False)


def test_a_share_trains_its_points_and_makes_no_table(done, tmp_path, monkeypatch):
  config = done[0]
  trained = []
  monkeypatch.setattr(run, "train_all", lambda points, *_, **__: trained.extend(points))
  for text, names in (("1/2", ["decayed", "wild"]), ("2/2", ["slow"])):
    trained.clear()
    part, folder = share.parse(text), tmp_path / "parts"
    assert not run.sweep(config, Sweep(NUMBERS), folder, share=part, verbose=False)
    assert [point.name for point in trained] == names
  assert not list((tmp_path / "parts").iterdir())
  for text in ("0/2", "3/2", "1", "a/b", "1/0", "-1/2"):
    with pytest.raises(UserError, match=f"'{text}'"):
      share.parse(text)
  assert "2 left: a, b" in share.Share(1, 2).ending(["a", "b"])
  assert "without --share" in share.Share(1, 2).ending([])


def test_an_interrupted_group_goes_on_where_it_was(done, tmp_path, monkeypatch):
  config, _, rows = done
  begin = together.Group.begin

  def begin_and_stop(group, **given):
    begin(group, **given)
    group.signals.number = signal.SIGTERM

  go = lambda **more: run.sweep(config, Sweep(NUMBERS), tmp_path, verbose=False, **more)
  with monkeypatch.context() as patch:
    patch.setattr(together.Group, "begin", begin_and_stop)
    with pytest.raises(Interrupted, match=f"--resume and --workdir {tmp_path}") as stop:
      go()
  assert stop.value.exit_code == 143
  with pytest.raises(UserError, match="an unfinished sweep .at decayed, slow, wild."):
    go()
  resumed = go(resume=True)
  assert [row.diverged for row in resumed] == [row.diverged for row in rows]
  for one, other in zip(resumed[:2], rows[:2], strict=True):
    assert one.value == pytest.approx(other.value, rel=1e-5)
    assert one.epochs == other.epochs


def test_a_search_tests_its_best_point_alone(tmp_path):
  base(tmp_path)
  file = tmp_path / "search.py"
  file.write_text(
    "from configs.sweeps import common\n"
    "def get_sweep():\n"
    "  space = {'optim.lr': (1e-3, 1e-2), 'model.dropout': common.uniform(0, 0.5)}\n"
    "  return common.random(space, 2, seeds=(1,), final_seeds=(1, 2))\n"
  )
  (tmp_path / "config.py").write_text(
    "def get_config():\n"
    f"  return dict(data=dict(path={str(tmp_path / 'data.npz')!r}),\n"
    "    mesh=dict(data=1), model=dict(name='concat', width=4),\n"
    "    train=dict(epochs=2, batch_size=8))\n"
  )
  command = [sys.executable, "-m", "mcr_jax.sweep", "--config", tmp_path / "config.py"]
  command += ["--sweep", file, "--workdir", tmp_path / "out"]
  done = subprocess.run(
    [*map(str, command)], capture_output=True, text=True, timeout=300
  )
  assert done.returncode == 0, done.stderr
  assert "program 1 of 1: trial_000, trial_001" in done.stdout
  document = json.loads((tmp_path / "out" / "table.json").read_text())
  *trials, final = document["points"]
  assert [list(trial["scores"]) for trial in trials] == [["valid"]] * 2
  assert final["name"] == f"{document['best']}_final"
  assert final["seeds"] == [1, 2] and list(final["scores"]) == ["valid", "test"]
  assert not list((tmp_path / "out").glob("trial_00?/eval/test*"))
  assert done.stdout.count("\n  trial_00") >= 2 and "\ntest\n" in done.stdout


def test_the_best_of_a_search_is_not_trained_twice_with_the_same_seeds(
  done, monkeypatch
):
  config, folder, _ = done
  wanted = Sweep(NUMBERS[:2], search=True, seeds=(0, 3), final_seeds=(0, 3))
  everything = points.points(config, wanted)
  rows = [table.read(p, folder / "all", ("valid",)) for p in everything]
  monkeypatch.setattr(run, "train_all", lambda *_, **__: pytest.fail("trains"))
  more, chosen = run._finish_search(
    config, wanted, rows, rows[1], folder / "all", False, False
  )
  assert len(more) == 2 and more[1] is chosen
  assert list(chosen.scores) == ["valid", "test"] and list(more[0].scores) == ["valid"]


def test_points_share_a_program_where_only_numbers_differ(tmp_path):
  config = configs.complete({"seeds": (0, 1), "model": {"name": "mcr"}})
  given = [
    {"optim.lr": 1e-3},
    {"optim.lr": 1e-3, "model.relu_dropout": 0.5},
    {"model.num_layers": 2},
    {"data.modality_dropout": 0.1},
    {"model.num_layers": 2, "optim.weight_decay": 0.3},
    {"data.modality_dropout": 0.2},
    {"optim.weight_decay": 0.1},
  ]
  found = points.points(config, Sweep(given[1:]))
  names = lambda most: [[p.name for p in g] for g in together.groups(found, most)]
  assert names(30) == [
    ["lr=0.001,relu_dropout=0.5", "weight_decay=0.1"],
    ["num_layers=2", "num_layers=2,weight_decay=0.3"],
    ["modality_dropout=0.1", "modality_dropout=0.2"],
  ]
  assert all(len(group) == 1 for group in names(3))
  with pytest.raises(UserError, match="lr=0.001 and again of the sweep are the same"):
    points.points(config, Sweep([given[0], {"name": "again"}]))


def test_a_point_with_another_model_has_that_models_losses():
  config = configs.complete({"loss": {"weights": {"task": 2.0}}})
  others = [{"model": {"name": "mia_net"}}, {"name": "tfn", "model": {"name": "tfn"}}]
  found = points.points(config, Sweep(others))
  for point in found:
    fresh = configs.complete({"model": point.overrides["model"]})
    assert point.config.loss.gamma == fresh.loss.gamma
    assert point.config.loss.weights.to_dict() == {
      **fresh.loss.weights.to_dict(),
      "task": 2.0,
    }


@pytest.mark.parametrize(
  ("point", "words"),
  [
    ({"optim.rate": 1}, 'Point rate=1: config.optim has no field "rate"'),
    ({"optim.lr": -1.0}, "Point lr=-1.0: optim.lr=-1.0 must lie in"),
    ({"optim.lr.x": 1}, "lr is a value, not a group"),
    ({"model": {"name": "tnf"}}, "tnf.*tfn"),
    ({"name": "../up", "optim.lr": 1.0}, "name '../up' of a point becomes a folder"),
    (
      {"name": "table.json"},
      "a letter or digit first, and not table.json or table.csv",
    ),
  ],
)
def test_an_override_that_does_not_fit_is_named(point, words):
  with pytest.raises(UserError, match=words):
    points.points(configs.complete({}), Sweep([point]))


def test_a_point_that_leaves_modalities_out_keeps_the_fields_of_the_others():
  lengths = {"text": 20, "audio": 400}
  config = configs.complete(
    {
      "data": {"modalities": ("text", "audio"), "lengths": lengths},
      "model": {"name": "mcr", "kernels": {"audio": 5}},
    }
  )
  alone = {"name": "alone", "data.modalities": ("A",)}
  without = {"name": "without", "data.modalities": ("text",)}
  own = {"name": "own", "data.modalities": ("text",), "model.kernels": {"audio": 7}}
  found = points.points(config, Sweep([{"name": "both"}, alone, without, own]))
  assert [dict(point.config.data.lengths) for point in found] == [
    lengths,
    {"audio": 400},
    {"text": 20},
    {"text": 20},
  ]
  kernels = [dict(point.config.model.kernels) for point in found]
  assert kernels == [{"audio": 5}, {"audio": 5}, {}, {"audio": 7}]


def test_what_would_fail_after_the_last_point_fails_before_the_first():
  config = configs.complete({})
  clash = [{"name": "a"}, {"name": "a_final", "optim.lr": 0.1}]
  with pytest.raises(UserError, match="trained anew as a_final, if it is a: no other"):
    points.points(config, Sweep(clash, True, (0,), (0, 1)))
  monitors = [{"train.monitor": "mae"}, {"train.monitor": "corr"}]
  with pytest.raises(UserError, match="by different metrics .corr, mae.: set train"):
    points.points(config, Sweep(monitors))


def test_a_shipped_sweep_is_found_by_its_name(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  assert len(points.load("mcr_depth").points) == 6
  with pytest.raises(UserError, match="mcr_deep.*mcr_depth"):
    points.load("mcr_deep")


@pytest.mark.parametrize("seeds", [(), (-1,), (1, 1)])
def test_the_last_seeds_of_a_search_are_checked_before_the_first_point(seeds):
  with pytest.raises(UserError, match="seeds="):
    points.points(configs.complete({}), Sweep([{}], True, (0,), seeds))


@pytest.mark.parametrize(
  ("body", "words"),
  [
    ("def get_sweep(): return []", "must return a list of overrides"),
    ("def get_sweep(): return [1]", "every point must be a dict"),
    ("def get_sweep(): return [{1: 2}]", "every point must be a dict of overrides by"),
    ("def get_sweep(): return {'points': [{}]}", "a dict of points, seeds"),
    ("def get_config(): pass", "has no function get_sweep"),
    ("def get_sweep():\n  return 1 / 0", "line 2: ZeroDivisionError: division"),
  ],
)
def test_a_broken_sweep_file_is_one_clear_error(tmp_path, body, words):
  (tmp_path / "broken.py").write_text(body)
  with pytest.raises(UserError, match=words):
    points.load(str(tmp_path / "broken.py"))


def test_a_random_search_is_drawn_alike_every_time_and_inside_its_space():
  space = {
    "optim.lr": common.log_uniform(1e-4, 1e-2),
    "model.width": (20, 40),
    "model.output_dropout": common.uniform(0.1, 0.2),
    "optim.name": "adamw",
  }
  found = common.random(space, 60, seed=3)["points"]
  assert found[:20] == common.random(space, 20, seed=3)["points"]
  assert found != common.random(space, 60, seed=4)["points"]
  rates = np.array([point["optim.lr"] for point in found])
  assert 1e-4 <= rates.min() and rates.max() <= 1e-2
  assert 15 < (rates < 1e-3).sum() < 45
  assert {point["model.width"] for point in found} == {20, 40}
  with pytest.raises(ValueError, match="has 2 points, fewer than 3"):
    common.random({"model.width": (20, 40)}, 3)


@pytest.mark.parametrize(
  "name", sorted(p.name for p in (FOLDER / "sweeps").glob("m*.py"))
)
def test_every_sweep_file_fits_the_config_that_it_is_for(name):
  sweep = points.load(str(FOLDER / "sweeps" / name))
  variant = "mcr_mosi.py:unaligned" if name.startswith("mcr") else "mia_net_mosi.py"
  config = configs.load(str(FOLDER / variant))
  found = points.points(config, sweep)
  assert len({point.name for point in found}) == len(sweep.points) > 1


@pytest.mark.parametrize("gone", ["digests.json", "metrics.jsonl", "members.json"])
def test_a_sweep_killed_while_it_deleted_a_group_ends_all_the_same(
  done, tmp_path, monkeypatch, gone
):
  config, folder, rows = done
  shutil.copytree(folder / "all", tmp_path / "all")

  def killed(path, *_, **__):
    (path / gone).unlink()
    raise KeyboardInterrupt

  found = points.points(config, Sweep(NUMBERS))
  group = together.group_folder(found, tmp_path / "all")
  group.mkdir(parents=True)
  for name in ("digests.json", "metrics.jsonl"):
    (group / name).write_text("{}")
  (group / together.MEMBERS).write_text(json.dumps([p.name for p in found]))
  with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
    patch.setattr(shutil, "rmtree", lambda p, **k: killed(p) if p.exists() else None)
    together._forget(group)
  again = run.sweep(
    config, Sweep(NUMBERS), tmp_path / "all", resume=True, verbose=False
  )
  values = lambda found: [row.value for row in found]
  np.testing.assert_array_equal(values(again), values(rows))
  assert not (tmp_path / "all" / together.FOLDER).exists()


def test_a_point_whose_records_were_lost_is_not_ranked(done, tmp_path):
  config, folder, rows = done
  shutil.copytree(folder / "all", tmp_path / "all")
  path = tmp_path / "all" / rows[0].point.name / "metrics.jsonl"
  lines = path.read_text().splitlines(keepends=True)
  for text in (lines[0], "", '{"epoch": 1}\n', "".join(lines[1:])):
    path.write_text(text)
    with pytest.raises((UserError, DamagedCheckpoint), match="metrics.jsonl .*records"):
      run.sweep(config, Sweep(NUMBERS), tmp_path / "all", verbose=False)
