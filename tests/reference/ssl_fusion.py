"""SSL (Siriwardhana et al. 2020) in NumPy float64, one sample at a time.

    predictions, heads, losses = ssl_fusion(params, samples, modalities=..., ...)

A sample has `<m>` (n, D), its real steps, whose mean stands for CLS.

    output, and with co-attention <m>_<n>/{query, key, value, out}
"""

import numpy as np


def ssl_fusion(params, samples, *, modalities, coattention):
  rows = [one(params, s, modalities, coattention) for s in samples]
  return np.array(rows), {}, {}


def one(params, sample, modalities, coattention):
  cls = {m: mean(sample[m]) for m in modalities}
  parts = [cls[m] for m in modalities]
  if coattention:
    parts = []
    for m in modalities:
      for n in modalities:
        if m != n:
          read = attend(params[f"{m}_{n}"], cls[m], sample[n])
          parts.append(cls[m] + read if len(sample[m]) else cls[m])
  joined = np.concatenate(parts)
  return joined @ params["output"]["kernel"] + params["output"]["bias"]


def mean(x):
  return x.mean(0) if len(x) else np.zeros(x.shape[1])


def attend(params, query, steps):
  if not len(steps):
    return 0.0
  total = params["out"]["bias"]
  for h in range(params["query"]["kernel"].shape[1]):
    own = lambda name, x, h=h: (
      x @ params[name]["kernel"][:, h] + params[name]["bias"][h]
    )
    q, k, v = own("query", query), own("key", steps), own("value", steps)
    scores = np.exp(k @ q / np.sqrt(len(q)))
    total = total + (scores / scores.sum()) @ v @ params["out"]["kernel"][h]
  return total
