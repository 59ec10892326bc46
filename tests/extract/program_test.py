"""From a folder of clips to a file, to a run, to the prediction for a clip."""

import signal
import subprocess
import sys

import numpy as np
import pytest

from mcr_jax import export, predict
from mcr_jax.data import npz
from mcr_jax.errors import UserError
from mcr_jax.extract import __main__ as program
from mcr_jax.extract import collect, table
from mcr_jax.extract.clip import Clip, Extractor
from mcr_jax.extract.features import Features
from mcr_jax.extract.recipe import Recipe
from tests.extract.made import clip, tone

pytest.importorskip("av")
OF_SOUND = ["--text", "none", "--vision", "none"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  path = tmp_path_factory.mktemp("clips")
  rows = ["id,label,split"]
  for i in range(6):
    (path / f"c{i}.mkv").write_bytes(clip(tone(0.4 + 0.1 * i, 100.0 + 40 * i)))
    rows.append(f"c{i},{i - 2.5},{('train', 'valid', 'test')[i % 3]}")
  (path / "labels.csv").write_text("\n".join(rows))
  return path


def extract(folder, out, *more):
  labels = ["--labels", str(folder / "labels.csv")]
  return program.main([str(folder), *labels, "--out", str(out), *OF_SOUND, *more])


def test_what_was_stopped_goes_on_to_the_same_bytes(
  folder, tmp_path, monkeypatch, offline
):
  extract(folder, tmp_path / "whole.npz")
  written = []

  def stop(path, made):
    if len(written) == 3:
      raise KeyboardInterrupt
    written.append(path)
    keep(path, made)

  keep = collect.write
  monkeypatch.setattr(collect, "write", stop)
  with pytest.raises(KeyboardInterrupt):
    extract(folder, tmp_path / "again.npz")
  assert not (tmp_path / "again.npz").exists()
  monkeypatch.setattr(collect, "write", keep)
  extract(folder, tmp_path / "again.npz", "--share", "2/2")
  extract(folder, tmp_path / "again.npz")
  whole, again = (tmp_path / f"{x}.npz" for x in ("whole", "again"))
  assert whole.read_bytes() == again.read_bytes()
  assert len(list(collect.parts_of(again).iterdir())) == 6


def test_a_clip_predicts_as_its_row_does(folder, tmp_path, offline, capsys):
  import mcr_jax

  out = tmp_path / "mine.npz"
  extract(folder, out)
  config = {
    "model": {"name": "lf_dnn", "width": 4},
    "data": {"path": str(out)},
    "train": {"epochs": 1, "batch_size": 2},
    "seeds": (0,),
  }
  run = mcr_jax.fit(mcr_jax.config.complete(config), tmp_path / "run")
  clip = folder / "c4.mkv"
  predict.main(["--workdir", str(tmp_path / "run"), "--input", str(clip)])
  line = capsys.readouterr().out.strip().splitlines()[-1]
  rows = npz.read(out)
  row = int(np.flatnonzero(rows.ids == "c4")[0])
  export.main(["--workdir", str(tmp_path / "run"), "--out", str(tmp_path / "run.mcr")])
  predict.main(["--workdir", str(tmp_path / "run.mcr"), "--input", str(clip)])
  assert capsys.readouterr().out.strip().splitlines()[-1] == line
  made = collect.of_clip(clip, None, str(rows.extras["extract"]))
  one = rows.select(np.array([row]))
  np.testing.assert_array_equal(
    made.modalities["audio"].values, one.modalities["audio"].values
  )
  assert run.predict(made).tolist() == run.predict(one).tolist()
  assert f"{float(run.predict(one)[0, 0, 0])!r}"[:8] in line

  other = tmp_path / "other.npz"
  extract(folder, other, "--audio-rate", "10")
  with pytest.raises(UserError) as error:
    run.predict(str(other))
  assert "audio_rate" in str(error.value)


def test_a_clip_ends_where_its_row_does(tmp_path):
  class Shown(Extractor):
    def __init__(self):
      self.recipe = Recipe(text="none", audio="none")

    def __call__(self, *_, **__):
      values, mask = np.ones((3, 2), np.float32), np.array([True, True, False])
      times = np.arange(6.0).reshape(3, 2)
      return Clip({"vision": Features(values, times, mask, ("a", "b"))}, (), 6.0, "")

  shown = Shown()
  made = collect.of_one("c.mp4", None, shown.recipe, shown)
  rows = collect.dataset([table.Job("c", tmp_path, None)], [shown()], "{}", "c")
  collect.write_file(tmp_path / "c.npz", rows)
  (one,), (row,) = (
    x.modalities["vision"].lengths for x in (made, npz.read(tmp_path / "c.npz"))
  )
  assert one == row == 2


def test_bad_clips_end_it_or_are_left_out(folder, tmp_path, capsys):
  clips = tmp_path / "clips"
  clips.mkdir()
  for i in range(3):
    (clips / f"c{i}.mkv").write_bytes((folder / f"c{i}.mkv").read_bytes())
  (clips / "c1.mkv").write_bytes(b"no clip" * 50)
  arguments = [str(clips), "--out", str(tmp_path / "x.npz"), *OF_SOUND]
  with pytest.raises(UserError):
    program.main(arguments)
  assert not (tmp_path / "x.npz").exists()
  program.main([*arguments, "--skip-bad"])
  assert npz.read(tmp_path / "x.npz").ids.tolist() == ["c0", "c2"]
  assert "c1" in capsys.readouterr().err


def test_words_must_be_told_before_anything_is_done(folder, tmp_path):
  for more in (["--vision", "none"], [*OF_SOUND, "--share", "3/2"], ["--jobs", "0"]):
    with pytest.raises(UserError):
      program.main([str(folder), "--out", str(tmp_path / "x.npz"), *more])


def test_a_full_disk_ends_it_and_is_no_fault_of_a_clip(folder, tmp_path, monkeypatch):
  def full(path, clip):
    raise UserError(f"{path} cannot be written: no space is left.")

  monkeypatch.setattr(collect, "write", full)
  with pytest.raises(UserError, match="no space"):
    extract(folder, tmp_path / "x.npz", "--skip-bad")


def test_a_clip_that_went_is_one_that_cannot_be_used(folder, tmp_path):
  gone = table.Job("gone", folder / "gone.mkv", None)
  some = [gone, table.Job("c0", folder / "c0.mkv", None)]
  extractor = Extractor(Recipe(text="none", vision="none"))
  failed = collect.extract(some, extractor, tmp_path / "parts", lambda *_: None)
  assert [x.id for x in failed] == ["gone"]
  assert len(list((tmp_path / "parts").iterdir())) == 1


def test_shares_of_a_share_are_all_of_it(monkeypatch):
  started = []

  class Started(program.subprocess.Popen):
    def __init__(self, command, **_):
      started.append(command[-1])

  monkeypatch.setattr(program.subprocess, "Popen", Started)
  for jobs, share in ((2, (1, 1)), (3, (2, 8))):
    program._start(program.argparse.Namespace(jobs=jobs), [], *share)
  assert started == ["2/2", "10/24", "18/24"]


def test_no_helper_is_left_by_a_signal(folder, tmp_path, monkeypatch):
  def late(*_):
    raise RuntimeError("nobody heard the signal")

  def killed(*_):
    signal.raise_signal(signal.SIGTERM)

  before = signal.signal(signal.SIGTERM, late)
  try:
    with subprocess.Popen(["sleep", "60"]) as helper:
      monkeypatch.setattr(program, "_start", lambda *_: [helper])
      monkeypatch.setattr(collect, "extract", killed)
      with pytest.raises(SystemExit) as end:
        extract(folder, tmp_path / "x.npz")
      assert helper.wait(10) == -signal.SIGTERM
  finally:
    signal.signal(signal.SIGTERM, before)
  assert end.value.code == 143


@pytest.mark.parametrize(
  "flag, value",
  [("--audio-rate", "0"), ("--vision-rate", "nan"), ("--max-seconds", "-1")],
)
def test_a_wrong_number_is_told_by_its_flag(folder, tmp_path, flag, value):
  with pytest.raises(UserError, match=f"^{flag}="):
    extract(folder, tmp_path / "x.npz", f"{flag}={value}")


def test_a_helper_ends_with_the_process_that_started_it():
  code = "from mcr_jax.extract import __main__ as p; p._end_with_starter()"
  with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE) as helper:
    with pytest.raises(subprocess.TimeoutExpired):
      helper.wait(0.5)
    helper.stdin.close()
    assert helper.wait(20) == 1
