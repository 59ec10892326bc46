"""MMIM (Han, Chen, Poria 2021) in NumPy float64; losses by batch.

    predictions, heads, losses = mmim(params, samples, held, fixed, before, ...)

A sample has `<m>` (n, D), its real steps, `label` and `weight`. `held` are the
parameters where gradients stop: those of level 1 in `bound`, of all else in `fit`, and
of everything for `before`, the samples of the batch before. `fixed` holds W_e of every
pair.

    encoder_<m>/lstm of the modalities in `lstm`, project_<m>, fusion_{0, 1}, output,
    bound_<x>_<s>/{mean, variance}_{hidden, output}_{kernel, bias}, predict_<m>
"""

import numpy as np

from tests.reference.recurrent import rnn


def mmim(
  params, samples, held, fixed, before, *, modalities, pairs, lstm=(), classes=0, **how
):
  says = [encode(params, s, modalities, lstm) for s in samples]
  still = [encode(held, s, modalities, lstm) for s in samples]
  past = [encode(held, s, modalities, lstm) for s in before]
  z = np.array([fuse(params, x) for x in says])
  fit, bound, entropy = np.zeros(len(samples)), np.zeros(len(samples)), 0.0
  for one, other in pairs:
    name = f"{one}_{other}"
    for b, s in enumerate(samples):
      if len(s[one]) and len(s[other]):
        fit[b] -= density(
          params[f"bound_{name}"], still[b][one], still[b][other], **how
        )
        bound[b] -= density(held[f"bound_{name}"], says[b][one], says[b][other], **how)
    rows = [
      (np.tanh(x[other] @ fixed[name]), s["label"])
      for batch, codes in ((samples, says), (before, past))
      for s, x in zip(batch, codes, strict=True)
      if s["weight"] > 0 and len(s[one]) and len(s[other])
    ]
    entropy -= volumes(rows, classes) if len(before) else 0.0
  nce = 0.0
  for m in modalities:
    rows = [b for b, s in enumerate(samples) if s["weight"] > 0 and len(s[m])]
    x = np.array([unit(says[b][m]) for b in rows])
    f = np.array([unit(linear(params[f"predict_{m}"], z[b])) for b in rows])
    if len(rows) >= 2:
      scores = x @ f.T
      nce += np.mean(np.log(np.exp(scores).sum(1)) - np.diag(scores))
  predictions = np.array([linear(params["output"], row) for row in z])
  return predictions, {}, {"fit": fit, "bound": bound, "entropy": entropy, "nce": nce}


def volumes(rows, classes):
  """H of (row, label) pairs, of signs, or of so many classes."""
  if not classes:
    groups = [[p for p, y in rows if s * y > 0] for s in (1, -1)]
    shares = [0.5, 0.5]
  else:
    groups = [[p for p, y in rows if y == c] for c in range(classes)]
    shares = [len(group) / len(rows) for group in groups]
  total = 0.0
  for share, group in zip(shares, groups, strict=True):
    if len(group) >= 8:
      covariance = np.cov(np.array(group).T, bias=True)
      ridge = 1e-4 * np.eye(len(covariance))
      total += share * np.linalg.slogdet(covariance + ridge)[1]
  return total / 2


def density(params, x, s, *, normalised=True):
  mu, lv = (
    np.maximum(x @ params[f"{name}_hidden_kernel"] + params[f"{name}_hidden_bias"], 0.0)
    @ params[f"{name}_output_kernel"]
    + params[f"{name}_output_bias"]
    for name in ("mean", "variance")
  )
  return np.sum(-((s - mu) ** 2) / (2 * np.exp(lv)) - normalised * lv / 2)


def encode(params, sample, modalities, lstm):
  codes = {}
  for m in modalities:
    x = sample[m]
    if m in lstm:
      codes[m] = rnn(params[f"encoder_{m}"]["lstm"], x)[1]
    else:
      codes[m] = x.mean(0) if len(x) else np.zeros(x.shape[1])
    if f"project_{m}" in params:
      codes[m] = linear(params[f"project_{m}"], codes[m]) * (len(x) > 0)
  return codes


def fuse(params, codes):
  z = np.concatenate([*codes.values()])
  for i in range(2):
    z = np.tanh(linear(params[f"fusion_{i}"], z))
  return z


def unit(x):
  return x / np.linalg.norm(x)


def linear(params, x):
  return x @ params["kernel"] + params["bias"]
