"""MIA-Net against the equations of its paper, and what must hold for any data."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mcr_jax import models
from mcr_jax.contract import Batch, Spec
from mcr_jax.errors import UserError
from mcr_jax.models import mia_net
from mcr_jax.training.keys import fast_key
from tests.models.cases import Case
from tests.reference import mia_net as oracle
from tests.reference import trees

WIDTHS = {"text": 7, "audio": 5, "vision": 3, "gaze": 2}
THREE = ("text", "audio", "vision")
VARIANTS = {
  "paper": {},
  "two": {"modalities": THREE[:2]},
  "four": {"modalities": (*THREE, "gaze")},
  "alone": {"modalities": ("vision",)},
  "other_main": {"main": "vision", "auxiliaries": ("audio", "text")},
  "fewer_auxiliaries": {"auxiliaries": ("vision",)},
  "channels": {"channels": 2},
  "wide_convolutions": {"kernel_size": 3},
  "even_convolutions": {"kernel_size": 2},
  "psd": {"kernel": "psd"},
  "blocked": {"implementation": "blocked"},
  "emotions": {"outputs": (4, 2)},
}


def count(model):
  params, _ = trees.mia_net(
    **main_and_auxiliaries(model),
    features=model.spec.widths,
    channels=model.channels,
    outputs=model.outputs,
  )
  return trees.count(params)


CASES = {"mia_net": Case(count, {"channels": 3})}


def build(modalities=THREE, outputs=(1,), **fields):
  widths = {**WIDTHS, "copy": WIDTHS["audio"]}
  spec = Spec(dict.fromkeys(modalities, 1), widths, outputs)
  return models.build("mia_net", spec, **{"channels": 3, **fields})


def apply(model, variables, batch, **options):
  return model.apply(variables, Batch.of(batch), mutable=["batch_stats"], **options)


def make_batch(model, size=6, seed=0, steps=1):
  """The first sample is without the second modality, the last counts for nothing."""
  random, batch = np.random.default_rng(seed), {}
  for name in model.modalities:
    batch[name] = random.normal(size=(size, steps, WIDTHS[name]))
    batch[f"{name}_mask"] = random.random((size, steps)) < 0.8
    batch[f"{name}_mask"][:, 0] = True
  if len(model.modalities) > 1:
    batch[f"{model.modalities[1]}_mask"][0] = False
  batch["label"] = random.normal(size=size)
  batch["weight"] = np.ones(size)
  batch["weight"][-1] = 0.0
  return jax.tree.map(jnp.asarray, batch)


def predicted(model, variables, batch, train=True, **options):
  """(predictions, running statistics)."""
  output, new = apply(model, variables, batch, train=train, **options)
  return output.predictions, new


def draw(model, batch, seed=1):
  """Parameters and running statistics that are nowhere special."""
  random = np.random.default_rng(seed)

  def value(path, leaf):
    values = 0.5 * random.normal(size=leaf.shape)
    positive = jax.tree_util.keystr(path).endswith("['var']")
    return jnp.asarray(np.exp(values) if positive else values, jnp.result_type(float))

  shapes = jax.eval_shape(model.init, jax.random.key(0), Batch.of(batch))
  return jax.tree_util.tree_map_with_path(value, shapes)


def main_and_auxiliaries(model):
  main = model.main or model.modalities[0]
  others = tuple(m for m in model.modalities if m != main)
  return dict(main=main, auxiliaries=model.auxiliaries or others)


def reference(model, variables, batch, train=False):
  return oracle.mia_net(
    jax.tree.map(np.asarray, variables["params"]),
    jax.tree.map(np.asarray, variables.get("batch_stats", {})),
    jax.tree.map(np.asarray, batch),
    **main_and_auxiliaries(model),
    kernel=model.kernel,
    train=train,
    outputs=model.outputs,
  )


@pytest.mark.parametrize(
  "variant, train",
  [
    *((variant, True) for variant in VARIANTS),
    *((variant, False) for variant in ("paper", "alone", "psd")),
  ],
)
def test_every_variant_equals_the_equations(variant, train):
  with jax.enable_x64(True):
    model = build(**VARIANTS[variant])
    batch = make_batch(model, steps=2)
    variables = draw(model, batch)
    expected, drawn, statistics = reference(model, variables, batch, train)
    output, new = jax.jit(lambda v, b: apply(model, v, b, train=train))(
      variables, batch
    )
    out = output.intermediates
    close = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-10)
    close(output.predictions, expected)
    close(out["features"].reshape(drawn["features"].shape), drawn["features"])
    jax.tree.map(close, new.get("batch_stats", {}), statistics)
    auxiliaries = main_and_auxiliaries(model)["auxiliaries"]
    for n, name in enumerate(auxiliaries):
      here = np.asarray(batch[f"{name}_mask"]).any(-1)
      close(out[f"P_{n}"][here], drawn[f"P_{n}"][here])
      close(out[f"gate_{n}"][here], drawn[f"gate_{n}"][here])
    matrices = [out[f"W_{n}"] for n in range(len(auxiliaries))]
    penalty = oracle.kernel_regularization(matrices)
    if train and model.kernel == "regularized" and auxiliaries:
      close(output.losses["regularization"], penalty)
    else:
      assert not output.losses
    if model.kernel == "psd" or not auxiliaries:
      close(penalty, 0.0)


@pytest.mark.parametrize("variant", ["paper", "alone", "psd", "four"])
def test_the_parameters_are_those_of_the_specification(variant):
  model = build(**VARIANTS[variant])
  shapes = jax.eval_shape(model.init, jax.random.key(0), Batch.of(make_batch(model)))
  params, statistics = trees.mia_net(
    **main_and_auxiliaries(model),
    features=WIDTHS,
    channels=model.channels,
    kernel=model.kernel,
  )
  shape = lambda tree: jax.tree.map(lambda leaf: leaf.shape, tree)
  assert shape(shapes["params"]) == params
  assert shape(shapes.get("batch_stats", {})) == statistics


@pytest.mark.parametrize("kernel", ["regularized", "psd"])
def test_gradients_are_the_slopes_of_the_written_down_joint_loss(kernel):
  with jax.enable_x64(True):
    model = build(kernel=kernel)
    batch = make_batch(model)
    variables = draw(model, batch)
    statistics = variables["batch_stats"]
    gamma = 0.3 if kernel == "regularized" else 0.0

    def written(params):
      tree = {"params": params, "batch_stats": statistics}
      predictions, _, _ = reference(model, tree, batch, train=True)
      task = oracle.mean_absolute_error(
        predictions, np.asarray(batch["label"]), np.asarray(batch["weight"])
      )
      free = [params[f"module_{n}"]["kernel"].get("W", np.eye(2)) for n in range(2)]
      return oracle.joint_loss(task, oracle.kernel_regularization(free), gamma)

    gradient = jax.jit(jax.grad(joint_loss, argnums=1), static_argnums=0)(
      model, variables["params"], statistics, batch, gamma
    )
    random = np.random.default_rng(3)
    for _ in range(2):
      way = jax.tree.map(lambda x: random.normal(size=x.shape), variables["params"])
      along = sum(
        jax.tree.leaves(jax.tree.map(lambda a, b: (a * b).sum(), gradient, way))
      )
      step = lambda h, way=way: jax.tree.map(
        lambda x, d: np.asarray(x) + h * d, variables["params"], way
      )
      measured = (written(step(1e-6)) - written(step(-1e-6))) / 2e-6
      np.testing.assert_allclose(along, measured, rtol=1e-6, atol=1e-8)


def joint_loss(model, params, statistics, batch, gamma):
  variables = {"params": params, "batch_stats": statistics}
  output, _ = apply(model, variables, batch, train=True)
  errors = jnp.abs(output.predictions[:, 0] - batch["label"]) * batch["weight"]
  task = errors.sum() / batch["weight"].sum()
  return (1 - gamma) * task + gamma * output.losses.get("regularization", 0.0)


@functools.lru_cache
def train_from_indefinite(kernel="regularized"):
  """Worst smallest eigenvalue and asymmetry: before, after gamma 0.3, after 0."""
  model = build(modalities=THREE[:2], kernel=kernel, channels=4)
  batch = make_batch(model, size=16)
  variables = draw(model, batch)
  params, statistics = variables["params"], variables["batch_stats"]
  start = np.random.default_rng(5).normal(size=(4, 4))
  name = "W" if kernel == "regularized" else "L"
  params["module_0"]["kernel"] = {name: jnp.asarray(start, jnp.float32)}
  optimizer = optax.adam(1e-2)

  @jax.jit
  def train(gamma):
    def step(carry, _):
      params, state = carry
      gradient = jax.grad(joint_loss, argnums=1)(
        model, params, statistics, batch, gamma
      )
      updates, state = optimizer.update(gradient, state)
      return (optax.apply_updates(params, updates), state), None

    return jax.lax.scan(step, (params, optimizer.init(params)), None, length=500)[0][0]

  return [describe(p, kernel) for p in (params, train(0.3), train(0.0))]


def describe(params, kernel):
  held = params["module_0"]["kernel"]
  w = np.asarray(held["W"] if kernel == "regularized" else held["L"] @ held["L"].T)
  return np.linalg.eigvalsh((w + w.T) / 2).min(), abs(w - w.T).sum()


def test_the_joint_loss_makes_an_indefinite_kernel_nearly_semi_definite():
  before, joint, without = train_from_indefinite()
  assert before[0] < -0.5 and before[1] > 1.0
  assert joint[0] > -0.02 and joint[1] < 0.1
  assert without[0] < -0.5 and without[1] > 1.0


def test_a_kernel_held_by_its_factor_is_semi_definite_whatever_training_does():
  for smallest, asymmetry in train_from_indefinite(kernel="psd"):
    assert smallest > -1e-5 and asymmetry < 1e-5


def test_a_kernel_starts_near_the_identity():
  model = build()
  params = jax.jit(model.init)(
    fast_key(jax.random.key(0)), Batch.of(make_batch(model))
  )["params"]
  w = np.asarray(params["module_0"]["kernel"]["W"])
  assert 0 < abs(w - np.eye(3)).max() < 0.1
  assert (w != np.asarray(params["module_1"]["kernel"]["W"])).any()


def test_what_lifts_a_vector_starts_by_keeping_all_of_it():
  model = build(channels=4, outputs=(2,))
  batch = make_batch(model)
  variables = jax.jit(model.init)(fast_key(jax.random.key(0)), Batch.of(batch))
  kernel = np.asarray(variables["params"]["lift_text"]["conv"]["kernel"])
  np.testing.assert_array_equal(kernel[..., 0::2], -kernel[..., 1::2])
  assert (abs(kernel) > 0).all() and (kernel[..., 0] != kernel[..., 2]).any()
  output = jax.jit(model.apply)(variables, Batch.of(batch))
  assert not output.predictions.any()
  assert np.std(output.intermediates["features"]) > 0.5


def test_biases_of_columns_let_one_tell_features_of_an_auxiliary_apart():
  def moved(**fields):
    """How far the features move when those of the auxiliary change places."""
    model = build(modalities=("text", "audio"), **fields)
    batch = make_batch(model)
    variables = jax.jit(model.init)(fast_key(jax.random.key(0)), Batch.of(batch))
    output = jax.jit(lambda b: model.apply(variables, Batch.of(b)))
    features = lambda b: output(b).intermediates["features"]
    # Turned around the middle, so that neighbours stay neighbours.
    turned = {**batch, "audio": batch["audio"][..., ::-1]}
    symmetric = lambda k: 0.5 * (k + k[::-1])
    conv = variables["params"]["lift_audio"]["conv"]
    conv["kernel"] = symmetric(conv["kernel"])
    return float(abs(features(turned) - features(batch)).max())

  assert moved() < 1e-5
  assert moved(column_scale=0.3, column_bias=2.0) > 1e-2


def test_a_missing_auxiliary_leaves_the_main_features_as_they_are():
  model = build(modalities=("text", "audio"))
  batch = make_batch(model)
  variables = draw(model, batch)
  batch["audio_mask"] = jnp.zeros_like(batch["audio_mask"])
  run = jax.jit(lambda v, b: predicted(model, v, b))
  clean, statistics = run(variables, batch)
  dirty, _ = run(variables, {**batch, "audio": batch["audio"] * jnp.nan})
  np.testing.assert_array_equal(clean, dirty)
  jax.tree.map(
    np.testing.assert_array_equal, statistics["batch_stats"], variables["batch_stats"]
  )
  other = jax.tree.map(lambda x: x, variables)
  other["params"]["module_0"] = jax.tree.map(
    lambda x: x + 1.0, variables["params"]["module_0"]
  )
  np.testing.assert_array_equal(clean, run(other, batch)[0])


def test_rows_that_do_not_count_reach_no_other_row():
  model = build()
  batch = make_batch(model)
  variables = draw(model, batch)
  run = jax.jit(lambda b: predicted(model, variables, b))
  noisy = {m: batch[m].at[-1].set(jnp.nan) for m in model.modalities}
  clean, statistics = run(batch)
  dirty, same = run({**batch, **noisy})
  np.testing.assert_array_equal(clean[:-1], dirty[:-1])
  jax.tree.map(np.testing.assert_array_equal, statistics, same)


def test_the_order_of_the_auxiliaries_matters_and_follows_its_field():
  batch = make_batch(build())
  model = build(auxiliaries=("vision", "audio"))
  shapes = jax.eval_shape(model.init, jax.random.key(0), Batch.of(batch))["params"]
  out = jax.eval_shape(model.apply, draw(model, batch), Batch.of(batch))
  assert out.intermediates["P_0"].shape == (6, WIDTHS["vision"], WIDTHS["text"])
  assert shapes["output"]["kernel"].shape == (3 * WIDTHS["text"], 1)


def test_statistics_over_several_devices_are_those_of_the_whole_batch():
  devices = jax.device_count()
  if devices < 2:
    pytest.skip("one device")
  model = build()
  batch = make_batch(model, size=2 * devices)
  variables = draw(model, batch)
  run = jax.jit(lambda v, b: predicted(model, v, b)[1])
  mesh = jax.make_mesh((devices,), ("data",), (jax.sharding.AxisType.Auto,))
  spread = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6),
    run(variables, batch),
    run(variables, jax.device_put(batch, spread)),
  )


def test_a_modality_made_from_another_is_one_more_that_the_file_could_have_held():
  given = build(modalities=(*THREE, "copy"))
  made = build(made=("audio",))
  batch = make_batch(made)
  variables = draw(made, batch)
  layer = variables["params"]["make_audio"]
  assert layer["kernel"].shape == (WIDTHS["audio"], WIDTHS["audio"])
  vector = (batch["audio"] * batch["audio_mask"][..., None]).sum(1)
  vector = vector / jnp.maximum(batch["audio_mask"].sum(1, keepdims=True), 1)
  copy = {"copy": (vector @ layer["kernel"] + layer["bias"][None])[:, None]}
  copy["copy_mask"] = batch["audio_mask"].any(1, keepdims=True)
  params = dict(variables["params"])
  params["lift_copy"] = params.pop("lift_made_audio")
  del params["make_audio"]
  theirs, _ = apply(given, {**variables, "params": params}, batch | copy, train=True)
  ours, _ = apply(made, variables, batch, train=True)
  np.testing.assert_allclose(ours.predictions, theirs.predictions, rtol=1e-6)
  jax.tree.map(np.testing.assert_allclose, ours.losses, theirs.losses)


@pytest.mark.parametrize(
  "fields, message",
  [
    ({"main": "touch"}, "model.main='touch'"),
    ({"auxiliaries": ("text",)}, "model.auxiliaries.*'text'"),
    ({"auxiliaries": ("audio", "audio")}, "model.auxiliaries"),
    ({"made": ("touch",)}, "model.made='touch'"),
    ({"kernel": "rbf"}, "model.kernel='rbf'"),
    ({"channels": -1}, "model.channels=-1"),
    ({"column_bias": -1.0}, "model.column_bias=-1.0"),
  ],
)
def test_a_mistake_names_its_field_and_value(fields, message):
  with pytest.raises(UserError, match=message):
    model = build(**fields)
    jax.eval_shape(model.init, jax.random.key(0), model.spec.example())


def test_narrow_vectors_get_more_channels_where_nobody_says():
  assert mia_net.by_width([100, 73]) == 8
  assert mia_net.by_width([100, 768]) == 4
  model = build(channels=0)
  made = jax.eval_shape(model.init, jax.random.key(0), model.spec.example())
  (kernel,) = {
    x["conv"]["kernel"].shape for k, x in made["params"].items() if "lift" in k
  }
  assert 8 in kernel
