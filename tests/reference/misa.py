"""MISA (Hazarika et al. 2020) in NumPy float64, one sample at a time; losses by batch.

    predictions, heads, losses = misa(params, samples, held, modalities=..., lstm=...)

A sample has `<m>` (n, D), its real steps, and `weight`. Gradients stop at the lengths
of rows in the overlap, which are those of the parameters `held`. Modalities in `lstm`
have the stacked encoder, the others are the means of their steps.

    encoder_<m>/{lstm_0, norm, lstm_1}, project_<m>, norm_<m>, private_<m>, shared,
    rebuild_<m>, layer/{attention/{query, key, value, out}, attention_norm, hidden,
    residual, norm}, join, output
"""

import itertools

import numpy as np

from tests.reference.recurrent import rnn, sigmoid


def misa(params, samples, held, *, modalities, lstm=()):
  codes = [encode(params, s, modalities, lstm) for s in samples]
  fixed = [encode(held, s, modalities, lstm) for s in samples]
  predictions = np.array([predict(params, code, modalities) for code in codes])
  counts = [b for b, s in enumerate(samples) if s["weight"] > 0]
  return predictions, {}, losses(codes, fixed, counts, modalities)


def losses(codes, fixed, counts, modalities):
  cmd, apart = [], 0.0
  for m, n in itertools.combinations(modalities, 2):
    rows = [b for b in counts if m in codes[b] and n in codes[b]]
    if len(rows) >= 2:
      of = lambda kind, name, rows=rows: np.array([codes[b][name][kind] for b in rows])
      cmd.append(discrepancy(of("shared", m), of("shared", n)))
  private = list(itertools.combinations(modalities, 2))
  for one, other in [((m, "private"), (m, "shared")) for m in modalities] + [
    ((m, "private"), (n, "private")) for m, n in private
  ]:
    rows = [b for b in counts if one[0] in codes[b] and other[0] in codes[b]]
    if len(rows) >= 2:
      sides = [
        [np.array([source[b][m][kind] for b in rows]) for source in (codes, fixed)]
        for m, kind in (one, other)
      ]
      apart += overlap(*(centred(*side) for side in sides))
  again = [
    np.mean([np.mean((c["again"] - c["u"]) ** 2) for c in code.values()] or [0.0])
    for code in codes
  ]
  return {
    "similarity": np.mean(cmd) if cmd else 0.0,
    "difference": apart,
    "reconstruction": np.array(again),
  }


def discrepancy(x, y):
  """CMD in five moments."""
  total = np.linalg.norm(x.mean(0) - y.mean(0))
  for k in range(2, 6):
    moments = [((z - z.mean(0)) ** k).mean(0) for z in (x, y)]
    total += np.linalg.norm(moments[0] - moments[1])
  return total


def centred(x, at):
  """Without the mean, divided by the lengths that the rows of `at` have without it."""
  lengths = np.linalg.norm(at - at.mean(0), axis=1, keepdims=True)
  return (x - x.mean(0)) / (lengths + 1e-6)


def overlap(x, y):
  return np.mean((x.T @ y) ** 2)


def encode(params, sample, modalities, lstm):
  """m -> u, private, shared, again; a modality without steps is not there."""
  codes = {}
  for m in modalities:
    x = sample[m]
    if not len(x):
      continue
    if m in lstm:
      own = params[f"encoder_{m}"]
      states, first = rnn(own["lstm_0"], x, bidirectional=True)
      second = rnn(own["lstm_1"], norm(own["norm"], states), bidirectional=True)[1]
      x = np.concatenate([first, second])
    else:
      x = x.mean(0)
    u = np.maximum(linear(params[f"project_{m}"], x), 0.0)
    u = norm(params[f"norm_{m}"], u)
    private = sigmoid(linear(params[f"private_{m}"], u))
    shared = sigmoid(linear(params["shared"], u))
    again = linear(params[f"rebuild_{m}"], private + shared)
    codes[m] = {"u": u, "private": private, "shared": shared, "again": again}
  return codes


def predict(params, codes, modalities):
  names = [(m, kind) for kind in ("private", "shared") for m in modalities]
  rows = [codes[m][kind] for m, kind in names if m in codes]
  done = iter(layer(params["layer"], np.array(rows)) if rows else ())
  width = len(params["shared"]["bias"])
  joined = [next(done) if m in codes else np.zeros(width) for m, _ in names]
  hidden = np.maximum(linear(params["join"], np.concatenate(joined)), 0.0)
  return linear(params["output"], hidden)


def layer(params, x):
  own = params["attention"]
  heads = own["query"]["kernel"].shape[1]
  reads = np.zeros_like(x) + own["out"]["bias"]
  for h in range(heads):
    q, k, v = (
      x @ own[name]["kernel"][:, h] + own[name]["bias"][h]
      for name in ("query", "key", "value")
    )
    scores = np.exp(q @ k.T / np.sqrt(q.shape[1]))
    weights = scores / scores.sum(1, keepdims=True)
    reads = reads + weights @ v @ own["out"]["kernel"][h]
  x = norm(params["attention_norm"], x + reads)
  hidden = np.maximum(linear(params["hidden"], x), 0.0)
  return norm(params["norm"], x + linear(params["residual"], hidden))


def norm(params, x):
  away = x - x.mean(-1, keepdims=True)
  deviation = np.sqrt((away**2).mean(-1, keepdims=True) + 1e-5)
  return away / deviation * params["scale"] + params["bias"]


def linear(params, x):
  return x @ params["kernel"] + params["bias"]
