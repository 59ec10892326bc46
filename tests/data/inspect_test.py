"""`python -m mcr_jax.data`: what it says, what it writes, and how it fails."""

import dataclasses
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from mcr_jax.data import Dataset, Modality, npz, readers, report
from mcr_jax.data.__main__ import main
from mcr_jax.data.batches import resident_bytes
from mcr_jax.errors import UserError
from tests.data import writers

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture
def file(tmp_path):
  return writers.dump(tmp_path / "x.pkl", writers.mmsa_content(writers.invented()))


def inspected(path, capsys, *more):
  assert main(["inspect", str(path), *more]) == 0
  return capsys.readouterr().out


def test_the_report_answers_what_one_asks_first(file, capsys):
  text = inspected(file, capsys)
  for words in (
    "15 samples",
    "It is an MMSA or MMSA-FET pickle.",
    "padded on the right to 8 steps",
    "train 7, valid 3, test 5",
    "Labels: numbers from",
    "Lengths of vision:",
    "audio: 1 value is not finite, in column 2.",
    f"--config.data.path={file}",
    "--config.data.nonfinite=zero",
    "Memory on the device if resident:",
  ):
    assert words in text, words


def test_memory_is_that_of_padded_arrays_and_masks(file):
  dataset = readers.read(file)
  for name, modality in dataset.modalities.items():
    longest = int(modality.lengths.max())
    values, mask = modality.padded(np.arange(15), longest)
    size = resident_bytes(dataset.modalities, {name: longest})
    assert size == values.nbytes + mask.nbytes


def test_leaks_and_duplicates_are_found():
  dataset = Dataset(
    ids=np.array(["a$_$1", "a$_$2", "b[0]", "b[1]", "c_1", "c_1", "d"]),
    modalities={"text": Modality.from_vectors(np.eye(7, 3))},
    splits=np.array(["train", "test", "train", "train", "train", "valid", "test"]),
    labels=np.arange(7) % 2,
  )
  text = "\n".join(report.write(dataset, "x"))
  assert "Ids: 1 repeated (c_1)." in text
  assert "LEAK: 1 id is in two splits (c_1)." in text
  assert "Remark: the clips of 2 of 4 videos are in two splits (a, c)" in text
  assert report.videos(["a$_$1", "b[12]", "c_7", "d"]) == ["a", "b", "c", "d"]


def test_constant_and_broken_columns_are_found():
  values = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
  values[:, 1] = 3.0
  values[2, 2] = np.nan
  values[3, 2] = -np.inf
  modality = Modality(values, np.array([0, 3, 6]), np.array([True] * 4 + [False] * 2))
  found = report.scan(modality)
  assert found.nonfinite.tolist() == [0, 0, 2, 0]
  assert found.constant.tolist() == [False, True, False, False]
  # What stands in a hole does not count.
  values[4, 0] = np.nan
  assert report.scan(modality).nonfinite.tolist() == [0, 0, 2, 0]


@pytest.mark.parametrize("kind", ["classes", "binary", "multitask", "none"])
def test_every_kind_of_label_is_described_and_drawn(tmp_path, kind, capsys):
  labels = {
    "classes": np.arange(8) % 3,
    "binary": np.eye(4, dtype=int)[[0, 1] * 4],
    "multitask": np.stack([np.arange(8) % 2, np.arange(8) % 3], 1),
  }
  dataset = Dataset(
    ids=np.array([f"v{i}" for i in range(8)]),
    modalities={
      "text": Modality.from_padded(np.ones((8, 3, 2)), np.ones((8, 3), bool))
    },
    splits=np.array(["train"] * 4 + ["test"] * 4) if kind != "none" else None,
    labels=labels.get(kind),
    class_names={
      "classes": ("x", "y", "z"),
      "multitask": (("no", "yes"), ("x", "y", "z")),
    }.get(kind, ()),
    task="multitask" if kind == "multitask" else "",
  )
  npz.write(tmp_path / "x.npz", dataset)
  text = inspected(
    tmp_path / "x.npz", capsys, "--plot", str(tmp_path / "new" / "x.png")
  )
  words = {
    "classes": "0 x: train 2, test 1",
    "binary": "label 1: mean train 0.500, test 0.500",
    "multitask": "label 1 2 z: train 1, test 1",
    "none": "Labels: none",
  }
  assert words[kind] in text
  assert (tmp_path / "new" / "x.png").read_bytes().startswith(b"\x89PNG")


def test_names_from_strangers_cannot_write_to_the_terminal():
  dataset = Dataset(
    ids=np.array(["\x1b[2Ja", "\x1b[2Ja"]),
    modalities={"text": Modality.from_vectors(np.eye(2))},
  )
  assert not any("\x1b" in line for line in report.write(dataset, "x"))


@pytest.mark.parametrize(
  ("arguments", "error"),
  [
    (("inspect", "no.pkl", "--plot", "x.doc"), "x.doc is no picture"),
    (("inspect", "no.pkl", "--plot", "/proc/x.png"), "/proc/x.png"),
    (("convert", "no.pkl", "x.zip"), "x.zip must end in .npz"),
    (("convert", "no.pkl", "/proc/x.npz"), "/proc/x.npz"),
  ],
)
def test_what_cannot_be_written_is_told_before_anything_is_read(arguments, error):
  with pytest.raises((UserError, OSError), match=error):
    main(list(arguments))


def test_conversion_keeps_the_data_set(tmp_path, file):
  assert main(["convert", str(file), str(tmp_path / "y.npz")]) == 0
  before, after = readers.read(file), readers.read(tmp_path / "y.npz")
  for field in ("ids", "splits", "labels"):
    np.testing.assert_array_equal(getattr(before, field), getattr(after, field))
  for name, modality in before.modalities.items():
    for field in dataclasses.fields(Modality):
      a, b = (getattr(x, field.name) for x in (modality, after.modalities[name]))
      np.testing.assert_array_equal(a, b)
  np.testing.assert_array_equal(
    before.extras["label_classes"], after.extras["label_classes"]
  )


def test_every_choice_that_a_file_leaves_is_a_line_to_copy(tmp_path, capsys):
  corpus = writers.invented()
  sims = writers.dump(tmp_path / "x", writers.mmsa_content(corpus, unimodal=True))
  assert "--config.data.label=label_T  " in inspected(sims, capsys)
  times = np.arange(6)[:, None] / 2 + [0, 0.5]
  for name in ("glove", "COVAREP"):
    writers.csd(tmp_path / f"{name}.csd", name, {"v": (np.ones((6, 2)), times)})
  (tmp_path / "x").unlink()
  text = inspected(tmp_path, capsys)
  assert "--config.data.align=text  pool all" in text and "; or audio" in text
  assert "Not ready for training: the file has no 'label'" in text
  text = inspected(tmp_path, capsys, "--align", "audio")
  assert "  --config.data.align=audio\n" in text and "pool all" not in text
  features, labels = {"text": "bert"}, [{"val": float(x)} for x in corpus.labels]
  folder = writers.merbench(tmp_path / "d", corpus, features=features, labels=labels)
  text = inspected(folder, capsys, "--feature", "text=bert")
  assert "  --config.data.features.text=bert\n" in text
  arrays = {"id": np.array(["a", "b"]), "text": np.eye(2), "label": np.zeros(2)}
  splits = {"split": np.array(["train", "test"]), "split_own": np.array(["x", "y"])}
  np.savez(tmp_path / "y.npz", **arrays, **splits)
  text = inspected(tmp_path / "y.npz", capsys)
  assert "--config.data.split=split_own  " in text
  assert "Not ready for training: no sample is in split 'valid'" in text


def test_mistakes_are_user_errors(tmp_path, file):
  for argv, words in (
    (["inspect"], "the following arguments are required: file"),
    (["look", "x"], "invalid choice: 'look'"),
    (["convert", str(file), "y.txt"], "must end in .npz"),
    (["inspect", str(file), "--feature", "text"], "must be MODALITY=FOLDER"),
    (["inspect", str(tmp_path / "none")], "no such file"),
  ):
    with pytest.raises(UserError, match=words):
      main(argv)


def test_the_program_ends_with_2_and_one_line_on_a_mistake(tmp_path):
  (tmp_path / "x").write_bytes(b"cposix\nsystem\n(S'ls'\ntR.")
  done = subprocess.run(
    [sys.executable, "-m", "mcr_jax.data", "inspect", "x"],
    cwd=tmp_path,
    env={**os.environ, "PYTHONPATH": str(ROOT)},
    capture_output=True,
    text=True,
  )
  assert done.returncode == 2 and not done.stdout
  assert "refused: posix.system" in done.stderr and done.stderr.count("\n") == 1


LABELS = {
  "too few": np.zeros(3),
  "one for all": np.float32(1),
  "none a sample": np.zeros((4, 0)),
  "negative": np.array([-1, 0, 1, 2]),
}


@pytest.mark.parametrize("name", LABELS)
def test_labels_of_no_use_are_told_and_never_written_silently(name, tmp_path, capsys):
  path = tmp_path / "odd.npz"
  splits = np.array(["train", "train", "valid", "test"])
  np.savez(path, id=list("abcd"), split=splits, label=LABELS[name], text=np.eye(4))
  with pytest.raises(UserError, match="neither sequences nor labels to draw"):
    inspected(path, capsys, "--plot", str(tmp_path / "odd.png"))
  text = inspected(path, capsys)
  assert "Not ready for training: " in text
  assert "Labels: there are some, but not of use as they are" in text
  assert main(["convert", str(path), str(tmp_path / "out.npz")]) == 0
  assert "Not ready for training: " in capsys.readouterr().out


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("wild", [np.nan, np.inf, 1e300])
def test_wild_labels_are_counted_and_drawn(wild, tmp_path, capsys):
  path = tmp_path / "wild.npz"
  splits = np.array(["train", "train", "valid", "test"])
  labels = np.array([0.5, wild, 1.0, 2.0])
  np.savez(path, id=list("abcd"), split=splits, label=labels, text=np.eye(4))
  text = inspected(path, capsys, "--plot", str(tmp_path / "wild.png"))
  assert np.isfinite(wild) or "1 label is not finite" in text
  assert (tmp_path / "wild.png").stat().st_size > 1000


def test_splits_of_another_length_are_told(tmp_path, capsys):
  path = tmp_path / "odd.npz"
  np.savez(
    path, id=list("abcd"), split=["train"] * 3, label=np.eye(4)[0], text=np.eye(4)
  )
  text = inspected(path, capsys)
  assert "Not ready for training: 'split' has shape (3,)" in text


def test_an_id_that_is_half_a_character_is_refused(tmp_path):
  path = tmp_path / "odd.npz"
  np.savez(path, id=["a", "\ud800"], text=np.eye(2))
  with pytest.raises(UserError, match=r"ids hold '\\ud800', which is no character"):
    main(["convert", str(path), str(tmp_path / "out.npz")])
  assert not (tmp_path / "out.npz").exists()


def test_a_narrow_range_of_labels_fills_its_histogram(tmp_path, capsys):
  path = tmp_path / "narrow.npz"
  labels = np.linspace(0, 0.1, 70)
  np.savez(path, id=np.arange(70).astype(str), label=labels, text=np.eye(70))
  text = inspected(path, capsys)
  counts = [
    line.split()[-1] for line in text.splitlines() if " to " in line and "#" in line
  ]
  assert counts == ["10"] * 7


@pytest.mark.parametrize("amount", ["nan", "inf", "0", "-1"])
def test_a_bound_on_memory_is_a_number(file, amount):
  with pytest.raises(UserError, match="must be a number above 0"):
    main(["inspect", str(file), f"--memory-gb={amount}"])
