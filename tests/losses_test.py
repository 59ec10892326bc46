"""Losses: formulas, scikit-learn as an oracle, and rows that must not count."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sklearn.metrics
import sklearn.utils.class_weight
from jax.test_util import check_grads

from mcr_jax import losses
from mcr_jax.errors import UserError

B, C, K = 7, 5, 3


def draw(*shape, seed=0):
  return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def classes(*shape, count, seed=1):
  return jnp.asarray(np.random.default_rng(seed).integers(count, size=shape))


@pytest.mark.parametrize(
  "name, formula",
  [
    ("l1", lambda e: abs(e)),
    ("l2", lambda e: e**2),
    ("huber", lambda e: np.where(abs(e) <= 1, e**2 / 2, abs(e) - 0.5)),
  ],
)
@pytest.mark.parametrize("width", [1, K])
def test_a_regression_loss_is_the_mean_of_its_formula(name, formula, width):
  predictions, label = 2 * draw(B, width), draw(B, width, seed=1)
  want = formula(np.asarray(predictions) - np.asarray(label)).mean(axis=1)
  got = losses.per_example(name, predictions, label)
  np.testing.assert_allclose(got, want, rtol=1e-6)
  if width == 1:
    flat = losses.per_example(name, predictions, label[:, 0])
    np.testing.assert_array_equal(flat, got)


def test_cross_entropy_is_the_log_loss_of_scikit_learn():
  logits, label = 3 * draw(B, C), classes(B, count=C)
  shares = np.asarray(jax.nn.softmax(logits), np.float64)
  want = sklearn.metrics.log_loss(
    label, shares / shares.sum(1, keepdims=True), labels=range(C)
  )
  got = losses.per_example("cross_entropy", logits, label)
  assert got.shape == (B,)
  np.testing.assert_allclose(got.mean(), want, rtol=1e-5)


def test_two_way_labels_are_averaged_within_an_example():
  logits, label = draw(B, K, 2), classes(B, K, count=2)
  each = [
    losses.per_example("cross_entropy", logits[:, k], label[:, k]) for k in range(K)
  ]
  got = losses.per_example("cross_entropy", logits, label)
  np.testing.assert_allclose(got, np.mean(each, axis=0), rtol=1e-6)


def test_class_weights_multiply_the_loss_of_their_class():
  logits, label = draw(B, C), classes(B, count=C)
  weights = np.arange(1.0, C + 1, dtype=np.float32)
  plain = losses.per_example("cross_entropy", logits, label)
  weighted = losses.per_example("cross_entropy", logits, label, weights)
  np.testing.assert_allclose(weighted, plain * weights[np.asarray(label)], rtol=1e-6)

  logits, label = draw(B, K, 2), classes(B, K, count=2)
  weights = np.arange(1.0, 2 * K + 1, dtype=np.float32).reshape(K, 2)
  plain = losses.cross_entropy(logits, label)
  picked = np.take_along_axis(weights, np.asarray(label).T, axis=1).T
  weighted = losses.per_example("cross_entropy", logits, label, weights)
  np.testing.assert_allclose(weighted, (plain * picked).mean(axis=1), rtol=1e-6)


def test_a_label_out_of_range_is_nan_and_not_another_class():
  label = jnp.array([0, -1, C])
  got = losses.per_example("cross_entropy", draw(3, C), label)
  np.testing.assert_array_equal(np.isnan(got), [False, True, True])


@pytest.mark.parametrize(
  "name, shape, label",
  [
    ("l1", (B, 1), draw(B, seed=2)),
    ("l2", (B, K), draw(B, K, seed=2)),
    ("huber", (B, 1), draw(B, seed=2)),
    ("cross_entropy", (B, C), classes(B, count=C)),
    ("cross_entropy", (B, K, 2), classes(B, K, count=2)),
    ("focal", (B, C), classes(B, count=C)),
  ],
)
def test_rows_of_weight_zero_matter_neither_to_value_nor_to_gradient(
  name, shape, label
):
  weight = jnp.array([1.0, 1, 0, 1, 1, 0, 1])
  clean = draw(*shape)
  dirty = clean.at[jnp.array([2, 5])].set(jnp.nan)

  def loss(predictions, label):
    values = losses.per_example(name, predictions, label, None, weight)
    return (values * weight).sum() / weight.sum()

  bad = label.at[2].set(jnp.nan if label.dtype.kind == "f" else 10**6)
  value, slope = jax.value_and_grad(loss)(clean, label)
  value_bad, slope_bad = jax.value_and_grad(loss)(dirty, bad)
  assert np.isfinite(value)
  np.testing.assert_array_equal(value, value_bad)
  np.testing.assert_array_equal(slope, slope_bad)
  keep = np.asarray(weight, bool)
  np.testing.assert_allclose(
    value, losses.per_example(name, clean[keep], label[keep]).mean(), rtol=1e-6
  )


def test_half_precision_is_computed_in_float32_and_double_stays_double():
  label = classes(B, count=C)
  half = losses.per_example("cross_entropy", draw(B, C).astype(jnp.bfloat16), label)
  assert half.dtype == jnp.float32
  with jax.enable_x64(True):
    wide = jnp.asarray(np.random.default_rng(0).normal(size=(B, 1)))
    assert losses.per_example("l1", wide, wide).dtype == jnp.float64


def test_gradients_agree_with_finite_differences():
  with jax.enable_x64(True):
    logits = jnp.asarray(np.random.default_rng(0).normal(size=(B, C)))
    targets = jnp.asarray(np.random.default_rng(1).normal(size=(B, C)))
    label = classes(B, count=C)
    for name, truth in [
      ("cross_entropy", label),
      ("l1", targets),
      ("l2", targets),
      ("huber", targets),
      ("focal", label),
    ]:
      loss = lambda x, name=name, truth=truth: losses.per_example(
        name, jnp.asarray(x), truth
      )
      check_grads(loss, (logits,), order=1, modes=["rev"], rtol=1e-6, atol=1e-6)


def test_balanced_weights_are_those_of_scikit_learn():
  labels = np.random.default_rng(0).choice(C, size=53, p=[0.5, 0.2, 0.1, 0.1, 0.1])
  want = sklearn.utils.class_weight.compute_class_weight(
    "balanced", classes=np.arange(C), y=labels
  )
  got = losses.balanced_class_weights(labels, "multiclass", C)
  np.testing.assert_allclose(got, want, rtol=1e-6)
  assert got[labels].mean() == pytest.approx(1.0)

  pairs = np.stack([labels == 0, labels == 1], axis=1).astype(int)
  got = losses.balanced_class_weights(pairs, "binary", 2)
  for k in range(2):
    want = sklearn.utils.class_weight.compute_class_weight(
      "balanced", classes=np.arange(2), y=pairs[:, k]
    )
    np.testing.assert_allclose(got[k], want, rtol=1e-6)


def test_a_class_without_examples_gets_weight_one():
  labels = np.array([0, 0, 0, 2])
  got = losses.balanced_class_weights(labels, "multiclass", 3)
  np.testing.assert_allclose(got, [4 / (2 * 3), 1.0, 4 / 2], rtol=1e-6)


@pytest.mark.parametrize(
  "labels, task, count, message",
  [
    (np.zeros(3), "regression", 1, "need class labels"),
    (np.array([0, 7]), "multiclass", 3, r"Labels lie in \[0, 7\]; 3 classes allow"),
    (np.zeros((0,), int), "multiclass", 3, "there are none"),
    (np.zeros((2, 4), int), "binary", 3, r"shape \(2, 4\) do not fit 3 classes"),
  ],
)
def test_class_weights_refuse_labels_that_do_not_fit(labels, task, count, message):
  with pytest.raises(UserError, match=message):
    losses.balanced_class_weights(labels, task, count)


def test_auto_takes_the_loss_of_the_task():
  assert losses.resolve("auto", "regression") == "l1"
  assert losses.resolve("auto", "multiclass") == "cross_entropy"
  assert losses.resolve("auto", "binary") == "cross_entropy"
  assert losses.resolve("auto", "multitask") == "cross_entropy"
  assert losses.resolve("huber", "regression") == "huber"
  assert losses.resolve("focal", "multitask") == "focal"


@pytest.mark.parametrize(
  "name, task, named",
  [
    ("l1", "multiclass", "cross_entropy or focal"),
    ("cross_entropy", "regression", "l1 or l2 or huber"),
    ("hubber", "regression", '"huber"'),
  ],
)
def test_a_loss_that_does_not_fit_is_refused(name, task, named):
  with pytest.raises(UserError, match=f"loss.name='{name}'.*{named}"):
    losses.resolve(name, task)


@pytest.mark.parametrize("delta", [0.25, 1.0, 3.0])
def test_huber_is_a_parabola_up_to_delta_and_its_tangent_beyond(delta):
  error = jnp.linspace(-5, 5, 41)[:, None]
  got = losses.per_example(
    "huber", error, jnp.zeros(41), parameters={"huber_delta": delta}
  )
  e = np.abs(np.asarray(error[:, 0]))
  want = np.where(e <= delta, e**2 / 2, delta * (e - delta / 2))
  np.testing.assert_allclose(got, want, rtol=1e-6)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0, 5.0])
def test_focal_is_the_cross_entropy_times_a_power_of_what_is_missing(gamma):
  logits, label = 3 * draw(B, C), classes(B, count=C)
  weights = np.arange(1.0, C + 1, dtype=np.float32)
  odds = np.exp(np.asarray(logits, float))
  p = (odds / odds.sum(1, keepdims=True))[np.arange(B), np.asarray(label)]
  want = -weights[np.asarray(label)] * (1 - p) ** gamma * np.log(p)
  got = losses.per_example(
    "focal", logits, label, weights, parameters={"focal_gamma": gamma}
  )
  np.testing.assert_allclose(got, want, rtol=1e-5)


def test_focal_has_a_gradient_where_the_answer_is_certain():
  certain = jnp.array([[200.0, 0.0]])
  loss = lambda x: losses.focal(x, jnp.array([0]), gamma=0.5).sum()
  value, slope = jax.value_and_grad(loss)(certain)
  assert value == 0
  np.testing.assert_array_equal(slope, [[0.0, 0.0]])


def test_each_loss_takes_its_own_parameters_and_they_may_be_traced():
  both = lambda x: {"huber_delta": x, "focal_gamma": x}
  predictions, label = draw(B, 1), draw(B, seed=1)
  one = lambda name, x: losses.per_example(name, predictions, label, parameters=both(x))
  np.testing.assert_array_equal(one("l1", 0.1), one("l1", 9.0))
  traced = jax.vmap(lambda x: one("huber", x))(jnp.array([0.1, 9.0]))
  np.testing.assert_allclose(traced[0], one("huber", 0.1), rtol=1e-6)
  assert not np.allclose(traced[0], traced[1])


U = 4


@pytest.mark.parametrize(
  "name, shape, label, class_weights",
  [
    ("l1", (B, U, 1), draw(B, U, seed=2), None),
    ("l2", (B, U, K), draw(B, U, K, seed=2), None),
    ("cross_entropy", (B, U, C), classes(B, U, count=C), np.arange(1.0, C + 1)),
    ("focal", (B, U, K, 2), classes(B, U, K, count=2), np.ones((K, 2))),
  ],
)
def test_a_dialogue_has_the_losses_of_its_utterances(name, shape, label, class_weights):
  predictions = draw(*shape)
  weight = jnp.asarray(np.arange(B * U).reshape(B, U) % 3 != 0, jnp.float32)
  got = losses.per_example(name, predictions, label, class_weights, weight)
  assert got.shape == (B, U)
  flat = lambda x: x.reshape(B * U, *x.shape[2:])
  want = losses.per_example(
    name, flat(predictions), flat(label), class_weights, flat(weight)
  )
  np.testing.assert_allclose(flat(got), want, rtol=1e-6)


SIZES = (2, 5, 3)


@pytest.mark.parametrize("name", ["cross_entropy", "focal"])
def test_logits_beyond_a_labels_own_classes_do_not_count(name):
  logits = draw(B, len(SIZES), max(SIZES))
  label = jnp.stack([classes(B, count=n, seed=n) for n in SIZES], axis=1)
  each = [
    losses.per_example(name, logits[:, k, :n], label[:, k]) for k, n in enumerate(SIZES)
  ]
  loss = lambda x: losses.per_example(name, x, label, classes=SIZES)
  np.testing.assert_allclose(loss(logits), np.mean(each, axis=0), rtol=1e-6)
  slope = jax.grad(lambda x: loss(x).sum())(logits)
  beyond = np.arange(max(SIZES)) >= np.array(SIZES)[:, None]
  assert np.isfinite(slope).all() and not np.asarray(slope)[:, beyond].any()
  # Class 2 exists for the second label, not for the first.
  bad = losses.per_example(name, logits, label.at[0, 0].set(2), classes=SIZES)
  np.testing.assert_array_equal(np.isnan(bad), np.arange(B) == 0)


def test_masked_classes_are_never_chosen_and_share_nothing():
  logits = np.full((1, 2, 3), 7.0, np.float32)
  masked = losses.mask_classes(logits, (1, 3))
  assert isinstance(masked, np.ndarray) and masked.dtype == np.float32
  np.testing.assert_allclose(
    jax.nn.softmax(masked)[0], [[1, 0, 0], [1 / 3, 1 / 3, 1 / 3]], rtol=1e-6
  )
  np.testing.assert_array_equal(
    masked, losses.mask_classes(jnp.asarray(logits), (1, 3))
  )


def test_balanced_weights_of_several_labels_are_those_of_each():
  labels = np.stack([classes(53, count=n, seed=n) for n in SIZES], axis=1)
  got = losses.balanced_class_weights(labels, "multitask", SIZES)
  assert got.shape == (len(SIZES), max(SIZES))
  for k, n in enumerate(SIZES):
    want = sklearn.utils.class_weight.compute_class_weight(
      "balanced", classes=np.arange(n), y=labels[:, k]
    )
    np.testing.assert_allclose(got[k], [*want, *[1.0] * (5 - n)], rtol=1e-6)
