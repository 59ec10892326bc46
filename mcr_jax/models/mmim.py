"""MMIM: what a modality knows of another, and the fusion of each, is to be much.

Han, Chen, Poria: Improving Multimodal Fusion with Hierarchical Mutual Information
Maximization for Multimodal Sentiment Analysis, EMNLP 2021. With the vector of the main
modality and vectors x_m of `width` features of the others, z = tanh(W_2 tanh(W_1 [x]))
and y = W_3 z. For every pair (x, s) of the main modality and another, or of all:

  fit, bound   sum over features of (s - mu(x))^2 / (2 exp lv(x)), of a Barber-Agakov
               bound on I(x; s); mu and lv have a hidden ReLU layer each
  entropy      -sum over pairs of H(s), H = (log|S+| + log|S-|) / 4, of the covariances
               of tanh(W_e s) over positive and negative samples of two batches
  nce          the sum over m of the contrast of x_m with W_m z, ops/statistics.py

`fit` moves the networks of the bound alone, `bound` all else: the authors alternate
between the two, here they are one step with the same two gradients. W_e is drawn once
and never moves. What it made of the last batch is kept as moments, from which the
covariances over both batches follow without their rows.

With `encoder="lstm"` the modalities beside the main one have the paper's LSTM, of
`encoder_width`.

Deviation from the paper, as in the authors' code: q is a Gaussian density there, with
lv / 2 beside each square. Without it variances grow until `bound` fades, so that it
guides the first epochs alone. With it, `ba_normalised`, representations collapse: made
smaller by a factor k, s of 16 features lowers `bound` by 16 log k, of which `entropy`,
on 4 features, takes back 4 log k at most. On the synthetic data it then errs by 1.34,
and by 0.58 without.

Deviations:
- Both losses share one norm of gradients, where those are clipped; the authors clip in
  either stage by all gradients of it, also of what that stage does not move.
- The covariances have 1e-4 on their diagonals, and a class with fewer than 8 samples is
  left out; tanh has no bias. Of classes other than signs every one has its covariance,
  weighed by its share of the samples; several labels are averaged.
- The last batch is not forgotten between epochs. The entropy counts from the second.
- A missing modality's terms drop out, and it is no negative of others.
- Matrices of LSTMs start as layers/recurrent.py has them, all others Xavier-normal, and
  the output layer at zero (layers/output.py).
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mcr_jax.contract import Batch, Card, Spec
from mcr_jax.field import field
from mcr_jax.layers.dropout import Dropout
from mcr_jax.layers.main_encoder import MainEncoder
from mcr_jax.layers.output import output_layer
from mcr_jax.layers.utterance import Fused, Present, Vectors
from mcr_jax.ops.covariance import Moments, log_determinant
from mcr_jax.ops.fusion import main_and_auxiliaries
from mcr_jax.ops.statistics import contrast

FEWEST = 8
RIDGE = 1e-4
XAVIER = nn.initializers.glorot_normal()


class GaussianBound(nn.Module):
  """-log N(s; mu(x), exp lv(x)), but for a constant, once for each side to learn.

  Without its lv / 2 where not `normalised`.
  """

  normalised: bool

  @nn.compact
  def __call__(
    self, x: Float[Array, "B D"], s: Float[Array, "B E"]
  ) -> tuple[Float[Array, "B"], Float[Array, "B"]]:
    """(fit, bound): the same number, with the gradient of this module, and of x, s."""
    inputs, width = x.shape[-1], s.shape[-1]
    params = {}
    for name in ("mean", "variance"):
      for layer, size in (("hidden", inputs), ("output", width)):
        path = f"{name}_{layer}"
        kernel = self.param(f"{path}_kernel", XAVIER, (size, width))
        bias = self.param(f"{path}_bias", nn.initializers.zeros, (width,))
        params[path] = kernel, bias

    def surprise(params, x, s):
      def perceptron(name):
        linear = lambda y, kernel, bias: y @ kernel + bias[None]
        hidden = nn.relu(linear(x, *params[f"{name}_hidden"]))
        return linear(hidden, *params[f"{name}_output"])

      mu, lv = perceptron("mean"), perceptron("variance")
      says = jnp.square(s - mu) * jnp.exp(-lv) / 2
      return (says + lv / 2 if self.normalised else says).sum(-1)

    x, s = _wide(x), _wide(s)
    still = jax.lax.stop_gradient
    return surprise(params, still(x), still(s)), surprise(still(params), x, s)


class ClassEntropy(nn.Module):
  """What covariances within classes say of the entropy of s; remembers a batch."""

  width: int

  @nn.compact
  def __call__(
    self,
    s: Float[Array, "B E"],
    member: Float[Array, "B K C"] | None,
    classes: tuple[int, int],
    *,
    signs: bool,
    train: bool,
  ) -> Float[Array, ""]:
    """H, zero while there is no batch before.

    Args:
      s: what the entropy is of.
      member: 1 where a sample counts for a class, else 0; None without labels.
      classes: (K, C).
      signs: whether the two classes weigh alike, else by their share of the samples.
      train: whether this batch is remembered.
    """
    draw = lambda: XAVIER(self.make_rng("params"), (s.shape[-1], self.width))
    project = self.variable("fixed", "projection", draw).value
    zeros = lambda *shape: jnp.zeros((*classes, *shape), jnp.float32)
    square = (self.width, self.width)
    empty = lambda: Moments(zeros(), zeros(self.width), zeros(*square))._asdict()
    memory = self.variable("memory", "moments", empty)
    if member is None or not train:
      return jnp.zeros((), jnp.float32)
    p = jnp.tanh(_wide(s) @ project)
    now, before = Moments.of(p, member), Moments(**memory.value)
    both = now.joined(before)
    if not self.is_initializing():
      keeps = {k: new.astype(memory.value[k].dtype) for k, new in now._asdict().items()}
      memory.value = keeps
    volume = log_determinant(both.covariance + RIDGE * jnp.eye(self.width)[None, None])
    total = jnp.maximum(both.count.sum(-1, keepdims=True), 1)
    share = 0.5 if signs else both.count / total
    entropy = jnp.where(both.count >= FEWEST, share * volume, 0).sum(-1).mean() / 2
    return jnp.where(before.count.sum() > 0, entropy, 0)


class Model(MainEncoder):
  """Hierarchical mutual information maximisation."""

  card = Card(
    "MMIM",
    "Han, Chen, Poria: Improving Multimodal Fusion with Hierarchical Mutual "
    "Information Maximization for Multimodal Sentiment Analysis, EMNLP 2021",
    reads="vectors",
    losses={"fit": 1.0, "bound": 0.1, "entropy": 0.1, "nce": 0.1},
  )

  encoder_width: int = field(16, low=1, doc="Of an encoder that is no mean or step.")
  width: int = field(16, low=1, doc="Of the vectors of all but the main modality.")
  hidden: int = field(128, low=1, doc="Of the fusion.")
  all_pairs: bool = field(
    False, doc="Whether the bounds are also between the other modalities."
  )
  ba_normalised: bool = field(
    False, doc="Whether the bound has the lv / 2 of a Gaussian density, see above."
  )
  entropy_width: int = field(4, low=1, doc="Of what the entropy is estimated by.")

  def fuse(
    self, vectors: Vectors, present: Present, batch: Batch, *, train: bool
  ) -> Fused:
    main, others = main_and_auxiliaries(self.modalities, self.main)
    dense = lambda size, name, x: nn.Dense(
      size, dtype=x.dtype, kernel_init=XAVIER, name=name
    )(x)
    x = dict(vectors)
    for m in others:
      projected = dense(self.width, f"project_{m}", x[m])
      x[m] = jnp.where(present[m][:, None], projected, 0)
    joined = jnp.concatenate([*x.values()], -1)
    joined = Dropout(self.dropout, name="dropout_joined")(joined, train=train)
    z = jnp.tanh(dense(self.hidden, "fusion_0", joined))
    z = jnp.tanh(dense(self.hidden, "fusion_1", z))
    losses = self.pairs(x, present, batch, train)
    counts = batch.weight > 0
    losses["nce"] = sum(
      contrast(x[m], dense(x[m].shape[-1], f"predict_{m}", z), present[m] & counts)
      for m in x
    )
    return Fused(z, losses if train else {}, intermediates={"vectors": x})

  def pairs(
    self, x: Vectors, present: Present, batch: Batch, train: bool
  ) -> dict[str, Array]:
    """`fit`, `bound` and `entropy`."""
    main, others = main_and_auxiliaries(self.modalities, self.main)
    pairs = [(main, m) for m in others]
    if self.all_pairs:  # such as (vision, audio)
      pairs += [(m, n) for i, m in enumerate(others) for n in others[:i]]
    member, classes = _classes(batch, self.spec)
    rows = jnp.zeros(present[main].shape, jnp.float32)
    fit, bound, entropy = rows, rows, jnp.zeros((), jnp.float32)
    for one, other in pairs:
      name, here = f"{one}_{other}", present[one] & present[other]
      found = GaussianBound(self.ba_normalised, name=f"bound_{name}")(x[one], x[other])
      fit, bound = (
        total + jnp.where(here, value, 0)
        for total, value in zip((fit, bound), found, strict=True)
      )
      entropy = entropy - ClassEntropy(self.entropy_width, name=f"entropy_{name}")(
        x[other],
        None if member is None else member * here[:, None, None],
        classes,
        signs=self.spec.task == "regression",
        train=train,
      )
    return {"fit": fit, "bound": bound, "entropy": entropy}

  def predict(self, features: Float[Array, "B F"], *, train: bool) -> Array:
    return output_layer(features, self.outputs, 0.0, train)


def _classes(
  batch: Batch, spec: Spec
) -> tuple[Float[Array, "B K C"] | None, tuple[int, int]]:
  """Which of C classes of each of K labels a row that counts is in, and (K, C)."""
  regression = spec.task == "regression"
  of_each = 2 if regression else spec.outputs[-1]
  labels = spec.outputs[0] if regression or len(spec.outputs) > 1 else 1
  if batch.label is None:
    return None, (labels, of_each)
  label = batch.label.reshape(-1, labels)
  if regression:
    member = jnp.stack([label > 0, label < 0], -1)
  else:
    member = label[..., None] == jnp.arange(of_each)[None, None]
  member = member & (batch.weight > 0)[:, None, None]
  return member.astype(jnp.float32), (labels, of_each)


def _wide(x):
  return x.astype(jnp.promote_types(x.dtype, jnp.float32))
