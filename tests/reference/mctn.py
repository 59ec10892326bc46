"""MCTN (Pham et al. 2019) for one sample, step by step, in NumPy float64.

    prediction, losses, out = mctn(params, sample, modalities=("text", "vision"))

`sample` has `<m>` (T_m, D_m) and `<m>_mask` (T_m,), and modalities stand in the order
of translation. Steps that do not exist are left out. `params` are the model's, as
nested dicts:

    in_<m>, out_<m>, attention, output: {kernel, bias}
    encoder_<j>/{forward, backward}, lstm                see `reference.recurrent`
    decoder_<j>/{kernel, recurrent, bias}                its LSTM
    decoder_<j>/{source_kernel, cell_kernel, score_bias, score_kernel}

There are losses with `train`. `out` has the translations (n, D) and the attention maps
(n, S) by name, `cycle` that back to the first modality, and under `steps` the weights
of step 4.
"""

import numpy as np

from tests.reference.recurrent import lstm, sigmoid


def mctn(params, sample, *, modalities, score="additive", train=True):
  p, *others = modalities
  x = {m: sample[m][sample[f"{m}_mask"]] for m in modalities}
  made, attention = {}, {}
  losses = {"translation": 0.0, "cycle": 0.0, "further": 0.0}
  losses["l2"] = np.square(params["output"]["kernel"]).sum()
  encoding = encode(params["encoder_1"], linear(params[f"in_{p}"], x[p]))
  for level, m in enumerate(others, 1):
    decoder = params[f"decoder_{level}"]
    if level > 1:
      encoding = encode(params[f"encoder_{level}"], encoding)
    hidden, attention[m] = decode(decoder, encoding, len(x[m]), score)
    made[m] = linear(params[f"out_{m}"], hidden)
    name = "translation" if level == 1 else "further"
    if len(x[p]) and len(x[m]):
      losses[name] += np.square(made[m] - x[m]).mean()
    if level == 1:
      back = encode(params["encoder_1"], linear(params[f"in_{m}"], made[m]))
      hidden, attention["cycle"] = decode(decoder, back, len(x[p]), score)
      made["cycle"] = linear(params[f"out_{p}"], hidden)
      if len(x[p]) and len(x[m]):
        losses["cycle"] = np.square(made["cycle"] - x[p]).mean()
  states = lstm(params["lstm"], encoding)[0]
  weights = softmax(np.tanh(linear(params["attention"], states))[:, 0])
  prediction = linear(params["output"], weights @ states)
  attention["steps"] = weights
  out = {"translations": made, "attention": attention}
  return prediction, losses if train else {}, out


def encode(params, x):
  both = lstm(params["forward"], x)[0], lstm(params["backward"], x, reverse=True)[0]
  return both[0] + both[1]


def decode(params, source, steps, score):
  size = len(params["recurrent"])
  h, c, states, maps = np.zeros(size), np.zeros(size), [], []
  for _ in range(steps):
    scores = []
    for row in source:
      s = row @ params["source_kernel"] + c @ params["cell_kernel"]
      if score == "additive":
        s = np.tanh(s + params["score_bias"]) @ params["score_kernel"]
      scores.append(s[0])
    weights = softmax(np.array(scores))
    x = weights @ source if len(source) else np.zeros(size)
    i, f, g, o = np.split(
      x @ params["kernel"] + h @ params["recurrent"] + params["bias"], 4
    )
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    h = sigmoid(o) * np.tanh(c)
    states.append(h)
    maps.append(weights)
  return np.reshape(states, (steps, size)), np.reshape(maps, (steps, len(source)))


def softmax(x):
  e = np.exp(x - x.max(initial=-np.inf)) if len(x) else x
  return e / e.sum() if len(x) else x


def linear(params, x):
  return x @ params["kernel"] + params["bias"]
