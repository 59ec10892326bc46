"""MFN (Zadeh et al. 2018) for one sample, step by step, in NumPy float64.

    prediction, out = mfn(params, sample, modalities=("text", "audio"))

`sample` has `<m>` (T, D) and `<m>_mask` (T,), all of one T. A step that no modality has
is left out. A modality that lacks a step keeps its h and c there. `params` are the
model's, as nested dicts:

    lstm_<m>/{kernel, recurrent, bias}                   see `reference.recurrent`
    {attention, proposal}/{hidden, output}/{kernel, bias}
    {retain, update}/{hidden_kernel, hidden_bias, output_kernel, output_bias}
    {hidden, output}/{kernel, bias}                      the last MLP

`out` has a row a step that was not left out: attention (n, 2 H), retain, update and
memory (n, U).
"""

import numpy as np

from tests.reference.recurrent import sigmoid


def mfn(params, sample, *, modalities):
  steps = len(sample[modalities[0]])
  h = {m: np.zeros(len(params[f"lstm_{m}"]["recurrent"])) for m in modalities}
  c = {m: np.zeros_like(h[m]) for m in modalities}
  u = np.zeros(len(params["update"]["output_bias"]))
  out = {name: [] for name in ("attention", "retain", "update", "memory")}
  for t in range(steps):
    if not any(sample[f"{m}_mask"][t] for m in modalities):
      continue
    before = np.concatenate([c[m] for m in modalities])
    for m in modalities:
      if sample[f"{m}_mask"][t]:
        h[m], c[m] = lstm(params[f"lstm_{m}"], sample[m][t], h[m], c[m])
    cells = np.concatenate([before, *(c[m] for m in modalities)])
    scores = mlp(params["attention"], cells)
    attention = np.exp(scores - scores.max())
    attention = attention / attention.sum()
    chat = attention * cells
    proposal = np.tanh(mlp(params["proposal"], chat))
    retain = gate(params["retain"], chat, u)
    update = gate(params["update"], chat, u)
    u = retain * u + update * proposal
    for name, value in zip(out, (attention, retain, update, u), strict=True):
      out[name].append(value)
  prediction = mlp(params, np.concatenate([*(h[m] for m in modalities), u]))
  return prediction, {name: np.array(rows) for name, rows in out.items()}


def lstm(params, x, h, c):
  gates = x @ params["kernel"] + h @ params["recurrent"] + params["bias"]
  i, f, g, o = np.split(gates, 4)
  c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
  return sigmoid(o) * np.tanh(c), c


def mlp(params, x):
  hidden = np.maximum(linear(params["hidden"], x), 0.0)
  return linear(params["output"], hidden)


def gate(params, chat, u):
  hidden = np.concatenate([chat, u]) @ params["hidden_kernel"] + params["hidden_bias"]
  product = np.maximum(hidden, 0.0) @ params["output_kernel"]
  return sigmoid(product + params["output_bias"])


def linear(params, x):
  return x @ params["kernel"] + params["bias"]
