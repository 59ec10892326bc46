"""RMFN (Liang et al. 2018) for one sample, step by step, in NumPy float64.

    prediction, out = rmfn(params, sample, modalities=("text", "audio"), stages=3)

`sample` has `<m>` (T, D) and `<m>_mask` (T,), all of one T. A step that no modality has
is left out. A modality that lacks a step keeps its h and c there. `params` are the
model's, as nested dicts:

    lsthm_<m>/{kernel, recurrent, code_kernel, bias}     gates i, f, g, o
    {highlight, fuse}/{kernel, recurrent, bias}          the same
    {attention, summarize}/{kernel, bias}
    {hidden, output}/{kernel, bias}                      the last MLP

`out` has a row a step that was not left out: hidden (n, H), attention (n, K, H) and
code (n, Z).
"""

import numpy as np

from tests.reference.mfn import linear, lstm, mlp
from tests.reference.recurrent import sigmoid


def rmfn(params, sample, *, modalities, stages, summarize="all"):
  h = {m: np.zeros(len(params[f"lsthm_{m}"]["recurrent"])) for m in modalities}
  c = {m: np.zeros_like(h[m]) for m in modalities}
  z = np.zeros(len(params["summarize"]["bias"]))
  out = {name: [] for name in ("hidden", "attention", "code")}
  for t in range(len(sample[modalities[0]])):
    if not any(sample[f"{m}_mask"][t] for m in modalities):
      continue
    for m in modalities:
      if sample[f"{m}_mask"][t]:
        h[m], c[m] = lsthm(params[f"lsthm_{m}"], sample[m][t], z, h[m], c[m])
    joined = np.concatenate([h[m] for m in modalities])
    z, attention = fuse(params, joined, stages, summarize)
    for name, value in zip(out, (joined, attention, z), strict=True):
      out[name].append(value)
  prediction = mlp(params, np.concatenate([*(h[m] for m in modalities), z]))
  return prediction, {name: np.array(rows) for name, rows in out.items()}


def lsthm(params, x, z, h, c):
  gates = x @ params["kernel"] + h @ params["recurrent"] + z @ params["code_kernel"]
  i, f, g, o = np.split(gates + params["bias"], 4)
  c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
  return sigmoid(o) * np.tanh(c), c


def fuse(params, h, stages, summarize):
  size = lambda name: len(params[name]["recurrent"])
  look, look_c = np.zeros(size("highlight")), np.zeros(size("highlight"))
  s, s_c = np.zeros(size("fuse")), np.zeros(size("fuse"))
  attention, every = [], []
  for _ in range(stages):
    look, look_c = lstm(params["highlight"], h, look, look_c)
    scores = linear(params["attention"], look)
    a = np.exp(scores - scores.max()) / np.exp(scores - scores.max()).sum()
    s, s_c = lstm(params["fuse"], a * h, s, s_c)
    attention.append(a)
    every.append(s)
  read = np.concatenate(every) if summarize == "all" else s
  return sigmoid(linear(params["summarize"], read)), np.array(attention)
