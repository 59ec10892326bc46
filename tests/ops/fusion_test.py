"""What fusion methods share: who leads, convolution, outer products and factors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mcr_jax.ops import fusion


def test_the_first_modality_leads_and_the_others_follow_in_order():
  three = ("text", "audio", "vision")
  assert fusion.main_and_auxiliaries(three) == ("text", ("audio", "vision"))
  assert fusion.main_and_auxiliaries(three, "audio") == ("audio", ("text", "vision"))
  chosen = fusion.main_and_auxiliaries(three, "text", ("vision",))
  assert chosen == ("text", ("vision",))
  assert fusion.main_and_auxiliaries(("text",)) == ("text", ())


def test_a_missing_modality_pools_to_zeros_and_says_so():
  x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 3, 5)), jnp.float32)
  mask = jnp.asarray([[True, False, True], [False] * 3])
  vector, present = fusion.pooled(x, mask)
  np.testing.assert_allclose(vector[0], (x[0, 0] + x[0, 2]) / 2, rtol=1e-6)
  np.testing.assert_array_equal(vector[1], 0.0)
  assert present.tolist() == [True, False]


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_convolution_along_features_is_the_one_of_lax(size):
  with jax.enable_x64(True):
    random = np.random.default_rng(1)
    x, kernel = random.normal(size=(2, 3, 7)), random.normal(size=(size, 3, 4))
    bias = random.normal(size=4)
    found = fusion.convolve(*map(jnp.asarray, (x, kernel, bias)))
    expected = jax.lax.conv_general_dilated(
      jnp.asarray(x),
      jnp.asarray(kernel),
      (1,),
      "SAME",
      dimension_numbers=("NCH", "HIO", "NCH"),
    )
    np.testing.assert_allclose(found, expected + bias[None, :, None], rtol=1e-10)


def test_outer_products_hold_every_product_of_one_feature_each():
  a, b, c = (jnp.arange(1.0, n + 1)[None] for n in (2, 3, 5))
  product = fusion.outer([a, b, c])[0].reshape(2, 3, 5)
  np.testing.assert_array_equal(product, np.einsum("i,j,k->ijk", a[0], b[0], c[0]))
  extended = fusion.with_one(a)
  np.testing.assert_array_equal(extended, [[1.0, 2.0, 1.0]])


def test_factors_contract_with_vectors_as_their_tensor_does_with_the_outer_product():
  with jax.enable_x64(True):
    random = np.random.default_rng(2)
    vectors = [random.normal(size=(2, n)) for n in (3, 5, 7)]
    factors = [random.normal(size=(4, n, 6)) for n in (3, 5, 7)]
    tensor = np.einsum("rih,rjh,rkh->rijkh", *factors).reshape(4, -1, 6)
    outer = fusion.outer([jnp.asarray(v) for v in vectors])
    found = fusion.low_rank(
      [jnp.asarray(v) for v in vectors], [jnp.asarray(f) for f in factors]
    )
    expected = np.einsum("bi,rih->rbh", outer, tensor)
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)


def test_views_scale_and_shift_a_vector_at_every_position():
  random = np.random.default_rng(3)
  x, scale, bias = (jnp.asarray(random.normal(size=(2, 3)), jnp.float32) for _ in "xsb")
  found = fusion.views(x, scale, bias)
  np.testing.assert_allclose(found[1, 0], x[1] * scale[0] + bias[0], rtol=1e-5)
