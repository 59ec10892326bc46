"""A run in one file is the run: the same predictions, wherever the file is copied."""

import dataclasses
import functools
import hashlib
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from jax import export as jax_export

from mcr_jax import (
  cli,
  compare,
  conformance,
  draw,
  evaluate,
  export,
  load_run,
  models,
  predict,
  report,
  robustness,
)
from mcr_jax import config as configs
from mcr_jax.contract import PER_SAMPLE
from mcr_jax.data.normalize import Normalizer
from mcr_jax.errors import DamagedCheckpoint, UserError
from mcr_jax.runs import model_file, packed, stablehlo
from mcr_jax.runs.fit import fit
from mcr_jax.runs.run import Run
from tests.docs_test import code
from tests.models.cases import all_cases
from tests.training import tiny

RECIPE = {"text": {"encoder": "GloVe", "width": 5}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  return tmp_path_factory.mktemp("export")


@pytest.fixture(scope="module")
def run(folder):
  extras = {"extract": np.array(json.dumps(RECIPE))}
  data = tiny.write(folder, extras=extras)
  return fit(tiny.config(data, train={"epochs": 1}), folder / "run", verbose=False)


@pytest.fixture(scope="module")
def path(run, folder):
  """The file of the run, in another folder."""
  export.main([*given(run, folder / "model.mcr"), "--licence", "CC-BY-4.0"])
  (folder / "elsewhere").mkdir()
  return shutil.copy(folder / "model.mcr", folder / "elsewhere" / "model.mcr")


@pytest.fixture(autouse=True)
def unprepared(monkeypatch):
  monkeypatch.setattr(cli, "prepare", lambda *_: None)


def given(run, out):
  return ["--workdir", str(run.workdir), "--out", str(out)]


def resealed(path, to, change=lambda facts, arrays: None):
  """The file with other contents and a digest that is right."""
  facts, arrays = model_file.read(path)
  change(facts, arrays)
  model_file.write(to, facts, arrays, overwrite=True)
  return to


def test_predictions_are_those_of_the_run_to_the_last_bit(run, path):
  one = load_run(path)
  assert (one.seeds, one.spec.lengths) == (run.seeds, run.spec.lengths)
  assert one.digest == run.digest and one.config.to_dict() == run.config.to_dict()
  np.testing.assert_array_equal(one.predict(), run.predict())
  assert one.evaluate("test") == run.evaluate("test", write=False)


def test_one_seed_is_that_seed(run, folder, capsys):
  export.main([*given(run, folder / "three.mcr"), "--seed", "3"])
  assert "seed 3" in capsys.readouterr().out
  one = load_run(folder / "three.mcr")
  assert one.seeds == (3,)
  np.testing.assert_array_equal(one.predict(), run.predict()[1:])
  with pytest.raises(UserError, match="seed=2 must be one of 1, 3"):
    export.main([*given(run, folder / "two.mcr"), "--seed", "2"])
  assert not (folder / "two.mcr").exists()


def test_equal_runs_make_equal_files(run, path, folder):
  again = folder / "again.mcr"
  export.main([*given(run, again), "--licence", "CC-BY-4.0"])
  assert again.read_bytes() == path.read_bytes()
  with pytest.raises(UserError, match="again.mcr exists already; --overwrite"):
    export.main(given(run, again))
  export.main([*given(run, again), "--overwrite"])
  assert packed.facts(again)["card"]["licence"] == "none stated"


def test_the_file_holds_no_sample_and_says_how_features_were_made(run, path, capsys):
  facts, arrays = model_file.read(path)
  assert facts["recipe"] == RECIPE
  assert all(
    x.split("/")[0] in ("params", "collections", "normalization") for x in arrays
  )
  assert not {"machine", "command"} & {*facts["run"]}
  export.main(["--show", str(path)])
  shown = capsys.readouterr().out
  assert "CC-BY-4.0" in shown and run.digest in shown and "a recipe" in shown
  scores = run.evaluate("test", write=False).metrics
  assert re.search(rf"^mae +lower +{scores['mae'].mean:.4f} ", shown, re.M)


def test_every_program_that_reads_a_run_takes_its_file(run, path, capsys, tmp_path):
  def said(program, *arguments):
    capsys.readouterr()
    program.main([*map(str, arguments)])
    return capsys.readouterr().out

  data = run.config.data.path
  lines = said(predict, "--workdir", path, "--input", data)
  assert lines == said(predict, "--workdir", run.workdir, "--input", data)
  assert said(evaluate, "--workdir", path).startswith("test: 11 samples, 2 seeds")
  assert "mae: no difference" in said(compare, path, run.workdir)
  noisy = said(robustness, "--workdir", path, "--levels", "0", "1", "--input", data)
  assert noisy.startswith("test, 11 samples")
  picture = tmp_path / "scores.png"
  said(draw, "scores", "--workdir", path, run.workdir, "--out", picture)
  assert picture.stat().st_size > 1000
  said(report, path, "--out", tmp_path / "page.html")
  page = (tmp_path / "page.html").read_text("utf-8")
  assert "Calibration" in page and run.digest[:12] in page
  assert [x.name for x in path.parent.iterdir()] == ["model.mcr"]


def test_what_a_file_does_not_have_is_told(path, tmp_path):
  with pytest.raises(UserError, match=r"holds the checkpoint 'best', not 'last'"):
    load_run(path, checkpoint="last")
  with pytest.raises(UserError, match="is a file; say with --out where to draw"):
    draw.main(["scores", "--workdir", str(path)])
  with pytest.raises(UserError, match="keeps no epochs"):
    draw.main(["curves", "--workdir", str(path), "--out", str(tmp_path / "x.png")])
  with pytest.raises(UserError, match="is a model file already; copy it"):
    export.main(["--workdir", str(path), "--out", str(tmp_path / "x.mcr")])
  with pytest.raises(UserError, match="--workdir and --out are needed, or --show"):
    export.main(["--workdir", str(path)])


def test_data_that_lies_elsewhere_is_named(run, path, tmp_path):
  def moved(facts, _):
    facts["config"]["data"]["path"] = str(tmp_path / "gone.npz")

  other = resealed(path, tmp_path / "other.mcr", moved)
  with pytest.raises(UserError, match=r"gone\.npz.*--input says where it"):
    compare.main([str(other), str(run.workdir)])
  found = load_run(other).evaluate("test", run.config.data.path)
  assert found == run.evaluate("test", write=False)


def change_config(facts, _, *, group="model", **fields):
  facts["config"][group] |= fields


def change_shape(facts, _, **fields):
  facts["run"]["shape"] |= fields


def rename(_, arrays, to):
  name = next(name for name in arrays if name.startswith("params/"))
  arrays[to] = arrays.pop(name)


ATTACKS = {
  "an array more": lambda _, arrays: arrays.update({"x": np.zeros(3)}),
  "an array less": lambda _, arrays: arrays.pop("params/output/kernel"),
  "no statistics": lambda _, arrays: arrays.pop("normalization/audio_std"),
  "another width": functools.partial(change_config, width=9),
  "no such model": functools.partial(change_config, name="../../evil"),
  "no such field": functools.partial(change_config, run="evil()"),
  "a name that leads away": functools.partial(rename, to="params/../../../etc/x"),
  "a leaf that is a folder": functools.partial(rename, to="params/output"),
  "a size without end": functools.partial(change_shape, lengths={"text": 10**18}),
  "steps for all memory": lambda facts, _: facts["run"]["shape"]["lengths"].update(
    text=2**31 - 1
  ),
  "a width for all memory": functools.partial(change_config, width=2**30),
  "a size that is none": functools.partial(change_shape, outputs=[True]),
  "a task that is none": functools.partial(change_shape, task="evil"),
  "classes that are none": functools.partial(change_shape, class_names=[["a"], 3]),
  "a field of nobody": functools.partial(change_shape, evil=1),
  "a later config": lambda facts, _: facts["run"].update({"format": 99}),
  "seeds twice": lambda facts, _: facts["run"].update({"seeds": [1, 1]}),
  "facts of another type": lambda facts, _: facts.update({"run": "evil"}),
  "notes of another type": lambda facts, _: facts["run"]["data"].update({"notes": 3}),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_a_file_that_lies_is_refused_though_its_digest_is_right(path, tmp_path, name):
  other = resealed(path, tmp_path / "evil.mcr", ATTACKS[name])
  with pytest.raises(UserError, match=r"evil\.mcr") as error:
    load_run(other)
  assert "\n" not in str(error.value)


def test_no_code_is_run_that_a_file_names(run, path, tmp_path):
  code, canary = tmp_path / "evil.py", tmp_path / "canary"
  code.write_text(f"open({str(canary)!r}, 'w').close()\n")
  named = functools.partial(change_config, file=str(code))
  other = resealed(path, tmp_path / "evil.mcr", named)
  for read in (load_run, packed.config_of):
    with pytest.raises(UserError, match="names a file with code"):
      read(other)
  assert not canary.exists()
  config = configs.plain(run.config)
  config["model"]["file"] = str(code)
  own = dataclasses.replace(run, config=configs.from_json(configs.to_json(config)))
  with pytest.raises(UserError, match="no code. --format stablehlo"):
    packed.pack(own, {}, {})


def test_a_damaged_file_ends_the_program_by_its_own_code(path, tmp_path):
  data = bytearray(path.read_bytes())
  data[len(data) // 2] ^= 1
  (tmp_path / "x.mcr").write_bytes(data)
  with pytest.raises(DamagedCheckpoint, match=r"x\.mcr is not as it was written"):
    load_run(tmp_path / "x.mcr")
  with pytest.raises(DamagedCheckpoint):
    export.main(["--show", str(tmp_path / "x.mcr")])


CASES = all_cases()


@functools.cache
def made(name):
  """A run that nobody trained, and a batch of features as a file has them."""
  fields = CASES[name].fields
  subject = conformance.Subject(models.load(name), **fields)
  random = np.random.default_rng(0)
  draw = lambda s: 0.3 * random.normal(size=(2, *s.shape)).astype(s.dtype)
  variables = dict(jax.tree.map(draw, subject.trace().variables))
  spec = subject.spec
  scale = Normalizer(
    {m: random.normal(size=n) for m, n in spec.widths.items()},
    {m: 1 + random.random(n) for m, n in spec.widths.items()},
    clip=1.0,
  )
  config = configs.complete({"model": {"name": name, **fields}, "seeds": (0, 1)})
  weights = variables.pop("params"), variables
  run = Run(Path("made"), config, spec, scale, weights, (0, 1), digest="0")
  single = lambda x: x.astype(np.float32) if x.dtype == np.float64 else np.asarray(x)
  return run, jax.tree.map(single, subject.batch).replace(label=None)


def predicted(run, batch):
  scores = {m: run.normalizer.apply(m, x, batch.mask[m]) for m, x in batch.x.items()}
  return np.asarray(run._programs.predict(run.variables, batch.replace(x=scores)))


def test_what_a_model_remembers_of_samples_stays_behind(tmp_path):
  run, batch = made("self_mm")
  contents = packed.pack(run, {"data": {"digest": "0", "notes": []}}, {})
  assert PER_SAMPLE in run.variables[1]
  assert not any(PER_SAMPLE in name for name in contents[1])
  model_file.write(tmp_path / "x.mcr", *contents)
  again = load_run(tmp_path / "x.mcr")
  np.testing.assert_array_equal(predicted(again, batch), predicted(run, batch))


@pytest.mark.parametrize("name", ["mcr", "bc_lstm"])
def test_a_program_predicts_what_the_run_does(name, any_size):
  run, batch = made(name)
  program = jax_export.deserialize(stablehlo.program(run).serialize())
  more = {k: x for k, x in batch.more.items() if k != "index"}
  more = [more] if run.spec.unit == "dialogue" else []
  found = program.call(batch.x, batch.mask, *more)
  np.testing.assert_allclose(found, predicted(run, batch), rtol=1e-6, atol=1e-6)
  fewer = jax.tree.map(lambda x: x[:2], (batch.x, batch.mask, *more))
  np.testing.assert_allclose(program.call(*fewer), found[:, :2], rtol=1e-6, atol=1e-6)


def test_a_program_runs_with_jax_alone(run, tmp_path, any_size):
  out = tmp_path / "model.stablehlo"
  export.main([*given(run, out), "--format", "stablehlo"])
  card = json.loads((tmp_path / "model.stablehlo.json").read_text("utf-8"))
  assert card["inputs"]["x"]["audio"] == "float32 (samples, 17, 3)"
  assert card["sha256"] == hashlib.sha256(out.read_bytes()).hexdigest()
  data = run.read()
  for name, x in data.modalities.items():
    values, mask = x.padded(np.arange(len(data)), run.spec.lengths[name])
    np.savez(tmp_path / f"{name}.npz", values=values, mask=mask)
  program = code("export", 0).replace("...", "{m: load(m) for m in NAMES}")
  alone = f"""
import sys
sys.modules["mcr_jax"] = None
import numpy as np
load = lambda m: np.load(m + ".npz")
NAMES = {[*data.modalities]}
x = {{m: load(m)["values"] for m in NAMES}}
mask = {{m: load(m)["mask"] for m in NAMES}}
{program}
np.save("found.npy", predictions)
"""
  subprocess.run([sys.executable, "-c", alone], cwd=tmp_path, check=True, timeout=120)
  found = np.load(tmp_path / "found.npy")
  np.testing.assert_allclose(found, run.predict(), rtol=1e-6, atol=1e-6)
  with pytest.raises(UserError, match="stablehlo exists already"):
    export.main([*given(run, out), "--format", "stablehlo"])


def test_a_model_that_counts_its_samples_is_refused(monkeypatch, any_size):
  run, _ = made("mcr")

  def counting(self, batch, *, train=False):
    return range(len(next(iter(batch.x.values())))) and None

  monkeypatch.setattr(models.load("mcr"), "__call__", counting)
  with pytest.raises(UserError, match="MCR cannot be exported.*batch of any size"):
    stablehlo.program(run)
