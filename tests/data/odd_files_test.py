"""Files that are odd rather than hostile: each loads, or ends in one clear sentence."""

import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from mcr_jax.data import memory, readers
from mcr_jax.data.load import load
from mcr_jax.errors import UserError
from tests.data import attacks, writers

ROOT = pathlib.Path(__file__).resolve().parents[2]


def arrays(**changes):
  """Six samples of a feature file, with changes."""
  return {
    "id": np.array([f"v{i}" for i in range(6)]),
    "split": np.array(["train"] * 4 + ["valid", "test"]),
    "label": np.arange(6) * 0.5,
    "text": np.random.default_rng(0).normal(size=(6, 3)),
  } | changes


def saved(folder, **changes):
  np.savez(folder / "x.npz", **arrays(**changes))
  return folder / "x.npz"


@pytest.mark.parametrize(
  ("changes", "words"),
  [
    ({"../../evil": np.zeros((6, 2))}, r"refused: a modality named '../../evil'"),
    ({"a\x1b[2J": np.zeros((6, 2))}, r"refused: a modality named 'a\\x1b\[2J'"),
    ({"": np.zeros((6, 2))}, "refused: a modality named ''"),
    ({"id": np.array(["a", "a\0", "c", "d", "e", "f"])}, "repeat an earlier one"),
    ({"id": np.frombuffer(b"\xff" * 24, "<U1")}, "'id' holds characters that do not"),
    ({"label": np.array([0, 1, np.nan, 2, 3, 4.0])}, "no label .*'v2'"),
    (
      {"label": np.arange(6) % 2, "class_names": np.array(["a", "a"])},
      "two classes have the same name in a, a",
    ),
    ({"split": np.array(["train"] * 5 + ["test"])}, "no sample is in split 'valid'"),
    ({"text": np.full((6, 2), 1e300)}, "not finite"),
    (
      {
        "audio": np.zeros((3, 2)),
        "audio_offsets": np.array([0, 1, 2, 3, 2**64 - 1, 3, 3], np.uint64),
      },
      "goes back from 3",
    ),
  ],
)
def test_an_odd_feature_file_is_one_clear_error(tmp_path, changes, words):
  with pytest.raises(UserError, match=words):
    load(saved(tmp_path, **changes))


def test_any_language_may_name_a_sample(tmp_path):
  ids = np.array(["é", "💩", "\u202eabc", "日本", "a\nb", " "])
  assert load(saved(tmp_path, id=ids)).ids.tolist() == ids.tolist()


@pytest.mark.parametrize("steps", [0, 2])
def test_a_modality_without_a_step_is_missing_everywhere(tmp_path, steps):
  audio = {"audio": np.ones((6, steps, 4)), "audio_mask": np.zeros((6, steps), bool)}
  found = load(saved(tmp_path, **audio)).modalities["audio"]
  assert found.width == 4 and not found.present.any() and len(found) == 6


def table(folder, cell, header="id,text"):
  np.save(folder / "a.npy", np.zeros((2, 3)))
  (folder / "t.csv").write_text(f"{header}\nx,{cell}\n")
  return folder / "t.csv"


def test_no_link_leads_out_of_the_folder_of_a_table(tmp_path):
  (tmp_path / "inner").mkdir()
  np.save(tmp_path / "secret.npy", np.full((2, 3), 42.0))
  path = table(tmp_path / "inner", "link.npy")
  (tmp_path / "inner/link.npy").symlink_to("a.npy")
  assert len(readers.read(path)) == 1
  (tmp_path / "inner/link.npy").unlink()
  (tmp_path / "inner/link.npy").symlink_to(tmp_path / "secret.npy")
  with pytest.raises(UserError, match="'link.npy' is a link out of the table's folder"):
    readers.read(path)
  (tmp_path / "inner/d").symlink_to(tmp_path)
  with pytest.raises(UserError, match="'d/secret.npy' is a link out of"):
    readers.read(table(tmp_path / "inner", "d/secret.npy"))


@pytest.mark.parametrize(
  "target", ["/dev/zero", "pipe.npy", "a" * 5000 + ".npy", "loop.npy"]
)
def test_what_is_no_file_is_not_waited_for(tmp_path, target):
  os.mkfifo(tmp_path / "pipe.npy")
  (tmp_path / "loop.npy").symlink_to("loop.npy")
  cell = target if target != "/dev/zero" else "zero.npy"
  (tmp_path / "zero.npy").symlink_to("/dev/zero")
  with pytest.raises(UserError, match="no such file|is a link out|cannot be read"):
    readers.read(table(tmp_path, cell))


def test_paths_that_cannot_be_opened_are_the_users_mistake(tmp_path):
  os.mkfifo(tmp_path / "pipe")
  for path in ("x" * 5000, "a\0b", "/dev/zero", "/proc/self/mem", tmp_path / "pipe"):
    with pytest.raises(UserError):
      readers.read(path)


def test_pickles_with_subclasses_and_foreign_buffers_are_refused(tmp_path):
  made = lambda *parts: b"\x80\x05" + b"".join(parts) + b"."
  array = lambda kind: attacks.call(
    "numpy.core.multiarray", "_reconstruct", [kind, (0,), "b"], 4
  )
  names = attacks.call("numpy", "dtype", ["U1", 0, 1], 4)
  plain = array(attacks.name("numpy", "ndarray", 4))
  cases = {
    "numpy.memmap": made(array(attacks.name("numpy", "memmap", 4))),
    "numpy.matrix": made(array(attacks.name("numpy", "matrix", 4))),
    "an out-of-band buffer": made(b"\x97\x98"),
    "characters that do not": made(
      plain, b"(I1\n(I1\nt", names, b"I00\nC\x04\xff\xff\xff\xfftb"
    ),
  }
  for words, data in cases.items():
    (tmp_path / "x").write_bytes(data)
    with pytest.raises(UserError, match=f"refused: .*{words}"):
      readers.read(tmp_path / "x")


@pytest.mark.parametrize("lengths", [[1], [1, 2, 3], [-1, 2], [np.nan, 1]])
def test_lengths_that_cannot_be_are_named(tmp_path, lengths):
  entry = {
    "audio": np.ones((2, 3, 4)),
    "vision": np.ones((2, 3, 4)),
    "text": np.ones((2, 3, 4)),
    "audio_lengths": lengths,
    "regression_labels": [0.5, 1.0],
    "id": ["a", "b"],
  }
  path = writers.dump(tmp_path / "x", {"train": entry})
  with pytest.raises(UserError, match="length") as caught:
    readers.read(path)
  assert "damaged" not in str(caught.value)


def files(folder):
  """One file or folder of every format that is read into memory."""
  corpus = writers.invented()
  times = np.arange(7)[:, None] + [0.0, 1.0]
  yield writers.dump(folder / "mmsa", writers.mmsa_content(corpus))
  yield writers.dump(folder / "mult", writers.mult_content(corpus))
  yield writers.manifest(folder / "table", corpus)
  yield writers.csd(folder / "x.csd", "COVAREP", {"v": (np.ones((7, 2)), times)})
  labels = [{"val": float(x)} for x in corpus.labels]
  yield writers.merbench(
    folder / "mer", corpus, features={"text": "bert"}, labels=labels
  )


def test_no_format_takes_more_memory_than_it_may(tmp_path):
  for path in files(tmp_path):
    assert len(readers.read(path, limit=1 << 20))
    with pytest.raises(UserError, match="may be taken|would take more than"):
      readers.read(path, limit=100)


def test_what_is_free_is_known_and_counted_down():
  assert 0 < memory.available() < 1 << 50
  with memory.bounded(1000):
    memory.take(600, "one")
    assert memory.left() == 400
    with pytest.raises(UserError, match="two would take .* --memory-gb sets"):
      memory.take(600, "two")
  assert memory.left() > 1000


def test_a_file_that_does_not_fit_ends_the_program_with_2(tmp_path):
  path = writers.dump(tmp_path / "x", writers.mmsa_content(writers.invented()))
  command = [sys.executable, "-m", "mcr_jax.data", "inspect", str(path)]
  done = subprocess.run(
    [*command, "--memory-gb", "1e-6"],
    env={**os.environ, "PYTHONPATH": str(ROOT)},
    capture_output=True,
    text=True,
  )
  assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
  assert subprocess.run(command, cwd=ROOT, capture_output=True).returncode == 0
