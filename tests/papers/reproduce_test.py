"""A table of two tiny systems: trained, stopped, shared, checked and shown."""

import csv
import io
import json
import shutil
import signal

import numpy as np
import pytest

from mcr_jax import cli, reproduce
from mcr_jax.errors import Interrupted, UserError
from mcr_jax.papers import catalog, cells, document, plan, search
from mcr_jax.papers.definition import Column, Row, Section, Source, Table
from mcr_jax.runs.trainer import Trainer

SMALL = {"seeds": (0, 1), "train.epochs": 1, "mesh": {"seed": 1, "data": 1}}


def system(model, **overrides):
  changes = {f"model.{name}": value for name, value in overrides.items()}
  return Source(f"own:{model}", model, "mosi", SMALL | changes)


TINY = Table(
  "tiny",
  "MCR",
  "Table 2",
  "Two systems & more",
  (
    Column("acc2_non0", "Acc2", "acc2"),
    Column("mae", "MAE", decimals=3, scale=1.0),
  ),
  (
    Section(
      "Aligned",
      (
        Row("MulT", {"mosi": system("concat", width=3)}),
        Row("MCR", {"mosi": system("lf_dnn", width=3, hidden=3)}, note="Small."),
        Row("RAVEN", {"mosi": Source("systems:nobody", "nobody", "mosi")}),
      ),
      "aligned",
    ),
  ),
)


@pytest.fixture(autouse=True)
def only_tiny(monkeypatch):
  monkeypatch.setitem(catalog.TABLES, "tiny", TINY)
  monkeypatch.setattr(cli, "prepare", lambda *_: None)


def features(folder, name="mosi.npz", **changes):
  random = np.random.default_rng(0)
  arrays = {
    "id": np.array([f"sample_{i}" for i in range(40)]),
    "split": np.repeat(["train", "valid", "test"], [16, 8, 16]),
    "label": random.uniform(-3, 3, 40).astype(np.float32),
    "text": random.normal(size=(40, 3)).astype(np.float32),
    "audio": random.normal(size=(40, 2)).astype(np.float32),
  }
  arrays |= changes
  np.savez(folder / name, **{k: v for k, v in arrays.items() if v is not None})
  return f"mosi={folder / name}"


def run(workdir, data, *more):
  reproduce.main(["tiny", "--workdir", str(workdir), "--data", data, *more])


@pytest.fixture(scope="module")
def done(tmp_path_factory):
  """A finished table: (its data, its folder)."""
  folder = tmp_path_factory.mktemp("table")
  with pytest.MonkeyPatch.context() as patch:
    patch.setitem(catalog.TABLES, "tiny", TINY)
    patch.setattr(cli, "prepare", lambda *_: None)
    data = features(folder)
    run(folder / "whole", data)
  return data, folder / "whole"


def numbers(workdir):
  found = document.read(workdir)
  return found["sections"], found["comparisons"]


def test_ours_stand_beside_what_is_published(done):
  found = document.read(done[1])
  (section,) = found["sections"]
  mult, mcr, raven = section["rows"]
  assert (mult["status"], mcr["kind"]) == ("done", "baseline")
  assert raven["status"] == raven["kind"] == "not implemented"
  assert mult["cells"]["mae"]["published"] == 0.871
  assert mcr["cells"]["acc2"]["published_dagger"] and not raven["runs"]
  cell = mult["cells"]["acc2"]
  assert cell["mean"] == pytest.approx(np.mean(cell["seeds"])) and cell["mean"] > 1
  assert cell["difference"] == pytest.approx(cell["mean"] - 83.0)
  values = [row["cells"]["mae"] for row in (mult, mcr)]
  assert [v["best"] for v in values] == [
    v["mean"] == min(x["mean"] for x in values) for v in values
  ]
  assert "16/8/16 samples, the paper's 1284/229/686" in " ".join(found["notes"])


@pytest.mark.parametrize("better, best", [("higher", 3.0), ("lower", 2.0)])
def test_the_best_goes_by_the_direction(better, best):
  rows = [{"cells": {"x": {"mean": v, "best": False}}} for v in (2.0, None, 3.0)]
  cells._mark_best(rows, {"id": "x", "better": better})
  found = [row["cells"]["x"] for row in rows]
  assert [cell["mean"] for cell in found if cell["best"]] == [best]


def test_the_best_is_compared_with_ours_alone(done):
  sections, comparisons = numbers(done[1])
  for entry in comparisons:
    assert {entry["best"], entry["other"]} == {"MulT", "MCR"}
    assert entry["p_seeds"] == entry["p_seeds_holm"]  # of one comparison
    assert 0 < entry["p_samples"] <= 1 and entry["low"] <= entry["high"]
  assert {entry["column"] for entry in comparisons} == {"acc2", "mae"}


def test_every_number_says_where_it_comes_from(done):
  folder = done[1]
  found = document.read(folder)
  runs = found["runs"]
  assert list(runs) == ["aligned-mult", "aligned-mcr"]
  run = runs["aligned-mcr"]
  assert run["seeds"] == [0, 1] and run["seconds"] > 0 and run["versions"]["jax"]
  assert len(run["data_digest"]) == len(found["data"]["mosi"]["digest"]) == 64
  assert (folder / run["folder"] / "eval" / "test.npz").is_file()
  assert found["command"].startswith("python -m mcr_jax.reproduce")


@pytest.mark.slow
def test_a_stopped_table_goes_on_and_is_the_same(done, tmp_path, monkeypatch):
  data, whole = done
  finish = Trainer.finish

  def stop(trainer):
    if trainer.workdir.name == "aligned-mcr":
      raise Interrupted(signal.SIGTERM, "now")
    return finish(trainer)

  with monkeypatch.context() as patch:
    patch.setattr(Trainer, "finish", stop)
    with pytest.raises(Interrupted, match="the same command goes on"):
      run(tmp_path / "t", data)
  assert not (tmp_path / "t" / "table.json").exists()
  before = (tmp_path / "t/runs/aligned-mult/eval/test.npz").stat().st_mtime_ns
  run(tmp_path / "t", data)
  assert (tmp_path / "t/runs/aligned-mult/eval/test.npz").stat().st_mtime_ns == before
  assert numbers(tmp_path / "t") == numbers(whole)


@pytest.mark.slow
def test_shares_divide_the_runs_and_a_last_call_merges(done, tmp_path, capsys):
  data, whole = done
  shutil.copytree(whole / "runs" / "aligned-mult", tmp_path / "t/runs/aligned-mult")
  shutil.copy(whole / "plan.json", tmp_path / "t")
  run(tmp_path / "t", data, "--share", "1/2")
  assert "other shares have 1 left: aligned-mcr" in capsys.readouterr().out
  assert not (tmp_path / "t" / "table.json").exists()
  run(tmp_path / "t", data, "--share", "2/2")
  assert "call without --share" in capsys.readouterr().out
  run(tmp_path / "t", data)
  assert numbers(tmp_path / "t") == numbers(whole)


def test_a_check_finds_a_number_that_the_predictions_do_not_give(done, tmp_path):
  folder = tmp_path / "t"
  shutil.copytree(done[1], folder)
  assert "all" in document.check(folder)
  found = json.loads((folder / "table.json").read_text())
  cell = found["sections"][0]["rows"][0]["cells"]["mae"]
  cell["mean"] = np.nextafter(cell["mean"], 9)
  (folder / "table.json").write_text(json.dumps(found))
  with pytest.raises(UserError, match="1 of .* MulT, mae, mean"):
    document.check(folder)


def test_text_csv_and_latex_show_the_same(done):
  _, folder = done
  cell = document.read(folder)["sections"][0]["rows"][0]["cells"]["acc2"]
  shown = f"{cell['mean']:.1f}"
  assert f"{shown} +-" in (folder / "table.txt").read_text()
  lines = list(csv.DictReader(io.StringIO((folder / "table.csv").read_text())))
  assert len(lines) == 6 and float(lines[0]["mean"]) == cell["mean"]
  latex = (folder / "table.tex").read_text()
  assert r"\toprule" in latex and r"Two systems \& more" in latex
  assert shown in latex and r"86.5$^\dagger$" in latex
  assert latex.count(r"\textbf") >= 2
  page = (folder / "report.html").read_text()
  assert "Two systems &amp; more" in page and "not implemented" in page


def test_rows_are_done_one_at_a_time(done, tmp_path, capsys):
  data, whole = done
  shutil.copytree(whole / "runs" / "aligned-mult", tmp_path / "t/runs/aligned-mult")
  shutil.copy(whole / "plan.json", tmp_path / "t")
  run(tmp_path / "t", data, "--row", "MulT")
  assert "not done: aligned-mcr" in capsys.readouterr().out
  mult, mcr, _ = document.read(tmp_path / "t")["sections"][0]["rows"]
  assert (mult["status"], mcr["status"]) == ("done", "missing")
  for name in ("MuLT", "RAVEN"):
    with pytest.raises(UserError, match=name):
      run(tmp_path / "t", data, "--row", name)


def test_no_difference_is_shown_on_synthetic_data(done, tmp_path):
  shutil.copytree(done[1] / "runs", tmp_path / "runs")
  for name, synthetic in (("given", ""), ("made", "SYNTHETIC")):
    plan = json.loads((done[1] / "plan.json").read_text()) | {"synthetic": synthetic}
    cell = cells.fill(plan, tmp_path)["sections"][0]["rows"][0]["cells"]["mae"]
    assert cell["mean"] > 0 and cell["published"] == 0.871, name
    assert (cell["difference"] is None) == bool(synthetic)


def test_draws_of_a_search_begin_with_the_published_settings(done):
  config = plan.config_of(system("lf_dnn"), "x", (), quick=False)
  found = search.points(config, 4)
  assert found[0] == {"name": "published"}
  assert found[:3] == search.points(config, 3)
  for point in found[1:]:
    assert 0.25 <= point["optim.lr"] / config.optim.lr <= 4
    assert 0 <= point["model.dropout"] <= 0.5


@pytest.mark.parametrize(
  "arguments, words",
  [
    (["mcr-tabel2"], "table='mcr-tabel2'.*mcr-table2"),
    (["tiny:fast"], "variant of tiny='fast'.*quick"),
    (["tiny"], "--workdir"),
    (["tiny", "there", "--workdir", "x"], "'there'"),
    (["tiny", "--workdir", "x", "--data", "mosi"], "'mosi' must be NAME=FILE"),
    (["tiny", "--workdir", "x", "--data", "mosi=/nobody"], "mosi=/nobody"),
    (["tiny", "--workdir", "x", "--share", "3/2"], "'3/2'"),
    (["tiny", "--workdir", "x", "--search", "-1"], "--search -1"),
    (["check"], "check DIR"),
    (["check", "/nobody"], "/nobody/table.json is missing"),
    (["list", "nobody"], "'nobody'"),
  ],
)
def test_a_wrong_argument_is_one_clear_error(arguments, words):
  with pytest.raises(UserError, match=words):
    reproduce.main(arguments)


def test_data_that_the_table_does_not_read_is_refused(done, tmp_path):
  path = done[0].partition("=")[2]
  with pytest.raises(UserError, match="'mosei'.*mosi"):
    run(tmp_path / "t", f"mosei={path}")
  with pytest.raises(UserError, match="tiny:quick runs on synthetic"):
    arguments = ["tiny:quick", "--workdir", str(tmp_path), "--data", done[0]]
    reproduce.main(arguments)


CLASSES = {
  "label": np.arange(40) % 2,
  "class_names": np.array(["glad", "sad"]),
}


@pytest.mark.parametrize(
  "changes, words",
  [
    (CLASSES, "MulT .Aligned., MCR .Aligned.: .*task multiclass"),
    ({"split": np.repeat(["train", "valid"], [24, 16])}, "test"),
    ({"text": None, "audio": None}, "MulT.*MCR"),
  ],
)
def test_a_file_that_serves_no_row_is_refused(changes, words, tmp_path):
  data = features(tmp_path, **changes)
  with pytest.raises(UserError, match=words):
    run(tmp_path / "t", data, "--partial")
  assert not (tmp_path / "t").exists()


def test_rows_that_are_impossible_are_named_and_left_out_only_if_told(
  tmp_path, monkeypatch
):
  path = features(tmp_path).partition("=")[2]
  vision = Source("own:concat", "concat", "mosi", {"data.modalities": ("vision",)})
  rows = (Row("MulT", {"mosi": system("concat")}), Row("PMR", {"mosi": vision}))
  table = Table("tiny", "MCR", "Table 2", "x", TINY.columns, (Section("", rows),))
  request = plan.Request(table, data={"mosi": path})
  with pytest.raises(UserError, match="rows: 1 .PMR: .*'vision'.*others are 1"):
    plan.make(request, tmp_path)
  made = plan.make(plan.Request(table, data={"mosi": path}, partial=True), tmp_path)
  assert [job.key for job in made.jobs] == ["mult"]
  assert made.document["sections"][0]["rows"][1]["status"] == "impossible"


def test_a_folder_of_another_table_data_or_settings_is_refused(done, tmp_path):
  data, folder = done
  other = features(tmp_path, audio=np.ones((40, 2), np.float32))
  with pytest.raises(UserError, match="data of mosi"):
    run(folder, other)
  with pytest.raises(UserError, match="settings"):
    run(folder, data, "--config.train.batch_size=8")
  (tmp_path / "strange").mkdir()
  (tmp_path / "strange" / "notes.txt").touch()
  with pytest.raises(UserError, match="'notes.txt'"):
    run(tmp_path / "strange", data)


def test_two_processes_cannot_have_one_share(done, tmp_path):
  from mcr_jax.sweeps.share import Share

  shutil.copytree(done[1], tmp_path / "t")
  for share in (Share(), Share(2, 3)):
    with share.claim(tmp_path / "t"), pytest.raises(UserError, match=str(tmp_path)):
      run(tmp_path / "t", done[0], "--share", f"{share.number}/{share.of}")


def test_a_disk_that_fills_leaves_nothing_half_written(done, tmp_path, monkeypatch):
  shutil.copytree(done[1], tmp_path / "t")
  (tmp_path / "t" / "table.json").unlink()

  def full(*_):
    raise OSError(28, "No space left on device")

  monkeypatch.setattr("mcr_jax.files.os.replace", full)
  with pytest.raises(OSError, match="No space"):
    document.write(tmp_path / "t")
  assert not (tmp_path / "t" / "table.json").exists()
  assert not [p for p in (tmp_path / "t").iterdir() if p.name.startswith(".table")]


@pytest.mark.slow
def test_a_search_has_the_same_draws_for_every_system(done, tmp_path):
  data, whole = done
  run(tmp_path / "t", data, "--search", "2", "--config.seeds=0,1")
  runs = document.read(tmp_path / "t")["runs"]
  for key, found in runs.items():
    assert found["folder"].startswith(f"runs/{key}/") and found["status"] == "done"
    assert found["seeds"] == [0, 1] and "commit" in found
    listed = json.loads((tmp_path / "t/runs" / key / "table.json").read_text())
    assert [p["name"] for p in listed["points"][:2]] == ["published", "draw_001"]
  assert "numbers are what" in document.check(tmp_path / "t")


@pytest.mark.slow
def test_a_run_is_tested_on_other_data_and_its_head_trained_there(tmp_path):
  net = dict(model="concat", overrides=SMALL | {"model.width": 3})
  first = Source("own:concat", data="mosi", **net)
  head = SMALL | {"model.width": 3, "train.only": "head"}
  rows = (
    Row("tested", {"train": first, "test": Source(data="mosei", tests="train")}),
    Row(
      "trained",
      {
        "train": first,
        "test": Source("own:concat", "concat", "mosei", head, after="train"),
      },
    ),
  )
  columns = (Column("mae", "MAE", corpus="test", scale=1.0),)
  table = Table("tiny", "MCR", "Table 9", "x", columns, (Section("", rows),))
  paths = [
    features(tmp_path),
    features(tmp_path, "b.npz", label=np.linspace(3, -3, 40)),
  ]
  data = {n: p.partition("=")[2] for n, p in zip(("mosi", "mosei"), paths, strict=True)}
  with pytest.MonkeyPatch.context() as patch:
    patch.setitem(catalog.TABLES, "tiny", table)
    more = [f"--data={name}={path}" for name, path in data.items()]
    reproduce.main(["tiny", "--workdir", str(tmp_path / "t"), *more])
  found = document.read(tmp_path / "t")
  assert list(found["runs"]) == ["tested-train", "tested-test", "trained-test"]
  tested, trained = (
    row["cells"]["mae"]["mean"] for row in found["sections"][0]["rows"]
  )
  assert tested > 0 and trained > 0 and tested != trained
  assert found["runs"]["trained-test"]["after"] == "tested-train"
