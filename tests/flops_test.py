"""FLOPs against counts by hand, and MIA-Net's against the ones its paper prints."""

import jax
import jax.numpy as jnp
import pytest

from mcr_jax import flops, models
from mcr_jax.contract import Spec

A = jnp.ones((5, 3))
B = jnp.ones((3, 7))
PRODUCT = 2 * 5 * 3 * 7
SQUARE = jnp.ones((3, 3))


def test_a_matrix_product_is_two_operations_a_multiply_add():
  counts = flops.count(jnp.matmul, A, B)
  assert counts.flops == PRODUCT and counts.multiply_adds == 5 * 3 * 7
  batched = flops.count(
    lambda x, y: jnp.einsum("bqd,bkd->bqk", x, y),
    jnp.ones((2, 5, 3)),
    jnp.ones((2, 7, 3)),
  )
  assert batched.flops == 2 * PRODUCT


@pytest.mark.parametrize("groups", [1, 2])
def test_a_convolution_counts_its_kernel_at_every_place(groups):
  x, kernel = jnp.ones((2, 11, 4)), jnp.ones((3, 4 // groups, 6))
  convolve = lambda x, k: jax.lax.conv_general_dilated(
    x,
    k,
    (2,),
    "VALID",
    dimension_numbers=("NHC", "HIO", "NHC"),
    feature_group_count=groups,
  )
  assert flops.count(convolve, x, kernel).flops == 2 * (2 * 5 * 6) * (3 * 4 // groups)


def test_a_scan_counts_every_step_and_a_nested_one_every_inner_step():
  inner = lambda x: jax.lax.scan(lambda c, _: (c @ SQUARE, None), x, None, length=4)[0]
  outer = lambda x: jax.lax.scan(lambda c, _: (inner(c), None), x, None, length=5)[0]
  assert flops.count(inner, SQUARE).flops == 4 * 2 * 27
  assert flops.count(outer, SQUARE).flops == 20 * 2 * 27
  steps = lambda x: jax.lax.fori_loop(0, 6, lambda _, c: c @ SQUARE, x)
  assert flops.count(steps, SQUARE).flops == 6 * 2 * 27


def test_a_loop_of_unknown_length_counts_once_and_is_reported():
  loop = lambda x: jax.lax.while_loop(lambda c: c.sum() < 9, lambda c: c @ SQUARE, x)
  counts = flops.count(loop, SQUARE)
  assert (counts.flops, counts.open_loops) == (2 * 27, 1)
  assert flops.count(jnp.matmul, A, B).open_loops == 0


def test_a_conditional_counts_its_dearest_branch():
  choose = lambda p, x: jax.lax.cond(p, lambda x: x @ x @ x, lambda x: x @ x, x)
  assert flops.count(choose, True, SQUARE).flops == 2 * 2 * 27


def with_own_derivative(fn):
  fn = jax.custom_jvp(fn)
  fn.defjvp(lambda primals, tangents: (fn(*primals), fn(*tangents)))
  return fn


@pytest.mark.parametrize("wrap", [jax.jit, jax.checkpoint, with_own_derivative])
def test_calls_are_looked_into(wrap):
  assert flops.count(wrap(lambda x, y: x @ y), A, B).flops == PRODUCT


def test_custom_gradients_are_looked_into():
  double = jax.custom_vjp(lambda x: x @ x)
  double.defvjp(lambda x: (x @ x, x), lambda x, g: (g @ x @ x,))
  assert flops.count(double, SQUARE).flops == 2 * 27
  assert flops.count(jax.grad(lambda x: double(x).sum()), SQUARE).flops == 2 * 2 * 27


def test_what_no_output_needs_costs_nothing():
  def step(c, x):
    return (c[0] + 1, c[1] @ SQUARE), (x, x @ SQUARE)

  def run(x):
    unused = jax.jit(lambda x: (x, x @ x))(x)[1]
    (steps, _), (same, _) = jax.lax.scan(step, (0, x), jnp.stack([x, x]))
    del unused
    return steps, same

  assert flops.count(run, SQUARE).flops == 0


def test_a_carry_that_feeds_the_used_one_is_needed():
  step = lambda c, _: ((c[0] + c[1], c[1] @ SQUARE), None)
  run = lambda x: jax.lax.scan(step, (x, x), None, length=3)[0][0]
  assert flops.count(run, SQUARE).flops == 3 * 2 * 27


def test_a_gradient_costs_a_product_for_each_factor_that_wants_one():
  loss = lambda x, y: jnp.sum(x @ y)
  # The value of a linear loss is asked for, and one product for each gradient.
  both = jax.value_and_grad(loss, argnums=(0, 1))
  assert flops.count(both, A, B).flops == 3 * PRODUCT
  assert flops.count(jax.value_and_grad(loss), A, B).flops == 2 * PRODUCT


def test_what_is_computed_again_is_told_apart():
  layer = lambda x: jnp.tanh(jnp.tanh(x @ SQUARE) @ SQUARE).sum()
  plain = flops.count(jax.value_and_grad(layer), SQUARE)
  again = flops.count(jax.value_and_grad(jax.checkpoint(layer)), SQUARE)
  assert plain.recomputed == 0 and again.recomputed > 0
  assert again.flops - again.recomputed == plain.flops


def test_devices_of_a_mesh_are_added_up():
  mesh = jax.make_mesh((2,), ("data",), (jax.sharding.AxisType.Auto,))
  spec = jax.sharding.PartitionSpec("data")
  each = jax.shard_map(lambda x: x @ SQUARE, mesh=mesh, in_specs=spec, out_specs=spec)
  assert flops.count(each, jnp.ones((4, 3))).flops == 2 * 4 * 9


def build(widths, **fields):
  widths = {f"m{i}": width for i, width in enumerate(widths)}
  spec = Spec(dict.fromkeys(widths, 1), widths)
  model, batch = models.build("mia_net", spec, **fields), spec.example(1)
  return model, jax.eval_shape(model.init, jax.random.key(0), batch), batch


def test_mia_net_costs_what_its_paper_prints_for_three_modalities():
  counts = flops.count_model(*build((1024, 768, 256)))
  assert round(counts.multiply_adds / 1e6, 2) == 42.10
  ffn = counts.by_module()["ffn"]
  assert ffn == 2 * 2 * 4 * 1024 * 4096
  assert sum(counts.by_module().values()) == counts.flops
  assert "ffn" in counts.table() and "(outside)" not in counts.by_module()


def test_mia_net_grows_linearly_and_its_parameters_hardly():
  several = [build((1024, *[256] * n)) for n in (2, 3, 4, 5)]
  costs = [flops.count_model(*one).flops for one in several]
  steps = {after - before for before, after in zip(costs, costs[1:], strict=False)}
  assert len(steps) == 1
  three, four = (flops.parameters(one[1]["params"]) for one in several[:2])
  assert 0 < four / three - 1 < 1e-3


@pytest.mark.parametrize("implementation", ["stored", "blocked"])
def test_training_costs_up_to_three_times_a_prediction_in_every_module(implementation):
  one = build((64, 48, 32), implementation=implementation)
  forward, training = flops.count_model(*one), flops.count_training(*one)
  own = training.flops - training.recomputed
  assert 2 * forward.flops < own <= 3 * forward.flops
  assert (training.recomputed > 0) == (implementation == "blocked")
  # Outside is the gradient of the penalty.
  assert set(training.by_module()) - set(forward.by_module()) == {"(outside)"}


def test_scopes_are_the_modules_whatever_was_done_to_them():
  model, variables, batch = build((64, 48, 32))
  names = {scope.split("/")[0] for scope in variables["params"]}
  assert set(flops.count_model(model, variables, batch).by_module()) == names
  several = flops.count(
    jax.vmap(lambda v, b: model.apply(v, b).predictions, in_axes=(None, 0)),
    variables,
    jax.tree.map(lambda s: jax.ShapeDtypeStruct((2, *s.shape), s.dtype), batch),
  )
  assert "Model/module_0/gate" in several.by_module(depth=3)


def test_parameters_are_counted_in_all_and_by_module():
  tree = {"a": {"kernel": jnp.ones((3, 4)), "bias": jnp.ones(4)}, "b": jnp.ones(2)}
  assert flops.parameters(tree) == 18
  assert flops.parameters(tree, depth=1) == {"a": 16, "b": 2}
