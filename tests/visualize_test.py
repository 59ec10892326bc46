"""Figures hold the numbers they were given, and need no window."""

import io
import json
import sys

import jax.numpy as jnp
import numpy as np
import pytest

from mcr_jax import visualize
from mcr_jax.errors import UserError

pytest.importorskip("matplotlib", reason="figures need the extra viz")
Q, K, C, S = 3, 7, 4, 5


def draw(figure):
  """The size of the picture, which a figure that cannot be drawn does not have."""
  file = io.BytesIO()
  figure.savefig(file, format="png", dpi=40)
  return len(file.getvalue())


def texts(axes):
  return [text.get_text() for text in axes.texts]


def test_attention_draws_every_weight_under_its_labels():
  weights = np.random.default_rng(0).dirichlet(np.ones(K), size=Q)
  weights = jnp.asarray(weights)  # as a model gives them
  figure = visualize.attention(weights, ["not", "bad", "at"], range(K), title="x")
  axes = figure.axes[0]
  np.testing.assert_array_equal(axes.images[0].get_array(), weights)
  assert [t.get_text() for t in axes.get_yticklabels()] == ["not", "bad", "at"]
  assert [t.get_text() for t in axes.get_xticklabels()] == list("0123456")
  assert axes.images[0].get_clim()[0] == 0 and draw(figure)


def test_long_axes_are_labelled_every_few_steps():
  figure = visualize.attention(np.ones((2, 375)), "ab", range(375))
  labels = [t.get_text() for t in figure.axes[0].get_xticklabels()]
  assert len(labels) <= 50 and labels[:2] == ["0", "10"]
  assert draw(figure)


def test_a_matrix_must_fit_its_labels():
  with pytest.raises(UserError, match=r"\(3, 7\) .* 2 row .* 7 column"):
    visualize.attention(np.ones((Q, K)), ["a", "b"], range(K))


def test_a_confusion_shows_counts_and_shares_of_the_true_class():
  matrix = np.array([[3, 1], [0, 0]])
  figure = visualize.confusion(matrix, ["no", "yes"])
  axes = figure.axes[0]
  assert texts(axes) == ["3\n75%", "1\n25%", "0", "0"]
  np.testing.assert_array_equal(axes.images[0].get_array(), [[0.75, 0.25], [0, 0]])
  assert draw(figure)


def test_curves_are_means_over_seeds_and_leave_out_what_is_null():
  values = np.random.default_rng(0).normal(size=(4, S)).round(3).tolist()
  values[2][1] = None
  rows = [{"epoch": e + 1, "valid/mae": v} for e, v in enumerate(values)]
  rows.insert(2, {"epoch": 9, "train/loss": 1.0})
  rows = json.loads(json.dumps(rows))
  figure = visualize.curves({"a": rows, "b": rows[:1]}, "valid/mae")
  first, second = figure.axes[0].lines
  want = [np.mean([x for x in v if x is not None]) for v in values]
  np.testing.assert_allclose(first.get_ydata(), want)
  assert first.get_xdata().tolist() == [1, 2, 3, 4]
  assert second.get_xdata().tolist() == [1] and draw(figure)


def test_curves_of_one_number_an_epoch_have_no_band():
  rows = [{"epoch": e, "valid/loss": 1 / e} for e in range(1, 30)]
  figure = visualize.curves({"one": rows})
  assert figure.axes[0].lines[0].get_ydata()[1] == 0.5 and draw(figure)


def test_the_names_of_many_runs_stand_below_their_lines():
  rows = [{"epoch": e, "valid/loss": [1 / e]} for e in (1, 2)]
  few, many = (visualize.curves({str(n): rows for n in range(k)}) for k in (4, 9))
  assert few.axes[0].get_legend() and not few.legends
  assert many.legends and not many.axes[0].get_legend() and draw(many)


def test_a_run_without_the_metric_says_what_it_has():
  rows = [{"epoch": 1, "valid/loss": [1.0]}]
  with pytest.raises(UserError, match="'a' .*'valid/mae'.* valid/loss"):
    visualize.curves({"a": rows}, "valid/mae")


def test_alpha_stacks_the_sources_of_every_row():
  figure = visualize.alpha(
    {"text": {"vision": 0.7, "audio": 0.3}, "audio": {"text": 0.95, "vision": 0.05}}
  )
  axes = figure.axes[0]
  ends = {}
  for container in axes.containers:
    ends[container.get_label()] = [b.get_x() + b.get_width() for b in container]
  assert list(ends) == ["vision", "audio", "text"]
  np.testing.assert_allclose(ends["vision"], [0.7, 0.05])
  np.testing.assert_allclose(ends["audio"], [1.0, 0.05])
  np.testing.assert_allclose(ends["text"], [1.0, 1.0])
  assert draw(figure)


def test_depth_has_a_panel_for_each_score():
  scores = np.random.default_rng(0).normal(size=(3, S))
  figure = visualize.depth([1, 2, 3], {"acc2": scores, "f1": scores[:, 0]})
  lines = [axes.lines[0].get_ydata() for axes in figure.axes]
  np.testing.assert_allclose(lines, [scores.mean(1), scores[:, 0]])
  assert draw(figure)
  assert draw(visualize.depth([0.1, 0.2, 0.3], {"f1": scores}, xlabel="gamma"))


def test_without_matplotlib_the_error_names_the_extra(monkeypatch):
  monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
  with pytest.raises(UserError, match=r"mcr_jax\[viz\]"):
    visualize.confusion(np.eye(2), ["a", "b"])
