"""MTAG (Yang et al. 2021) for one sample, in NumPy float64, edge by edge.

    y, losses, out = mtag(params, sample, modalities=..., heads=..., layers=..., ...)

`sample` has `<m>` (T_m, D_m) and `<m>_mask` (T_m,). The tree, M modalities:

    embed_<m>/{kernel (D_m, d), bias}
    layers/kernel                         (layers, M, d, d)
    layers/{source_kernel, target_kernel} (layers, M, M, 3, heads, d / heads)
                                          of edges from the first to the second,
                                          which is past, present or future of it
    layers/bias                           (layers, d)
    hidden_0, hidden_1, output            /{kernel, bias}

`out` has `weights`, a dict a layer from an edge, (source, target) with nodes (m, t), to
its weight, the mean over heads. There are no losses.
"""

import numpy as np

PAST, PRESENT, FUTURE = 0, 1, 2


def mtag(
  params,
  sample,
  *,
  modalities,
  heads,
  layers,
  keep=0.8,
  all_to_all=False,
  leaders=("vision", "text", "audio"),
):
  nodes, x = {}, {}
  for m in modalities:
    tree = params[f"embed_{m}"]
    width = len(tree["bias"])
    nodes[m] = [(m, int(t)) for t in np.flatnonzero(sample[f"{m}_mask"])]
    for node in nodes[m]:
      place = positions(node[1], width)
      x[node] = sample[m][node[1]] @ tree["kernel"] + tree["bias"] + place
  order = [*leaders, *(m for m in modalities if m not in leaders)]
  relation = graph(nodes, [m for m in order if m in modalities], all_to_all)
  out = {"weights": []}
  for i in range(layers):
    layer = {name: array[i] for name, array in params["layers"].items()}
    x, weights = attend(layer, x, relation, modalities, heads)
    out["weights"].append(weights)
    if weights:
      count = max(int(np.floor(keep * len(weights) + 1e-9)), 1)
      least = sorted(weights.values(), reverse=True)[count - 1]
      relation = {e: r for e, r in relation.items() if weights[e] >= least}
  y = np.mean([*x.values()], 0) if x else np.zeros(width)
  for name in ("hidden_0", "hidden_1"):
    y = np.maximum(y @ params[name]["kernel"] + params[name]["bias"], 0.0)
  y = y @ params["output"]["kernel"] + params["output"]["bias"]
  return y, {}, out


def positions(t, width):
  """Sines on even features, cosines on odd ones."""
  found = np.zeros(width)
  for i in range(width):
    angle = t / 10000.0 ** ((i - i % 2) / width)
    found[i] = np.cos(angle) if i % 2 else np.sin(angle)
  return found


def graph(nodes, order, all_to_all):
  """(source, target) -> what the target is of the source."""
  found = {}
  for steps in nodes.values():
    for a, source in enumerate(steps):
      for b, target in enumerate(steps):
        if all_to_all or abs(a - b) <= 1:
          found[source, target] = compare(b, a)
  for a, first in enumerate(order):
    for second in order[a + 1 :]:
      short, long = nodes[first], nodes[second]
      if len(short) > len(long):
        short, long = long, short
      for one, seen in zip(short, windows(len(short), len(long)), strict=True):
        for j, other in enumerate(long):
          if j in seen:
            at = PRESENT
          else:
            at = FUTURE if j > max(seen) else PAST
          found[one, other] = at
          found[other, one] = {PAST: FUTURE, FUTURE: PAST}.get(at, PRESENT)
  return found


def compare(target, source):
  return PRESENT if target == source else FUTURE if target > source else PAST


def windows(n, m):
  """The steps of m that every one of n <= m sees."""
  if n == 0:
    return []
  if n == 1:
    return [list(range(m))]
  if n == m:
    return [[i, i + 1] for i in range(n - 1)] + [[m - 2, m - 1]]
  if m >= 2 * n:
    stride = max(2, (m // (n - 1) + 1) // 2)
    width = m - (n - 1) * stride
    if width < 2:
      width, stride = 2, (m - 2) // (n - 1)
    found = [list(range(i * stride, i * stride + width)) for i in range(n)]
  else:
    found, at = [], 0
    for i in range(n):
      if i == m - n:
        at = 2 * (m - n) - 1
      found.append([at, at + 1])
      at += 2 if i < m - n else 1
  return [[j for j in seen if j < m] for seen in found]


def attend(layer, x, relation, modalities, heads):
  """What every node reads, and the weight of every edge, the mean over heads."""
  number = {m: i for i, m in enumerate(modalities)}
  y = {v: (a @ layer["kernel"][number[v[0]]]).reshape(heads, -1) for v, a in x.items()}
  found, weights = {}, {}
  for target in x:
    sources = [s for s, t in relation if t == target]
    if not sources:
      found[target] = layer["bias"]
      continue
    scores = []
    for source in sources:
      kind = number[source[0]], number[target[0]], relation[source, target]
      score = (layer["source_kernel"][kind] * y[source]).sum(-1)
      score = score + (layer["target_kernel"][kind] * y[target]).sum(-1)
      scores.append(np.where(score > 0, score, 0.2 * score))
    powers = np.exp(scores - np.max(scores, 0))
    shares = powers / powers.sum(0)
    read = sum(w[:, None] * y[s] for w, s in zip(shares, sources, strict=True))
    found[target] = read.ravel() + layer["bias"]
    for source, share in zip(sources, shares, strict=True):
      weights[source, target] = share.mean()
  return found, weights
