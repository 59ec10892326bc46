"""TCSP (Wu et al. 2021) for one sample, step by step, in NumPy float64.

    prediction, losses, out = tcsp(params, sample, modalities=("text", "audio"))

`sample` has `<m>` (T_m, D_m) and `<m>_mask` (T_m,), the words first in `modalities`.
Steps that do not exist are left out. `params` are the model's, as nested dicts:

    translate_<m>/encoder                                 see `reference.recurrent`
    translate_<m>/{kernel, recurrent, bias}               the LSTM of the decoder
    translate_<m>/norm {scale, bias}, hidden, features    {kernel, bias}
    lstm_<m>, lstm_fused                                  see `reference.recurrent`
    attend_private {kernel}, hidden, output {kernel, bias}

and, where there is additive attention, {attend_kernel, attend_bias, attend_score} of
translate_<m>, the same at the top for step 7, and attend_<m>_... for step 6.

There are losses with `train`. `out` has what was predicted (n, D), what is shared
(words, n) and private (n,), and the attention maps.
"""

import numpy as np

from tests.reference.recurrent import final, lstm, sigmoid


def tcsp(params, sample, *, modalities, shared, private, scales, train=True):
  text, *others = modalities
  x = {m: sample[m][sample[f"{m}_mask"]] for m in modalities}
  made, maps, losses = {}, {}, {"translation": 0.0, "entropy": 0.0}
  ours, theirs = {}, {}
  for m in others:
    target = x[m] / scales.get(m, 1.0)
    made[m], maps[m] = translate(params[f"translate_{m}"], x[text], len(target))
    of_frames = np.reshape([first(row, shared) for row in maps[m]], maps[m].shape)
    ours[m] = of_frames.T.astype(bool)
    theirs[m] = first(((made[m] - target) ** 2).mean(1), private)
    if len(x[text]) and len(target):
      losses["translation"] += ((made[m] - target) ** 2).sum() / len(target)
      bits = [-sum(p * np.log2(p) for p in row if p > 0) for row in maps[m]]
      losses["entropy"] += np.mean(bits) / np.sqrt(len(x[text]))
  prediction, attention = regress(params, x, modalities, ours, theirs)
  attention |= {f"translation_{m}": maps[m] for m in others}
  out = {"translations": made, "shared": ours, "private": theirs}
  return prediction, losses if train else {}, out | {"attention": attention}


def translate(params, words, frames):
  """Stage 1: what is predicted (n, D), and the attention of every frame (n, words)."""
  source = normalise(params["norm"], lstm(params["encoder"], words)[0])
  size = len(params["recurrent"])

  def look(d):
    weights = softmax([additive(params, "attend", e, d) for e in source])
    return weights, weights @ source if len(source) else np.zeros(size)

  d, cell, rows, maps = np.zeros(size), np.zeros(size), [], []
  context = look(d)[1]
  for _ in range(frames):
    inputs = np.concatenate([d, context])
    gates = inputs @ params["kernel"] + d @ params["recurrent"] + params["bias"]
    i, f, g, o = np.split(gates, 4)
    cell = sigmoid(f) * cell + sigmoid(i) * np.tanh(g)
    d = sigmoid(o) * np.tanh(cell)
    weights, context = look(d)
    hidden = np.maximum(linear(params["hidden"], np.concatenate([d, context])), 0)
    rows.append(linear(params["features"], hidden))
    maps.append(weights)
  width = len(params["features"]["bias"])
  return np.reshape(rows, (frames, width)), np.reshape(maps, (frames, len(source)))


def regress(params, x, modalities, shared, private):
  """Stage 2: the prediction, and the attention maps by name."""
  text, *others = modalities
  states = {m: lstm(params[f"lstm_{m}"], x[m])[0] for m in modalities}
  joined, own, attention = [states[text]], [], {}
  for m in others:
    count = len(x[text]), len(x[m])
    weights = np.zeros(count)
    for j, word in enumerate(states[text]):
      scores = [additive(params, f"attend_{m}", s, word) for s in states[m]]
      weights[j] = softmax(scores) * shared[m][j]
    joined.append(weights @ states[m])
    kernel = params["attend_private"]["kernel"][:, 0]
    chosen = np.flatnonzero(private[m])
    kept = np.zeros(len(x[m]))
    kept[chosen] = softmax([states[m][t] @ kernel for t in chosen])
    own.append(kept @ states[m])
    attention |= {f"shared_{m}": weights, f"private_{m}": kept}
  fused = lstm(params["lstm_fused"], np.concatenate(joined, 1))[0]
  last = final(fused)
  weights = softmax([additive(params, "attend", row, last) for row in fused])
  attention["words"] = weights
  row = weights @ fused if len(fused) else last
  hidden = linear(params["hidden"], np.concatenate([row, *own]))
  return linear(params["output"], np.maximum(hidden, 0)), attention


def additive(params, name, key, query):
  inputs = np.concatenate([key, query])
  inner = inputs @ params[f"{name}_kernel"] + params[f"{name}_bias"]
  return np.tanh(inner) @ params[f"{name}_score"]


def first(values, count):
  """True at the largest values."""
  order = np.argsort(-np.asarray(values), kind="stable")[:count]
  return np.isin(np.arange(len(values)), order)


def normalise(params, x):
  centred = x - x.mean(1, keepdims=True)
  spread = np.sqrt((centred**2).mean(1, keepdims=True) + 1e-5)
  return centred / spread * params["scale"] + params["bias"]


def softmax(scores):
  scores = np.asarray(scores, np.float64)
  e = np.exp(scores - scores.max(initial=-np.inf)) if len(scores) else scores
  return e / e.sum() if len(scores) else scores


def linear(params, x):
  return x @ params["kernel"] + params["bias"]
