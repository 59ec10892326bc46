"""Forward and backward of one LSTM layer over padded sequences, form by form.

  python benchmarks/recurrent.py [--steps 50] [--batch 64] [--width 128]
    [--features 128] [--repeats 40]

`unroll` is the layer of this library; `plain loop` is the same loop differentiated as
it stands, without the gradient that `ops.recurrence` gives it; `nn.RNN` is Flax's own,
whose products with the inputs are inside its loop, and which knows padding at the end
but no holes. They take turns in one process, after their results were compared.
"""

import argparse
import functools
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))

from mcr_jax import allocator

allocator.keep_freed_memory()

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import peaks
from mcr_jax.layers.recurrent import Recurrent
from mcr_jax.ops import recurrence

DEFAULTS = {"steps": 50, "batch": 64, "width": 128, "features": 128, "repeats": 40}


def main():
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  for name, default in DEFAULTS.items():
    parser.add_argument(f"--{name}", type=int, default=default)
  asked = parser.parse_args()
  random = np.random.default_rng(0)
  x = random.normal(size=(asked.batch, asked.steps, asked.features))
  lengths = random.integers(asked.steps // 3, asked.steps + 1, size=asked.batch)
  x = jnp.asarray(x, jnp.float32)
  mask = jnp.asarray(np.arange(asked.steps) < lengths[:, None])

  ours = {f"unroll {n}": Recurrent(asked.width, unroll=n) for n in (1, 2, 5, 10)}
  variables = ours["unroll 1"].init(jax.random.key(0), x, mask)
  forms = {
    name: compiled(lambda v, x, layer=layer: layer.apply(v, x, mask)[0], variables, x)
    for name, layer in ours.items()
  }
  loop = functools.partial(plain_loop, mask=mask)
  forms["plain loop"] = compiled(loop, variables, x)
  for cell in (nn.LSTMCell, nn.OptimizedLSTMCell):
    rnn = nn.RNN(cell(asked.width))
    run = functools.partial(rnn.apply, seq_lengths=jnp.asarray(lengths))
    start = rnn.init(jax.random.key(0), x)
    forms[f"nn.RNN {cell.__name__}"] = compiled(run, start, x)

  expected = forms["plain loop"][0]()
  for name in ours:
    check(forms[name][0](), expected)
  taken = {name: [] for name in forms}
  for _ in range(asked.repeats):
    for name in random.permutation(list(forms)):
      start = time.perf_counter()
      jax.block_until_ready(forms[name][0]())
      taken[name].append(1e3 * (time.perf_counter() - start))
  print(f"{peaks.machine()}, jax {jax.__version__}, float32")
  print(
    "| form | compile s | ms | [p10, p90] | times unroll 1 |\n|---|---|---|---|---|"
  )
  for name, times in taken.items():
    ratio = np.median(np.divide(times, taken["unroll 1"]))
    low, high = np.quantile(times, (0.1, 0.9))
    print(
      f"| {name} | {forms[name][1]:.1f} | {np.median(times):.1f} "
      f"| [{low:.1f}, {high:.1f}] | {ratio:.2f} |"
    )


def compiled(run, variables, x):
  """A call of value and gradient, and the seconds that its compilation took."""

  def value(variables, x):
    outputs = run(variables, x)
    return (outputs[:, -1] ** 2).sum() + 1e-3 * (outputs**2).sum()

  lowered = jax.jit(jax.value_and_grad(value)).lower(variables, x)
  start = time.perf_counter()
  program = lowered.compile()
  return lambda: program(variables, x), time.perf_counter() - start


def plain_loop(variables, x, mask):
  """`Recurrent` without the gradient of `ops.recurrence`."""
  params, cell = variables["params"], recurrence.CELLS["lstm"]
  products = jnp.swapaxes(jnp.where(mask[..., None], x, 0), 0, 1) @ params["kernel"]

  def step(state, inputs):
    new = cell.step(state, inputs[0] + state[0] @ params["recurrent"])
    new = tuple(
      jnp.where(inputs[1][:, None], a, b) for a, b in zip(new, state, strict=True)
    )
    return new, new[0]

  zero = jnp.zeros((len(x), len(params["recurrent"])), x.dtype)
  _, outputs = jax.lax.scan(step, (zero, zero), (products + params["bias"], mask.T))
  return jnp.swapaxes(outputs, 0, 1)


def check(ours, expected):
  """Value and gradients are the same up to rounding."""
  for one, other in zip(jax.tree.leaves(ours), jax.tree.leaves(expected), strict=True):
    scale = 1e-6 + float(jnp.abs(other).max())
    assert float(jnp.abs(one - other).max()) < 1e-4 * scale


if __name__ == "__main__":
  main()
