"""RAVEN (Wang et al. 2019) for one sample, word by word, in NumPy float64.

    prediction, losses, out = raven(params, sample, modalities=("text", "audio"))

`sample` has `<m>` (T_m, D_m) and `<m>_mask` (T_m,); the first modality gives the words.
`params` are the model's, as nested dicts:

    project_<m>, gate_<m>, shift, output: {kernel, bias}
    lstm_<m>, lstm                                       see `reference.recurrent`

With `frames` 0 a word has the vector of its own step, otherwise that many frames at
most. `out` has a row for every step of the first modality, real or not: what is added
to the word, its gates by modality, and alpha.
"""

import numpy as np

from tests.reference.recurrent import lstm, sigmoid


def raven(params, sample, *, modalities, beta, shift="paper", frames=0):
  first, *others = modalities
  words = sample[f"{first}_mask"]
  shifted, out = [], {"shift": [], "scale": [], "gates": {m: [] for m in others}}
  for i, is_word in enumerate(words):
    e = sample[first][i] if is_word else np.zeros(sample[first].shape[1])
    heard, total = False, params["shift"]["bias"] if others else 0.0
    row = 0
    for m in others:
      inside = rows(sample, m, words, i, frames)
      x = linear(params[f"project_{m}"], inside)
      h = np.zeros(len(params[f"lstm_{m}"]["recurrent"]))
      if len(inside):
        heard, h = True, lstm(params[f"lstm_{m}"], x)[0][-1]
      gate = sigmoid(linear(params[f"gate_{m}"], np.concatenate([h, e])))[0]
      kernel = params["shift"]["kernel"][row : row + len(h)]
      total, row = total + gate * (h @ kernel), row + len(h)
      out["gates"][m].append(gate)
    if others:
      v = total if heard else np.zeros_like(e)
      one, other = np.linalg.norm(e), np.linalg.norm(v)
      if shift == "code":
        alpha = beta * one / max(other, 1.0)
      else:
        alpha = min(beta * one / max(other, 1e-8), 1.0)
      out["shift"].append(alpha * v)
      out["scale"].append(alpha)
      e = e + alpha * v
    if is_word:
      shifted.append(e)
  h = np.zeros(len(params["lstm"]["recurrent"]))
  if shifted:
    h = lstm(params["lstm"], np.array(shifted))[0][-1]
  return linear(params["output"], h), {}, out


def rows(sample, m, words, i, frames):
  """The frames of modality m inside word i."""
  x, mask = sample[m], sample[f"{m}_mask"]
  if not frames:
    return x[i : i + 1][mask[i : i + 1]]
  x = x[mask]
  if not words[i] or not len(x):
    return x[:0]
  place, total = int(words[:i].sum()), int(words.sum())
  start = place * len(x) // total
  inside = x[start : max((place + 1) * len(x) // total, start + 1)]
  if len(inside) <= frames:
    return inside
  return np.array([inside[j * len(inside) // frames] for j in range(frames)])


def linear(params, x):
  return x @ params["kernel"] + params["bias"]
