"""What the page for a clip says of a run: what is predicted, and why, all escaped."""

import copy
import dataclasses
import json
import types
import warnings

import numpy as np
import pytest

pytest.importorskip("jinja2", reason="pages need the extra report")
pytest.importorskip("starlette", reason="needs the extra demo")

from mcr_jax import robustness  # noqa: E402
from mcr_jax.contract import Spec  # noqa: E402
from mcr_jax.data.schema import Dataset, Modality  # noqa: E402
from mcr_jax.demo import attention, charts, front, timeline, view  # noqa: E402
from mcr_jax.demo import explain as explaining  # noqa: E402
from mcr_jax.demo.explain import DRAWS, LEVELS, explain, joined, names_of, readings  # noqa: E402
from mcr_jax.figures.maps import Map  # noqa: E402
from mcr_jax.runs.run import load_run  # noqa: E402
from tests.pages import made  # noqa: E402


@pytest.fixture(scope="module")
def run(workdir):
  return load_run(workdir)


@pytest.fixture(scope="module")
def sample():
  """One sample, alone, without a label, whose name and words are markup."""
  whole = made.dataset()
  one = whole.select(whole.indices("test")[:1])
  return dataclasses.replace(one, labels=None, splits=None).noted(made.EVIL)


@pytest.fixture(scope="module")
def found(run, sample):
  return explain(run, sample, lambda stage, share: None)


def test_it_says_what_predict_says_with_everything_and_with_less(found, run, sample):
  clean = run.predict(sample)[:, 0]
  np.testing.assert_allclose(found.said, clean, rtol=1e-5)
  np.testing.assert_allclose(found.together, clean.mean(0), rtol=1e-5)
  whole = set(run.spec.modalities)
  assert len(found.subsets) == 2 ** len(whole) - 1
  for kept in (("text",), ("audio",)):
    off = sorted(whole - set(kept))
    worse = robustness.disturbed(sample, off, "drop", 1.0, {})
    np.testing.assert_allclose(found.subsets[kept], run.predict(worse)[:, 0], rtol=1e-5)
    assert not np.allclose(found.subsets[kept], clean)


def test_noise_is_that_of_the_training_data(found, run, sample):
  assert set(found.noise) == set(found.run.spec.modalities)
  for by in found.noise.values():
    assert tuple(by) == LEVELS
    assert all(x.shape == (len(made.SEEDS), DRAWS, 1) for x in by.values())
  repeated = joined([sample] * DRAWS)
  scale = run.normalizer.std
  worse = robustness.disturbed(repeated, ["audio"], "noise", LEVELS[-1], scale)
  wanted = run.predict(worse)
  np.testing.assert_allclose(found.noise["audio"][LEVELS[-1]], wanted, rtol=1e-4)
  assert np.ptp(wanted, axis=1).min() > 0


def test_the_data_of_whoever_trained_the_run_is_not_looked_for(run, sample):
  config = run.config.copy_and_resolve_references()
  with config.unlocked():
    config.data.normalize, config.data.path = False, "/somebody/else.npz"
  other = copy.copy(run)
  object.__setattr__(other, "config", config)
  assert explaining._scale(run, sample) and explaining._scale(other, sample) is None


def test_what_comes_from_a_clip_is_text_and_never_markup(found):
  html = view.result(found)
  assert made.EVIL not in html and "&lt;script&gt;" in html
  assert "--transcript FILE" in html and "--overlong" not in html
  blocks = html.split('<script type="application/json"')[1:]
  assert len(blocks) == html.count("data-chart=")
  for block in blocks:
    json.loads(block.partition(">")[2].partition("</script>")[0])
  facts = {"label": made.EVIL, "model": made.EVIL, "modalities": [made.EVIL]}
  facts |= {"words": True, "recognised": True, "seeds": 2, "seconds": 60.0}
  page = front.page(facts)
  assert made.EVIL not in page and "http" not in page


def test_charts_lie_on_the_time_of_the_clip(found):
  end = found.dataset.modalities["text"].times.max()
  end = max(end, found.dataset.modalities["audio"].times.max())
  spec = timeline.strips(found)
  assert timeline.seconds_of(found) == pytest.approx(end)
  for row in spec["data"]["values"]:
    assert 0 <= row["start"] < row["end"] <= end + 0.02
  words = {x["step"] for x in spec["data"]["values"] if x["modality"] == "text"}
  assert made.EVIL in words
  assert timeline.track(found, "audio") is None  # its features have no names
  assert {x["noise"] for x in charts.noisy(found)["data"]["values"]} == {0, *LEVELS}
  assert charts.alphas(found)["data"]["values"]


def test_what_a_clip_lacks_is_not_drawn(found):
  names = found.run.spec.modalities
  alone = dataclasses.replace(found, subsets={names: found.subsets[names]})
  assert charts.fewer(found) and charts.fewer(alone) is None
  audio = found.dataset.modalities["audio"]
  silence = dataclasses.replace(
    audio,
    values=np.zeros((len(audio.values), 2), np.float32),
    names=("log_energy", "f0_log2"),
  )
  quiet = dataclasses.replace(found.dataset, modalities={"audio": silence})
  with warnings.catch_warnings(action="error"):
    spec = timeline.track(dataclasses.replace(found, dataset=quiet), "audio")
  assert {x["feature"] for x in spec["data"]["values"]} == {"loudness"}


def test_an_even_share_is_one_and_holes_do_not_count():
  mask = np.array([True, True, False])
  of = Modality(np.zeros((3, 1), np.float32), np.array([0, 3]), mask)
  sample = Dataset(np.array(["a"]), {"text": of, "audio": of})
  even = Map("x", 0, ("text",), ("audio",), np.array([[0.5, 0.5, 0], [0, 0, 0]]))
  one = attention.received(sample, [[even]])
  assert one["all"]["audio"].tolist() == one["text"]["audio"].tolist() == [1, 1, 0]
  weights = np.array([[0.7, 0.1, 0, 0.1, 0.1, 0]])
  both = Map("x", 0, ("text", "audio"), ("text", "audio"), weights)
  two = attention.received(sample, [[both]])
  assert set(two) == {"all"}
  np.testing.assert_allclose(two["all"]["text"], [2.8, 0.4, 0])
  np.testing.assert_allclose(two["all"]["audio"], [0.4, 0.4, 0])


@pytest.mark.parametrize(
  ("spec", "names"),
  [
    ({"outputs": (1,)}, ("prediction",)),
    ({"outputs": (2,), "target_names": ("a", "b")}, ("a", "b")),
    ({"outputs": (2,), "task": "multiclass"}, ("0", "1")),
    ({"outputs": (2, 2), "task": "binary", "class_names": ("x", "y")}, ("x", "y")),
    (
      {
        "outputs": (2, 3),
        "task": "multitask",
        "class_names": (("n", "p"), ("l", "m", "h")),
        "target_names": ("s", "e"),
      },
      ("s: n", "s: p", "e: l", "e: m", "e: h"),
    ),
  ],
)
def test_every_kind_of_prediction_is_numbers_with_names(spec, names):
  run = types.SimpleNamespace(spec=Spec({"text": 3}, {"text": 2}, **spec))
  values = np.random.default_rng(0).normal(size=(2, 3, *run.spec.outputs))
  assert names_of(run) == names
  numbers = readings(run, values)
  assert numbers.shape == (2, 3, len(names))
  if run.spec.task != "regression":
    assert 0 < numbers.min() < numbers.max() < 1
