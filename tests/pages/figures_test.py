"""Figures of runs: which steps a map is of, which runs a folder stands for."""

import json
import pathlib
import sys
import types

import numpy as np
import pytest

from mcr_jax import cli, draw, evaluators
from mcr_jax.contract import Spec
from mcr_jax.data.schema import Dataset, Modality
from mcr_jax.errors import UserError
from mcr_jax.evaluators import Evaluation, summarise
from mcr_jax.figures import catalog, confusion, maps, samples
from mcr_jax.figures.samples import Choice
from mcr_jax.figures.sources import Source, sources
from tests.pages import made

pytest.importorskip("matplotlib", reason="figures need the extra viz")
LENGTHS = {"text": 4, "vision": 5, "audio": 7}
REAL = {"text": 3, "vision": 5, "audio": 2}


def sample():
  """One sample with words and times of text, times of audio, nothing of vision."""
  modalities = {
    m: Modality(np.ones((n, 2), np.float32), np.array([0, n]), np.ones(n, bool))
    for m, n in REAL.items()
  }
  fields = modalities["text"].__dict__ | {"words": np.array(["so", "very", "good"])}
  modalities["text"] = Modality(**fields)
  times = np.array([[2.0, 2.5], [2.5, 3.0]])
  modalities["audio"] = Modality(**modalities["audio"].__dict__ | {"times": times})
  return Dataset(np.array(["a"]), modalities)


def run(**intermediates):
  """What `maps` asks of a run, without one."""
  found = types.SimpleNamespace(
    spec=Spec(LENGTHS, dict.fromkeys(LENGTHS, 2)),
    config=types.SimpleNamespace(model={"name": "mcr", "file": ""}),
    outputs=lambda _: {k.replace("__", "/"): x for k, x in intermediates.items()},
    with_room=lambda _: found,
  )
  return found


def weights(rows, columns, heads=0):
  """(S, 1, H, Q, K) or without heads, each row a distribution."""
  shape = (2, 1, *[heads] * bool(heads), rows)
  return np.random.default_rng(0).dirichlet(np.ones(columns), size=shape)


def test_names_say_which_steps_a_map_is_of():
  found = maps.maps(
    run(
      layer_1__cmu_text__attention_audio=weights(4, 7, 1),
      layer_0__scu_text__cross_weights=weights(4, 12, 3),
      layer_0__scu_text__self_weights=weights(4, 4, 3),
      cross_audio_text__layer_2__weights=weights(7, 4, 3),
      encoder_0__weights=weights(16, 16),
      layer_0__update_text__gate=weights(4, 7),
      layer_0__cmu_text__attention_vision=weights(3, 3),
    ),
    sample(),
  )
  said = {(m.kind, m.layer, m.targets, m.sources): m.weights.shape for m in found}
  every = ("text", "vision", "audio")
  assert said == {
    ("cmu", 1, ("text",), ("audio",)): (3, 2),
    ("scu cross", 0, ("text",), ("vision", "audio")): (3, 7),
    ("scu self", 0, ("text",), ("text",)): (3, 3),
    ("cross", 2, ("audio",), ("text",)): (2, 3),
    ("encoder", 0, every, every): (10, 10),
  }
  assert found[0].title == "CMU: text reads audio"


def test_a_map_is_the_mean_over_heads_of_one_seed_on_real_steps():
  values = weights(4, 12, 3)
  (found,) = maps.maps(run(layer_0__scu_text__cross_weights=values), sample(), seed=1)
  # Five steps of vision, then the two real ones of seven of audio.
  np.testing.assert_allclose(found.weights, values[1, 0].mean(0)[:3, :7], rtol=1e-6)


def test_steps_are_words_seconds_or_numbers():
  data = sample()
  labels, unit, starts = maps.joined(data, ("text", "vision", "audio"))
  assert labels == ["so", "very", "good", *"01234", "0.00", "0.50"]
  assert unit == "word | step of vision | audio, seconds" and starts == [3, 8]


def test_confusion_of_a_sentiment_rounds_and_counts_every_seed():
  labels = np.array([-2.6, 0.4, 1.6], np.float32)
  predictions = np.array([[-9.0, 0.2, 0.6], [np.nan, 0.6, 2.4]], np.float32)[..., None]
  results = summarise("sentiment", np.nan_to_num(predictions), labels)
  one = Evaluation("x", results, np.array(["a", "b", "c"]), labels, predictions)
  counts, names, _ = confusion.matrix(one)
  found = {(names[i], names[j]): n for (i, j), n in np.ndenumerate(counts) if n}
  assert found == {
    ("-3", "-3"): 1,
    ("0", "0"): 1,
    ("2", "1"): 1,
    ("0", "1"): 1,
    ("2", "2"): 1,
  }


def points(folder, field, values):
  """The folder of a sweep, as far as its configs go."""
  for i, value in enumerate(values):
    path = folder / f"layers_{i + 1}"
    path.mkdir(parents=True)
    (path / "config.json").write_text(
      json.dumps({"model": {field: value}, "seeds": []})
    )
    (path / "metrics.jsonl").write_text('{"epoch": 1, "valid/loss": [1.0, 2.0]}\n')
    results = summarise("regression", np.ones((2, 3, 1)) * i, np.arange(3.0))
    evaluators.write(
      path, "test", results, list("abc"), np.arange(3.0), np.ones((2, 3, 1)) * i
    )
  return folder


def test_a_setting_is_the_number_in_which_runs_differ(tmp_path):
  folder = points(tmp_path / "sweep", "num_layers", [3, 1, 2])
  found = sources([folder])
  assert [x.label for x in found] == ["layers_1", "layers_2", "layers_3"]
  figure = catalog.find("mcr-figure7").draw(found, Choice(metric="mae"))
  (axes,) = figure.axes
  assert axes.get_xlabel() == "model.num_layers"
  assert axes.lines[0].get_xdata().tolist() == [1, 2, 3]
  # The point whose value is 1 predicts 1 everywhere, that of 2 predicts 2.
  np.testing.assert_allclose(axes.lines[0].get_ydata(), [2 / 3, 1, 1])
  with pytest.raises(UserError, match="none"):
    catalog.setting(found[:1], Choice())


def test_every_corpus_of_a_table_has_panels_of_its_own(tmp_path):
  found = []
  for corpus in ("mosi", "mosei"):
    own = sources([points(tmp_path / corpus, "num_layers", [1, 2])])
    found += [Source(x.label, x.folder, corpus) for x in own]
  axes = catalog.setting(found, Choice(metric="mae")).axes
  assert [x.get_ylabel() for x in axes] == ["mae, mosi", "mae, mosei"]
  other = Source(
    "x", points(tmp_path / "other", "num_layers", [3, 4]) / "layers_1", "o"
  )
  more = Source("y", tmp_path / "other" / "layers_2", "o")
  with pytest.raises(UserError, match="mosi, mosei, o"):
    catalog.setting([*found, other, more], Choice(metric="mae"))


def test_scores_and_curves_have_a_line_a_run(tmp_path):
  found = sources([points(tmp_path / "sweep", "width", [3, 1])])
  figure = catalog.scores(found, Choice(metric="mae"))
  assert [t.get_text() for t in figure.axes[0].get_yticklabels()] == [
    "layers_1",
    "layers_2",
  ]
  lines = catalog.curves(found, Choice(metric="valid/loss")).axes[0].lines
  assert [line.get_ydata()[0] for line in lines] == [1.5, 1.5]


def test_folders_of_one_name_are_told_apart(tmp_path, workdir):
  copy = tmp_path / "run"
  copy.symlink_to(workdir)
  labels = [x.label for x in sources([workdir, copy])]
  assert len(set(labels)) == 2
  with pytest.raises(UserError, match="no run"):
    sources([_empty(tmp_path)])
  with pytest.raises(UserError, match="no folder"):
    sources([tmp_path / "nowhere"])


def _empty(folder):
  (folder / "empty").mkdir()
  return folder / "empty"


def test_a_table_is_its_rows(tmp_path, workdir):
  found = sources([made.table(tmp_path / "t", workdir)])
  assert found == [Source("MCR", tmp_path / "t" / "runs" / "one", "mosi")]
  (tmp_path / "t" / "table.json").write_text('{"kind": "table"}')
  with pytest.raises(UserError, match="sections"):
    sources([tmp_path / "t"])


@pytest.mark.slow
def test_a_word_is_drawn_as_it_is_in_png_and_svg(workdir, tmp_path, capsys):
  draw.main(["words", "--workdir", str(workdir), "--sample", f"{made.EVIL}3"])
  capsys.readouterr()
  text = (workdir / "figures" / "words.svg").read_text("utf-8")
  assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text and "<script" not in text
  png = (workdir / "figures" / "words.png").read_bytes()
  assert png.startswith(b"\x89PNG") and len(png) > 10_000


@pytest.mark.slow
def test_layers_and_alpha_are_those_of_the_model(workdir):
  (source,) = sources([workdir])
  figure = catalog.layers([source], Choice(sample=f"{made.EVIL}3", step="0"))
  panel = figure.axes[0]
  assert [t.get_text() for t in panel.get_yticklabels()] == ["1", "2"]
  np.testing.assert_allclose(panel.images[0].get_array().sum(1), 1, rtol=1e-3)
  run = catalog.load_run(workdir)
  rows, what = samples.alphas(run, Choice(sample=f"{made.EVIL}3"))
  assert what == f"{made.EVIL}3"
  assert list(rows)[:3] == ["text, layer 1", "text, layer 2", "audio, layer 1"]
  assert rows["text, layer 1"] == {"text": 0, "audio": pytest.approx(1, abs=1e-3)}


def test_costs_grow_with_every_modality(workdir):
  axes = catalog.costs(sources([workdir]), Choice()).axes
  for panel in axes:
    values = panel.lines[0].get_ydata()
    assert len(values) == 2 and values[0] < values[1]


@pytest.mark.parametrize(
  ("arguments", "value"),
  [
    (["wrods", "--workdir", "RUN"], "wrods.*words"),
    (["words", "--workdir", "RUN", "--sample", "nobody"], "nobody"),
    (["words", "--workdir", "RUN", "--out", "x.doc"], "x.doc"),
    (["words", "--workdir", "RUN", "--seed", "7"], "7"),
    (["words", "--workdir", "nowhere"], "nowhere"),
  ],
)
def test_mistakes_are_named(arguments, value, workdir, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  arguments = [str(workdir) if x == "RUN" else x for x in arguments]
  with pytest.raises(UserError, match=value):
    draw.main(arguments)


@pytest.mark.parametrize(
  ("draw", "choice", "value"),
  [
    (samples.words, Choice(target="smell"), "smell.*text"),
    (samples.words, Choice(layer=9), "9.*1"),
    (samples.layers, Choice(step="zebra"), "zebra.*so, very, good"),
    (samples.layers, Choice(step="3"), "3"),
  ],
)
def test_what_no_map_has_is_named(draw, choice, value, monkeypatch):
  one = maps.Map("cmu", 0, ("text",), ("vision",), np.ones((3, 5)))
  monkeypatch.setattr(samples, "_maps", lambda *_: (sample(), [one]))
  with pytest.raises(UserError, match=value):
    draw(run(), "", choice)


def test_the_step_is_a_word_a_number_or_the_one_that_changes_most(monkeypatch):
  weights = np.full((2, 3, 5), 0.2)
  weights[1, 1] = [1, 0, 0, 0, 0]
  each = [maps.Map("cmu", i, ("text",), ("vision",), weights[i]) for i in (0, 1)]
  monkeypatch.setattr(samples, "_maps", lambda *_: (sample(), each))
  for step, name, row in (("", "very", 1), ("good", "good", 2), ("0", "so", 0)):
    (panel,) = samples.layers(run(), "", Choice(step=step))
    assert name in panel.row_title
    np.testing.assert_array_equal(panel.weights, weights[:, row])


def test_a_mistake_is_one_line_and_exit_code_2(monkeypatch, capsys):
  monkeypatch.setattr(sys, "argv", ["draw", "words"])
  with pytest.raises(SystemExit) as end:
    cli.run(draw.main)
  assert end.value.code == 2 and "--workdir" in capsys.readouterr().err


def test_the_list_names_every_figure_and_those_of_the_papers(capsys):
  draw.main(["list"])
  shown = capsys.readouterr().out
  assert all(name in shown for name in (*catalog.FIGURES, *catalog.PAPERS))


def test_runs_without_attention_are_left_out_beside_others():
  able, unable = Source("MCR", pathlib.Path("a")), Source("MFN", pathlib.Path("b"))

  def drawn(source):
    if source is unable:
      raise samples.NothingToDraw("b has no attention")
    return 1

  assert catalog._that_can(drawn, [unable, able]) == [(able, 1)]
  with pytest.raises(UserError, match="b has no attention"):
    catalog._that_can(drawn, [unable])
