"""MM-DFN written down in NumPy float64 for a dialogue, on the full matrix of its graph.

Nodes stand modality by modality, turn by turn, those that are missing among them: their
rows and columns of the matrix are zero.
"""

import numpy as np

from tests.reference import recurrent


def dense(params, x):
  return x @ params["kernel"] + params["bias"]


def turns(params, vectors, masks, speaker, main, shares, layers):
  """X of every modality (n, 2 W), zero where it is missing."""
  rnn = lambda name, x: recurrent.rnn(params[name], x, "gru", layers, True)[0]
  found = {}
  for m, x in vectors.items():
    real = masks[m]
    v = dense(params[f"project_{m}"], x[real])
    context = rnn("context", v) if m == main else v
    heard = np.zeros_like(v)
    for who in set(speaker[real].tolist()):
      own = speaker[real] == who
      heard[own] = rnn("speaker", v[own])
    found[m] = np.zeros((len(x), v.shape[1]))
    found[m][real] = context + shares[m] * heard
  return found


def graph(x, masks):
  """A (N n, N n) of X by modality."""
  names, count = list(x), len(next(iter(x.values())))
  nodes = [(m, t) for m in names for t in range(count)]
  weights = np.zeros((len(nodes), len(nodes)))
  for i, (m, s) in enumerate(nodes):
    for j, (k, t) in enumerate(nodes):
      if masks[m][s] and masks[k][t] and (m == k or s == t):
        a, b = x[m][s], x[k][t]
        size = max(np.linalg.norm(a), 1e-12) * max(np.linalg.norm(b), 1e-12)
        weights[i, j] = 1 - np.arccos(0.99999 * (a @ b) / size) / np.pi
  degree = weights.sum(1)
  root = np.zeros_like(degree)
  root[degree > 0] = degree[degree > 0] ** -0.5
  return root[:, None] * weights * root


def depth(params, x, matrix, layers, alpha):
  """h (N n, G) from X (N n, 2 W)."""
  first = np.maximum(dense(params["first"], x), 0)
  h, g, c = first, np.zeros_like(first), np.zeros_like(first)
  for k in range(1, layers + 1):
    lstm = params["lstm"]
    gates = h @ lstm["kernel"] + g @ lstm["recurrent"] + lstm["bias"]
    i, f, new, o = np.split(gates, 4, 1)
    c = recurrent.sigmoid(f) * c + recurrent.sigmoid(i) * np.tanh(new)
    g = recurrent.sigmoid(o) * np.tanh(c)
    spread, theta = matrix @ g, np.log(0.5 / k + 1)
    mixed = np.concatenate([spread, first], 1) @ params["kernels"][k - 1]
    kept = (1 - alpha) * spread + alpha * first
    h = np.maximum(theta * mixed + (1 - theta) * kept, 0) + h
  return h


def mm_dfn(params, vectors, masks, speaker, *, main, shares, recurrent_layers, layers):
  """Predictions (n, O) of the turns of a dialogue, and the matrix of its graph."""
  x = turns(params, vectors, masks, speaker, main, shares, recurrent_layers)
  matrix = graph(x, masks)
  h = depth(params["graph"], np.concatenate([*x.values()]), matrix, layers, 0.2)
  parts = []
  for m, own in zip(x, np.split(h, len(x)), strict=True):
    parts.append(np.where(masks[m][:, None], np.concatenate([x[m], own], 1), 0))
  features = np.maximum(np.concatenate(parts, 1), 0)
  return dense(params["output"], features), matrix
