"""Metrics against scikit-learn and SciPy, and where they are undefined."""

import re

import numpy as np
import pytest
import scipy.stats
import sklearn.metrics as sk
from hypothesis import given, settings
from hypothesis import strategies as st

from mcr_jax import metrics
from mcr_jax.errors import UserError
from mcr_jax.metrics import classification, regression, scale, schemes, sentiment

N, C, K = 101, 5, 4
NAMES = ("happy", "sad", "angry", "neutral")


def sentiments(seed=0, count=N):
  """Labels on the grid of MOSI, and predictions beyond +-3; zeros in both."""
  random = np.random.default_rng(seed)
  labels = np.clip(np.round(random.normal(size=count) * 6) / 5, -3, 3)
  predictions = labels + random.normal(size=count) * 1.5
  predictions[::7] = 0.0
  return predictions.astype(np.float32), labels.astype(np.float32)


def logits(*shape, seed=0):
  return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def test_sentiment_scores_agree_with_scikit_learn_and_scipy():
  p, y = sentiments()
  seen = y != 0
  assert 0 < seen.sum() < N
  seven, five = (lambda x, n=n: np.rint(np.clip(x, -n, n)).astype(int) for n in (3, 2))
  f1 = lambda true, predicted: sk.f1_score(true, predicted, average="weighted")
  want = {
    "mae": sk.mean_absolute_error(y, p),
    "corr": scipy.stats.pearsonr(p, y).statistic,
    "acc7": sk.accuracy_score(seven(y), seven(p)),
    "acc5": sk.accuracy_score(five(y), five(p)),
    "acc2_has0": sk.accuracy_score(y >= 0, p >= 0),
    "acc2_non0": sk.accuracy_score(y[seen] > 0, p[seen] > 0),
    "acc2_positive": sk.accuracy_score(y > 0, p > 0),
    "f1_has0": f1(y >= 0, p >= 0),
    "f1_non0": f1(y[seen] > 0, p[seen] > 0),
    "f1_positive": f1(y > 0, p > 0),
    "f1_has0_by_prediction": f1(p >= 0, y >= 0),
    "f1_non0_by_prediction": f1(p[seen] > 0, y[seen] > 0),
    "f1_positive_by_prediction": f1(p > 0, y > 0),
  }
  report = metrics.compute("sentiment", p[:, None], y)
  assert report.values == pytest.approx(want, rel=1e-6)
  assert report.reasons == {} and report.confusion is None


def test_halves_round_to_even_and_the_ends_are_clipped():
  y = np.array([0.5, 1.5, 2.5, 3.0, -3.0])
  p = np.array([0.0, 2.0, 2.0, 99.0, -99.0])
  assert metrics.compute("sentiment", p, y).values["acc7"] == 1.0


def test_weighing_by_prediction_flatters_a_constant_answer():
  # FACTS of the published scripts: 0.684 where the right value is 0.356.
  y = np.where(np.arange(1000) < 520, 1.0, -1.0)
  values = metrics.compute("sentiment", np.ones(1000), y).values
  assert values["f1_has0"] == pytest.approx(0.3558, abs=1e-4)
  assert values["f1_has0_by_prediction"] == pytest.approx(0.6842, abs=1e-4)


def test_generic_regression_has_concordance_and_one_set_of_scores_a_dimension():
  p, y = logits(N, 2), logits(N, 2, seed=1) + 5
  report = metrics.compute("regression", p, y, ("valence", "arousal"))
  for k, name in enumerate(("valence", "arousal")):
    a, b = p[:, k].astype(float), y[:, k].astype(float)
    assert report.values[f"{name}/rmse"] == pytest.approx(
      sk.root_mean_squared_error(b, a)
    )
    covariance = np.cov(a, b, ddof=0)
    want = 2 * covariance[0, 1] / (np.trace(covariance) + (a.mean() - b.mean()) ** 2)
    assert report.values[f"{name}/ccc"] == pytest.approx(want)
  for metric in ("mae", "rmse", "corr", "ccc"):
    parts = [report.values[f"{n}/{metric}"] for n in ("valence", "arousal")]
    assert report.values[metric] == pytest.approx(np.mean(parts))


@given(st.floats(-1e3, 1e3), st.floats(1e-3, 1e3), st.integers(0, 9))
@settings(max_examples=50, deadline=None)
def test_concordance_ignores_a_common_shift_and_scale_and_correlation_any(
  shift, scale, seed
):
  p, y = (x.astype(float) for x in sentiments(seed, 17))
  move = lambda x: shift + scale * x
  assert regression.ccc(move(p), move(y)) == pytest.approx(
    float(regression.ccc(p, y)), abs=1e-6
  )
  assert regression.corr(move(p), y) == pytest.approx(
    float(regression.corr(p, y)), abs=1e-6
  )
  assert abs(regression.ccc(p, y)) <= abs(regression.corr(p, y)) + 1e-12


def test_a_correlation_survives_a_large_mean():
  p, y = (x.astype(float) for x in sentiments())
  want = scipy.stats.pearsonr(p, y).statistic
  assert regression.corr(p + 1e7, y + 1e7) == pytest.approx(want, rel=1e-6)


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_sims_bins_are_open_to_the_left(classes):
  edges = {2: [-1.01, 0, 1.01], 3: [-1.01, -0.1, 0.1, 1.01]}
  edges[5] = [-1.01, -0.7, -0.1, 0.1, 0.7, 1.01]
  values = np.round(np.arange(-14, 15) / 10, 1)
  clipped = np.clip(values, -1, 1)
  want = [
    next(i for i in range(classes) if edges[classes][i] < v <= edges[classes][i + 1])
    for v in clipped
  ]
  for kind in (np.float32, np.float64):
    got = sentiment.sims_class(values.astype(kind), classes=classes)
    np.testing.assert_array_equal(got, want)


def test_sims_scores_have_their_own_names():
  p, y = sentiments()
  y = np.round(y / 3 * 5) / 5
  report = metrics.compute("sims", p[:, None], y)
  assert set(report.values) == {
    *("mae", "mae_clipped", "corr", "corr_clipped"),
    *("sims_acc2", "sims_acc3", "sims_acc5", "sims_f1"),
  }
  assert report.values["sims_acc2"] == sk.accuracy_score(y > 0, p > 0)
  assert report.values["sims_f1"] == pytest.approx(
    sk.f1_score(y > 0, p > 0, average="weighted")
  )
  assert report.values["mae_clipped"] == pytest.approx(
    sk.mean_absolute_error(np.clip(y, -1, 1), np.clip(p, -1, 1)), rel=1e-6
  )
  clipped = np.corrcoef(np.clip(y, -1, 1), np.clip(p, -1, 1))[0, 1]
  assert report.values["corr_clipped"] == pytest.approx(clipped)
  assert abs(clipped - report.values["corr"]) > 0.01
  beyond = metrics.compute("sims", 2 + p[:, None] ** 2, y)
  assert beyond.reasons == {"corr_clipped": "the predictions are constant"}


def test_multiclass_scores_agree_with_scikit_learn():
  scores = logits(N, C)
  y = np.random.default_rng(1).integers(C, size=N)
  predicted = scores.argmax(1)
  report = metrics.compute("multiclass", scores, y, tuple("ABCDE"))
  values = report.values
  p, r, f, _ = sk.precision_recall_fscore_support(y, predicted)
  for c, name in enumerate("abcde"):
    assert values[f"precision/{name}"] == pytest.approx(p[c])
    assert values[f"recall/{name}"] == pytest.approx(r[c])
    assert values[f"f1/{name}"] == pytest.approx(f[c])
  assert values["accuracy"] == pytest.approx(sk.accuracy_score(y, predicted))
  assert values["balanced_accuracy"] == pytest.approx(
    sk.balanced_accuracy_score(y, predicted)
  )
  for average in ("weighted", "macro"):
    assert values[f"{average}_f1"] == pytest.approx(
      sk.f1_score(y, predicted, average=average)
    )
  np.testing.assert_array_equal(report.confusion, sk.confusion_matrix(y, predicted))


def test_an_absent_class_is_left_out_of_the_macro_mean_and_has_reasons():
  scores = np.eye(3)[[0, 0, 1, 1]]
  report = metrics.compute(
    "multiclass", scores, np.array([0, 1, 1, 1]), ("x", "y", "z")
  )
  assert report.values["macro_f1"] == pytest.approx(
    sk.f1_score([0, 1, 1, 1], [0, 0, 1, 1], average="macro")
  )
  assert report.reasons == {
    "f1/z": "no sample is z or is predicted to be",
    "precision/z": "no sample is predicted to be z",
    "recall/z": "no sample is z",
  }


def test_emotions_are_scored_one_by_one():
  scores = logits(N, K, 2)
  y = np.eye(K, dtype=int)[np.random.default_rng(1).integers(K, size=N)]
  report = metrics.compute("binary", scores, y, NAMES)
  for k, name in enumerate(NAMES):
    way = scores[:, k].argmax(1)
    f1 = sk.f1_score(y[:, k], way, average="weighted")
    assert report.values[f"{name}/acc"] == pytest.approx((way == y[:, k]).mean())
    assert report.values[f"{name}/f1"] == pytest.approx(f1)
    assert report.values[f"{name}/f1_by_prediction"] == pytest.approx(
      sk.f1_score(way, y[:, k], average="weighted")
    )
  assert report.values["mean_f1"] == pytest.approx(
    np.mean([report.values[f"{name}/f1"] for name in NAMES])
  )


def test_the_emotion_confusion_takes_the_largest_log_odds():
  scores = logits(N, K, 2)
  true = np.random.default_rng(1).integers(K, size=N)
  y = np.eye(K, dtype=int)[true]
  odds = np.log(scipy.special.softmax(scores.astype(float), -1))
  want = sk.confusion_matrix(true, (odds[..., 1] - odds[..., 0]).argmax(1))
  report = metrics.compute("binary", scores, y, NAMES)
  np.testing.assert_array_equal(report.confusion, want)
  # A shift of both logits of an emotion changes its largest logit, not its odds.
  shifted = scores + np.array([100.0, 0, 0, 0])[:, None]
  moved = metrics.compute("binary", shifted, y, NAMES)
  np.testing.assert_array_equal(moved.confusion, want)

  y[0] = 0
  y[1] = 1
  report = metrics.compute("binary", scores, y, NAMES)
  assert report.confusion.sum() == N - 2
  assert report.left_out == f"2 of {N} samples do not have exactly one label"


RESAMPLED = {
  "sentiment": sentiments(),
  "regression": (logits(N, 2), logits(N, 2, seed=1)),
  "multiclass": (logits(N, C), np.random.default_rng(1).integers(C, size=N)),
  "binary": (logits(N, K, 2), np.random.default_rng(1).integers(2, size=(N, K))),
  "sims": (sentiments()[0], sentiments()[1] / 3),
  "multitask": (logits(N, 2, C), np.random.default_rng(1).integers(C, size=(N, 2))),
}


@pytest.mark.parametrize("scheme", RESAMPLED)
def test_weights_that_count_repetitions_equal_repeating_the_samples(scheme):
  p, y = RESAMPLED[scheme]
  picks = np.random.default_rng(2).integers(N, size=(3, N))
  counts = np.stack([np.bincount(pick, minlength=N) for pick in picks]).astype(float)
  whole = [metrics.compute(scheme, p[pick], y[pick]).values for pick in picks]
  got = metrics.weighted(scheme, p, y, counts, names=list(whole[0]))
  for name, values in got.items():
    want = [repeated[name] for repeated in whole]
    np.testing.assert_allclose(values, want, rtol=1e-9, atol=1e-12, err_msg=name)


def test_all_zero_labels_leave_non_zero_scores_undefined():
  report = metrics.compute("sentiment", sentiments()[0], np.zeros(N))
  undefined = {name for name, value in report.values.items() if np.isnan(value)}
  assert undefined == set(report.reasons)
  assert report.reasons == {
    "corr": "the labels are constant",
    "acc2_non0": "every label is 0",
    "f1_non0": "every label is 0",
    "f1_non0_by_prediction": "every label is 0",
  }


@pytest.mark.parametrize(
  "p, y, reason",
  [
    ([0.1, 0.1, 0.1], [1.0, 2.0, 3.0], "the predictions are constant"),
    ([0.1, 0.1], [0.3, 0.3], "the predictions and the labels are constant"),
    ([0.5], [1.0], "there is only one sample"),
    ([], [], "there are no samples"),
  ],
)
def test_a_correlation_says_why_it_is_undefined(p, y, reason):
  report = metrics.compute("sentiment", np.array(p), np.array(y))
  assert np.isnan(report.values["corr"])
  assert report.reasons["corr"] == reason


def test_concordance_of_constants():
  same, other = np.full(5, 0.1), np.full(5, 0.2)
  assert regression.ccc(same, other) == pytest.approx(0.0, abs=1e-12)
  report = metrics.compute("regression", same, same)
  assert report.reasons["ccc"].endswith("one and the same constant")


@pytest.mark.parametrize("scheme", RESAMPLED)
def test_no_samples_and_broken_predictions_are_undefined_everywhere(scheme):
  p, y = RESAMPLED[scheme]
  empty = metrics.compute(scheme, p[:0], y[:0])
  assert np.isnan(list(empty.values.values())).all()
  assert set(empty.reasons.values()) == {"there are no samples"}
  broken = p.copy()
  broken[3] = np.nan
  report = metrics.compute(scheme, broken, y)
  assert list(report.values) == list(empty.values)
  assert np.isnan(list(report.values.values())).all()
  (reason,) = set(report.reasons.values())
  assert "predicted numbers are not finite" in reason
  names = list(empty.values)
  again = metrics.weighted(scheme, broken, y, np.ones((2, N)), names=names)
  assert all(np.isnan(values).all() for values in again.values())


@pytest.mark.parametrize(
  ("labels", "step", "said"),
  [
    ([-2.6, 0, 1.4], 0.2, "evals.metrics=sims or regression"),
    ([0, 1 / 3, 2.6667], 1 / 3, "evals.metrics=sentiment or sims"),
    ([0, 0.137, 0.86], 0, "evals.metrics=sentiment or sims"),
    ([0.0, 2.0, 1.0], 1, "data.task=multiclass"),
  ],
)
def test_the_choice_of_metrics_is_told_with_range_steps_and_others(labels, step, said):
  labels = np.array(labels, np.float32)
  found = scale.Scale.of(labels)
  assert found.step == pytest.approx(step)
  text = scale.note(labels, metrics.resolve("auto", labels))
  assert said in text and f"{labels.max():.4g}" in text
  assert f"{metrics.resolve('auto', labels)!r}" in text


@pytest.mark.parametrize(
  "labels, scheme",
  [
    (np.array([-3.0, 0.2]), "sentiment"),
    (np.array([[-3.0], [0.2]]), "sentiment"),
    (np.array([-1.7, 0.123]), "sentiment"),
    (np.array([-3.0, 3.2]), "regression"),
    (np.array([0.0, 0.86]), "regression"),
    (np.array([0.0, 1 / 3, 3.0]), "regression"),
    (np.array([-0.2, 0.0, 1.0], np.float32), "sims"),
    (np.array([-0.2, 0.0, 0.13]), "regression"),
    (np.array([-1.0, 0.0, 1.0]), "regression"),
    (np.zeros((2, 2)), "regression"),
    (np.array([0, 4]), "multiclass"),
    (np.array([[0, 1], [1, 0]]), "binary"),
  ],
)
def test_auto_reads_the_scheme_off_the_labels(labels, scheme):
  assert metrics.resolve("auto", labels) == scheme


@pytest.mark.parametrize(
  "scheme, p, y, message",
  [
    ("sentimental", logits(3, 1), np.zeros(3), "'sentimental'.*\"sentiment\""),
    ("binary", logits(3, 2), np.zeros(3), r"floats|whole numbers \(N, K\); these are"),
    ("multiclass", logits(3, 2), np.array([0, 1, 2]), r"\[0, 2\]; 2 classes allow"),
    ("multiclass", logits(4, 2), np.array([0, 1, 1]), r"shape \(4, 2\) do not fit"),
    ("sentiment", logits(3, 1), np.array([0, np.nan, 1]), "1 of 3 labels are not"),
  ],
)
def test_what_does_not_fit_is_refused(scheme, p, y, message):
  with pytest.raises(UserError, match=message):
    metrics.compute(scheme, p, y)


def test_class_names_must_be_as_many_as_the_outputs():
  with pytest.raises(UserError, match="3 outputs.* 2 class names: a, b"):
    metrics.compute("multiclass", logits(4, 3), np.zeros(4, int), ("a", "b"))
  assert schemes.names_of(("A", "a"), 2) == ("A", "a")
  assert schemes.names_of((), 2) == ("0", "1")


@pytest.mark.parametrize("scheme", RESAMPLED)
def test_every_metric_knows_its_direction(scheme):
  p, y = RESAMPLED[scheme]
  for name in metrics.compute(scheme, p, y).values:
    lower = bool({*name.split("/")} & {"mae", "rmse", "mae_clipped", "mean_mae"})
    assert metrics.higher_is_better(name) is not lower
    assert metrics.higher_is_better(f"valid/{name}") is not lower
  assert metrics.higher_is_better("valid/loss") is False
  with pytest.raises(UserError, match="'weigthed_f1'.*\"weighted_f1\""):
    metrics.higher_is_better("weigthed_f1")


@pytest.mark.parametrize("scheme", RESAMPLED)
def test_a_report_has_the_metrics_of_its_scheme_and_each_is_found_by_its_name(scheme):
  p, y = RESAMPLED[scheme]
  known = metrics.definitions(scheme)
  reported = [metrics.find(name) for name in metrics.compute(scheme, p, y).values]
  assert {metric.name for metric in reported} == {metric.name for metric in known}
  assert metrics.scheme_of(scheme).headline in {metric.name for metric in known}
  for metric in known:
    assert metric.direction in ("higher", "lower") and metric.definition.endswith(".")
    for other in re.findall("`(.+?)`", metric.definition):
      assert other in {m.name for m in known} - {metric.name}


def test_every_definition_is_listed_once_and_only_here():
  listed = metrics.definitions()
  assert len(listed) == len(set(listed))
  by_scheme = [set(metrics.definitions(name)) for name in metrics.SCHEMES[1:]]
  assert set.union(*by_scheme) == set(listed)


@pytest.mark.parametrize(
  "name, found",
  [
    ("f1/mae", "f1/<class>"),
    ("valid/f1/Joy/x", "f1/<class>"),
    ("mae/acc", "<label>/acc"),
    ("valid/valence/ccc", "<target>/ccc"),
    ("test/mean_mae", "mean_mae"),
  ],
)
def test_names_of_the_data_do_not_mislead_the_search_for_a_metric(name, found):
  assert metrics.find(name).name == found


TARGETS = ("Valence", "Warmth")
LEVELS = (("low", "high"), ("none", "some", "much", "all"))


def levels(count=N):
  """Logits of two labels with 2 and 4 classes, and labels that they have learnt of."""
  random = np.random.default_rng(3)
  y = np.stack([random.integers(len(names), size=count) for names in LEVELS], axis=1)
  return logits(count, 2, 4) + 1.5 * np.eye(4, dtype=np.float32)[y], y


def test_labels_with_classes_of_their_own_agree_with_scikit_learn():
  p, y = levels()
  report = metrics.compute("multitask", p, y, LEVELS, TARGETS)
  for k, (target, names) in enumerate(zip(("valence", "warmth"), LEVELS, strict=True)):
    true, predicted = y[:, k], p[:, k, : len(names)].argmax(1)
    want = {
      "accuracy": sk.accuracy_score(true, predicted),
      "weighted_f1": sk.f1_score(true, predicted, average="weighted"),
      "macro_f1": sk.f1_score(true, predicted, average="macro"),
      "kappa": sk.cohen_kappa_score(true, predicted, weights="quadratic"),
      "mae": np.abs(true - predicted).mean(),
    }
    for name, value in want.items():
      assert report.values[f"{target}/{name}"] == pytest.approx(value)
  assert (p[:, 0].argmax(1) > 1).any()  # classes that the first label does not have
  for name in ("accuracy", "weighted_f1", "macro_f1", "kappa", "mae"):
    parts = [report.values[f"{target}/{name}"] for target in ("valence", "warmth")]
    assert report.values[f"mean_{name}"] == pytest.approx(np.mean(parts))
  assert list(report.values)[0] == "mean_accuracy" and len(report.values) == 15


def test_classes_that_a_label_lacks_may_hold_anything():
  p, y = levels()
  lacking = (
    np.arange(p.shape[-1]) >= np.array([len(names) for names in LEVELS])[:, None]
  )
  assert lacking.any()
  masked = np.where(lacking, -np.inf, p)  # as a trained model gives them
  report, other = (
    metrics.compute("multitask", x, y, LEVELS, TARGETS) for x in (p, masked)
  )
  assert report == other and not other.reasons
  given = {"names": ["mean_mae"], "class_names": LEVELS, "target_names": TARGETS}
  one, two = (
    metrics.weighted("multitask", x, y, np.ones((1, N)), **given) for x in (p, masked)
  )
  assert one == two and np.isfinite(two["mean_mae"])


def test_a_mean_over_targets_names_the_one_without_a_value():
  p, y = levels()
  p[:, 1], y[:, 1] = np.eye(4)[2], 2
  report = metrics.compute("multitask", p, y, LEVELS, TARGETS)
  why = "labels and predictions are one and the same class"
  assert report.reasons == {"warmth/kappa": why, "mean_kappa": f"warmth: {why}"}


@pytest.mark.parametrize("label", [2, -1])
def test_a_label_needs_to_be_of_its_own_classes(label):
  p, y = levels()
  y[5, 0] = label
  with pytest.raises(UserError, match=r"2 classes allow \[0, 1\]"):
    metrics.compute("multitask", p, y, LEVELS, TARGETS)


def test_targets_of_a_regression_may_be_named_as_such():
  p, y = logits(N, 2), logits(N, 2, seed=1)
  named = metrics.compute("regression", p, y, (), ("valence", "arousal"))
  assert named == metrics.compute("regression", p, y, ("valence", "arousal"))
  assert "arousal/ccc" in named.values


def test_the_task_decides_where_labels_cannot():
  pairs = np.array([[0, 1], [1, 0]])
  assert metrics.resolve("auto", pairs, "multitask") == "multitask"
  assert metrics.resolve("auto", pairs, "binary") == "binary"
  assert metrics.resolve("auto", np.array([-2.0, 1]), "regression") == "sentiment"


def test_a_confusion_counts_every_sample_once():
  true = np.array([0, 0, 1, 2])
  matrix = classification.confusion(np.array([0, 1, 1, 0]), true, 3)
  np.testing.assert_array_equal(matrix, [[1, 1, 0], [0, 1, 0], [1, 0, 0]])
