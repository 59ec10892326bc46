"""Multimodal Routing (Tsai et al. 2020) for one sample, in NumPy float64.

    y, losses, out = routing(params, sample, modalities=..., lengths=..., heads=...,
                             routings=..., levels=..., encoder="transformer")

`sample` has `<m>` (T_m, D_m), `<m>_mask` (T_m,) and maybe `label`. `levels` is None
where classes are predicted. `params` are the model's, I features and J concepts:

    embed_<m>/kernel (1, D_m, d)
    self/, cross/                        an axis of transformers in front
      last/{attention_norm, feed_norm}/{scale, bias}
      last/{project (d, 3 d), merge, hidden, output}/{kernel, bias}
      layers/...                         of those before, a second axis of layers
      norm/{scale, bias}
    all/{kernel, bias}                   of the last feature
    <m>_<n>.../{kernel, bias}            of every feature, where the encoder is `mean`
    pose_kernel (I, d, P + 1), pose_bias (I, P + 1), votes (I, P, J, P)
    output/kernel (J, P)

Transformers are those of the modalities, and those of the ordered pairs (target,
source) in the order of `itertools.permutations`. `out` has `contribution` (I, J) and
`routing` (I, J).
"""

import itertools

import numpy as np

from tests.reference.mult import layer_norm, linear, positioned
from tests.reference.recurrent import sigmoid


def routing(
  params,
  sample,
  *,
  modalities,
  lengths,
  heads,
  routings,
  levels,
  step=1.0,
  encoder="transformer",
):
  masks = {m: np.asarray(sample[f"{m}_mask"], bool) for m in modalities}
  steps = {m: np.flatnonzero(masks[m]) for m in modalities}
  x = {m: np.asarray(sample[m])[masks[m]] for m in modalities}
  here = lambda of: all(len(steps[m]) for m in of)
  found = by_mean if encoder == "mean" else by_transformer
  features = found(params, x, steps, modalities, lengths, heads, here)
  votes, o = params["votes"], params["output"]["kernel"]
  concepts, size = o.shape
  u, p = np.zeros((len(features), size)), np.zeros(len(features))
  for i, f in enumerate(features):
    if f is not None:
      pose = f @ params["pose_kernel"][i] + params["pose_bias"][i]
      u[i], p[i] = pose[:-1], sigmoid(pose[-1])
  v = np.zeros((len(features), concepts, size))
  for i, j in np.ndindex(*v.shape[:2]):
    v[i, j] = u[i] @ votes[i, :, j]
  c = v.sum(0) / concepts
  share = np.full(v.shape[:2], 1.0 / concepts)
  used = share
  for _ in range(routings):
    for i in range(len(v)):
      scores = np.exp([v[i, j] @ c[j] / np.sqrt(size) for j in range(concepts)])
      share[i] = scores / scores.sum()
    used = p[:, None] * share
    c = np.array([used[:, j] @ v[:, j] for j in range(concepts)])
  logits = np.array([c[j] @ o[j] for j in range(concepts)])
  out = {"contribution": used * np.einsum("ijq,jq->ij", v, o), "routing": share}
  if levels is None:
    return logits, {}, out
  logits = logits.reshape(-1, levels)
  chance = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
  centre = (levels - 1) // 2
  losses = {}
  if "label" in sample:
    label = np.round(np.ravel(sample["label"]) / step).astype(int)
    label = np.minimum(np.maximum(label, -centre), centre)
    rows = zip(chance, label, strict=True)
    losses["levels"] = np.mean([-np.log(row[k + centre]) for row, k in rows])
  return step * chance @ (np.arange(levels) - centre), losses, out


def sets(modalities):
  """Of every feature: its modalities, and (target, source) pairs."""
  if len(modalities) == 1:
    return [(modalities, [])]
  one, two, *third = modalities
  alone = [((m,), []) for m in modalities]
  if not third:
    return [*alone, (modalities, [(one, two), (two, one)])]
  (three,) = third
  pairs = [((one, two), (one, two)), ((one, three), (three, one))]
  pairs.append(((two, three), (two, three)))
  rest = [(one, three), (two, one), (three, two)]
  return [*alone, *((of, [way]) for of, way in pairs), (modalities, rest)]


def by_mean(params, x, steps, modalities, lengths, heads, here):
  features = []
  for of, _ in sets(modalities):
    if here(of):
      joined = np.concatenate([x[m].mean(0) for m in of])
      features.append(np.maximum(linear(params["_".join(of)], joined), 0.0))
    else:
      features.append(None)
  return features


def by_transformer(params, x, steps, modalities, lengths, heads, here):
  x = {m: positioned(x[m] @ params[f"embed_{m}"]["kernel"][0], steps[m]) for m in x}
  ways, features = list(itertools.permutations(modalities, 2)), []
  for of, pairs in sets(modalities):
    if not here(of):
      features.append(None)
      continue
    if not pairs:
      (m,) = of
      own = row(params["self"], modalities.index(m))
      features.append(transformer(own, x[m], None, steps[m], steps[m], 0, heads))
      continue
    parts = []
    for t, s in pairs:
      own, apart = row(params["cross"], ways.index((t, s))), lengths[t] - lengths[s]
      at = steps[t], steps[s], abs(apart), heads
      parts.append(transformer(own, x[t], x[s], *at))
    joined = np.concatenate(parts)
    features.append(linear(params["all"], joined) if of == modalities else joined)
  return features


def row(tree, at):
  if hasattr(tree, "items"):
    return {name: row(branch, at) for name, branch in tree.items()}
  return tree[at]


def transformer(params, x, y, places, y_places, offset, heads):
  before = params.get("layers")
  count = len(before["project"]["bias"]) if before else 0
  for layer in [*(row(before, i) for i in range(count)), params["last"]]:
    normed = layer_norm(layer["attention_norm"], x)
    key = normed if y is None else layer_norm(layer["attention_norm"], y)
    width = x.shape[1]
    q = linear(layer["project"], normed)[:, :width]
    k, v = np.split(linear(layer["project"], key)[:, width:], 2, 1)
    size, rows = width // heads, []
    for a, place in enumerate(places):
      seen = y_places <= place + offset
      if not seen.any():
        rows.append(np.zeros(width))
        continue
      heard = []
      for h in range(heads):
        at = slice(h * size, (h + 1) * size)
        scores = k[seen][:, at] @ q[a, at] / np.sqrt(size)
        weights = np.exp(scores - scores.max())
        heard.append(weights / weights.sum() @ v[seen][:, at])
      rows.append(linear(layer["merge"], np.concatenate(heard)))
    x = x + np.array(rows)
    hidden = linear(layer["hidden"], layer_norm(layer["feed_norm"], x))
    x = x + linear(layer["output"], np.maximum(hidden, 0.0))
  return layer_norm(params["norm"], x)[-1]
