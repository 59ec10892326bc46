"""From a folder of clips to a file, to a run, to the prediction for a clip."""

import socket

import numpy as np
import pytest

from mcr_jax import predict
from mcr_jax.data import npz
from mcr_jax.errors import UserError
from mcr_jax.extract import __main__ as program
from mcr_jax.extract import collect
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


@pytest.fixture
def offline(monkeypatch):
  def refuse(*_):
    raise AssertionError("a connection was tried")

  monkeypatch.setattr(socket.socket, "connect", refuse)


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
