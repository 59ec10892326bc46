"""Worse data, level by level: what is taken away, and what it costs a run."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest

from mcr_jax import cli, robustness
from mcr_jax.errors import UserError
from mcr_jax.runs.fit import fit
from tests.training import tiny

DATA = tiny.dataset()
SCALE = {name: 3.0 + np.arange(width) for name, width in tiny.WIDTHS.items()}


def worse(kind, level, names=("audio",), **options):
  return robustness.disturbed(DATA, names, kind, level, SCALE, **options)


@pytest.mark.parametrize("kind", ["drop", "steps"])
def test_a_higher_level_takes_away_more_of_the_same(kind):
  before = DATA.modalities["audio"].mask
  for level in (0.2, 0.5, 0.9):
    after = worse(kind, level).modalities["audio"].mask
    assert not (after & ~before).any()
    assert after.sum() < before.sum()
    before = after
  assert not worse(kind, 1.0).modalities["audio"].mask.any()
  assert DATA.modalities["audio"].mask.any()


def test_a_dropped_modality_is_missing_whole_and_only_itself():
  dataset = worse("drop", 0.5)
  had, has = (x.modalities["audio"].present for x in (DATA, dataset))
  assert 0.3 < has.sum() / had.sum() < 0.7
  kept = np.repeat(has, dataset.modalities["audio"].lengths)
  np.testing.assert_array_equal(
    dataset.modalities["audio"].mask, DATA.modalities["audio"].mask & kept
  )
  assert dataset.modalities["text"] is DATA.modalities["text"]


def test_dropped_steps_leave_holes_in_most_samples():
  dataset = worse("steps", 0.5)
  share = dataset.modalities["audio"].mask.sum() / DATA.modalities["audio"].mask.sum()
  assert 0.4 < share < 0.6
  assert dataset.modalities["audio"].present.sum() > 0.7 * len(DATA)


def test_noise_is_measured_in_deviations_and_grows_in_place():
  clean = DATA.modalities["audio"].values
  one, two = (worse("noise", x).modalities["audio"].values - clean for x in (1, 2))
  np.testing.assert_allclose(two, 2 * one, rtol=1e-4, atol=1e-4)
  spread = one.std(0) / SCALE["audio"]
  np.testing.assert_allclose(spread, 1, atol=5 / np.sqrt(len(one)))


def test_what_is_drawn_depends_on_the_seed_and_the_modality_alone():
  masks = lambda dataset: {k: x.mask.tolist() for k, x in dataset.modalities.items()}
  both = masks(worse("drop", 0.5, ("text", "audio")))
  assert both == masks(worse("drop", 0.5, ("audio", "text")))
  assert both["audio"] == masks(worse("drop", 0.5))["audio"]
  assert both["audio"] != masks(worse("drop", 0.5, seed=1))["audio"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
  folder = tmp_path_factory.mktemp("run")
  return fit(tiny.config(tiny.write(folder)), folder / "run", verbose=False)


def test_a_study_begins_at_the_evaluation_and_ends_without_information(run):
  results = robustness.study(run, levels=(1.0, 0.0), metrics=["mae", "corr"])
  assert results.levels == (0.0, 1.0) and results.seeds == (1, 3)
  whole = run.evaluate("test", write=False).metrics["mae"]
  groups = results.metrics["mae"]
  assert list(groups) == ["text", "audio", "vision", "all"]
  for curve in groups.values():
    assert curve.seeds[0] == pytest.approx(whole.seeds)
    assert curve.mean[0] == pytest.approx(whole.mean)
    assert curve.std[0] == pytest.approx(whole.std)
    assert curve.seeds[1] != pytest.approx(whole.seeds)
  # With nothing left to read, all samples look alike.
  assert np.isnan(results.metrics["corr"]["all"].mean[1])
  text = robustness.table(results)
  assert "test, 11 samples, 2 seeds; columns: share of samples without" in text
  assert "mae, lower is better" in text and "corr, higher is better" in text
  assert text.splitlines()[-1].startswith("all") and text.endswith("n/a")
  axes = robustness.figure(results).axes[0]
  assert [line.get_label() for line in axes.get_lines()] == list(groups)
  assert axes.get_xlabel() == robustness.KINDS["drop"]
  np.testing.assert_allclose(
    axes.get_lines()[3].get_ydata(), groups["all"].mean, rtol=1e-6
  )


def test_what_cannot_be_studied_is_said(run):
  with pytest.raises(UserError, match="1.5.*'drop'.* 0 to 1"):
    robustness.study(run, levels=[0.5, 1.5])
  with pytest.raises(UserError, match="-1.*'noise'.* 0 to 1e"):
    robustness.study(run, kind="noise", levels=[-1])
  with pytest.raises(UserError, match="metric='acc'.* mae, "):
    robustness.study(run, levels=[0], metrics=["acc"])


def test_the_command_leaves_a_table_a_file_and_a_plot(run, tmp_path):
  plot = tmp_path / "figures" / "noise.png"
  arguments = ["--kind", "noise", "--levels", "0", "2", "--plot", str(plot)]
  done = subprocess.run(
    [
      *(sys.executable, "-m", "mcr_jax.robustness", "--workdir", str(run.workdir)),
      *arguments,
    ],
    capture_output=True,
    text=True,
    timeout=240,
  )
  assert done.returncode == 0, done.stderr
  path = run.workdir / "eval" / "robustness_noise_test.json"
  results = json.loads(path.read_text())
  again = robustness.study(run, kind="noise", levels=[0, 2])
  for group, scores in results["metrics"]["mae"].items():
    expected = again.metrics["mae"][group].seeds
    np.testing.assert_allclose(scores["seeds"], expected, rtol=1e-5)
  assert robustness.table(again).splitlines()[2] in done.stdout
  assert plot.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
  ("plot", "error", "message"),
  [
    ("drop.xyz", UserError, r"drop.xyz is no picture; its ending may be .*png"),
    ("drop", UserError, "drop is no picture"),
    ("/proc/drop.png", FileNotFoundError, "/proc/drop.png"),
  ],
)
def test_a_plot_that_cannot_be_is_refused_before_the_study(plot, error, message):
  with pytest.raises(error, match=message):
    robustness.main(["--workdir", "no_run", "--plot", plot])


def test_the_last_checkpoint_has_a_file_of_its_own(run, monkeypatch, tmp_path):
  monkeypatch.setattr(cli, "prepare", lambda *_: None)
  shutil.copytree(run.workdir, tmp_path / "run")
  arguments = ["--workdir", str(tmp_path / "run"), "--levels", "0"]
  for more in ([], ["--checkpoint", "last"]):
    robustness.main(arguments + more)
  found = {
    path.name: json.loads(path.read_text())["checkpoint"]
    for path in (tmp_path / "run" / "eval").glob("robustness_drop*")
  }
  assert found == {
    "robustness_drop_test.json": "best",
    "robustness_drop_last_test.json": "last",
  }


def test_a_seed_below_zero_is_refused():
  with pytest.raises(UserError, match="seed=-1"):
    robustness.study(None, seed=-1)
