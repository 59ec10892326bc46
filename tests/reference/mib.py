"""MIB (Mai, Zeng, Hu 2022) in NumPy float64, one sample at a time.

    predictions, heads, losses = mib(params, samples, noise, modalities=..., ...)

A sample has `<m>` (n, D), its real steps. `noise` has what a bottleneck draws for every
sample, by the bottleneck's name; one that is not there draws nothing.

    project_<m>; or encoder_<m>/kernel (3, D, E) of `main`, encoder_<m>/{embed/kernel,
    layer_<i>, norm} of the others
    bottleneck[_<m>]/{hidden, mean, deviation}, output_<m>, join, output
"""

import math

import numpy as np

from tests import reference_fusion


def mib(params, samples, noise, *, modalities, variant, main="", pool="mean"):
  rows = []
  for b, sample in enumerate(samples):
    draws = {name: values[b] for name, values in noise.items()}
    rows.append(one(params, sample, draws, modalities, variant, main, pool))
  predictions, heads, kl = zip(*rows, strict=True)
  heads = {m: np.array([head[m] for head in heads]) for m in heads[0]}
  return np.array(predictions), heads, {"kl": np.array(kl)}


def one(params, sample, noise, modalities, variant, main, pool):
  codes, heads, total = [], {}, 0.0
  for m in modalities:
    width = len(params["join"]["bias"])
    here = len(sample[m]) > 0
    x = encode(params, sample[m], m, main, pool) if here else np.zeros(width)
    if variant != "early":
      z, kl = bottleneck(params[f"bottleneck_{m}"], x, noise.get(m, 0.0))
      heads[m] = linear(params[f"output_{m}"], z)
      total += kl if here else 0.0
      x = z if here else np.zeros(width)
    codes.append(x)
  x = np.maximum(linear(params["join"], np.concatenate(codes)), 0.0)
  if variant != "late":
    x, kl = bottleneck(params["bottleneck"], x, noise.get("", 0.0))
    total += kl
  return linear(params["output"], x), heads, total


def bottleneck(params, x, noise):
  e = np.maximum(linear(params["hidden"], x), 0.0)
  mu = linear(params["mean"], e)
  sigma = np.log1p(np.exp(linear(params["deviation"], e) - 5.0))
  kl = 0.5 * np.mean(mu**2 + sigma**2 - 2 * np.log(sigma) - 1.0)
  return mu + sigma * noise, kl


def encode(params, x, m, main, pool):
  if not main:
    return linear(params[f"project_{m}"], x.mean(0))
  own = params[f"encoder_{m}"]
  if m == main:
    x = convolved(own["kernel"], x)
  else:
    kernel = own["embed"]["kernel"]
    width = kernel.shape[-1]
    x = convolved(kernel, x) * math.sqrt(width)
    x = x + [[position(t, i, width) for i in range(width)] for t in range(len(x))]
    for name in sorted(name for name in own if name.startswith("layer_")):
      x = reference_fusion.encode(own[name], x)
    x = reference_fusion.norm(own["norm"], x)
  return x.mean(0) if pool == "mean" else x[-1]


def convolved(kernel, x):
  padded = np.concatenate([0 * x[:1], x, 0 * x[:1]])
  return np.array(
    [sum(padded[t + i] @ kernel[i] for i in range(3)) for t in range(len(x))]
  )


def position(t, i, width):
  angle = t / 10000.0 ** (2 * (i // 2) / width)
  return math.cos(angle) if i % 2 else math.sin(angle)


def linear(params, x):
  return x @ params["kernel"] + params["bias"]
