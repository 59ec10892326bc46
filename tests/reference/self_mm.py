"""Self-MM written down in NumPy float64: the network, its losses, and its labels.

Vectors of a sample that lacks a modality are None. The state of a training is a
`Memory`; a step reads it for its loss and moves it afterwards.
"""

import numpy as np

FUSED = "fused"


def dense(params, x):
  return x @ params["kernel"] + params["bias"]


def network(params, vectors, sizes):
  """y^ and y^_s by name, and F and F_s by name, of one sample."""
  filled = {m: np.zeros(sizes[m]) if x is None else x for m, x in vectors.items()}
  inputs = {FUSED: ("fusion", "output", np.concatenate([*filled.values()]))}
  inputs |= {m: (m, f"output_{m}", x) for m, x in filled.items()}
  says, features = {}, {}
  for name, (layer, output, x) in inputs.items():
    features[name] = np.maximum(dense(params[f"{layer}_1"], x), 0)
    says[name] = dense(
      params[output], np.maximum(dense(params[f"{layer}_2"], features[name]), 0)
    )
  return says, features


class Memory:
  """What is known of the samples seen so far, by modality and row; y has no rows."""

  def __init__(self, bound):
    self.bound, self.features, self.labels, self.seen = bound, {}, {}, {}

  def label(self, name, row, y):
    return y if name == FUSED else self.labels.get((name, row), y)

  def centre(self, name, k, sign):
    """The mean feature of the samples whose label k has a sign; None without any."""
    found = [
      feature
      for (m, row), feature in self.features.items()
      if m == name and sign * self.labels[m, row][k] > 0
    ]
    return np.mean(found, 0) if found else None

  def delta(self, name, k, feature):
    centres = [self.centre(name, k, sign) for sign in (1, -1)]
    if None in [c if c is None else 0 for c in centres]:
      return None
    near, far = (np.linalg.norm(feature - c) for c in centres)
    return (far - near) / (near + 1e-8)

  def learn(self, rows, labels, features):
    """After a step on a batch: `features` is a dict a row, without what misses."""
    moved = {}
    for row, y, own in zip(rows, labels, features, strict=True):
      for name in own:
        n = self.seen.get((name, row), 0) + 1
        old = np.array(self.label(name, row, y), float)
        new = old.copy()
        for k in range(len(y)):
          one, whole = (self.delta(m, k, own[m]) for m in (name, FUSED))
          if name == FUSED or n == 1 or one is None or whole is None:
            continue
          target = one / (whole + 1e-8) * y[k] / 2 + (y[k] + one - whole) / 2
          target = np.clip(target, -self.bound, self.bound)
          new[k] = (n - 1) / (n + 1) * old[k] + 2 / (n + 1) * target
        moved[name, row] = new, own[name], n
    for key, (label, feature, n) in moved.items():
      self.labels[key], self.features[key], self.seen[key] = label, feature, n


def unimodal(says, memory, row, y, modalities):
  """The loss of the modalities that one sample has."""
  total = 0.0
  for m in modalities:
    label = memory.label(m, row, y)
    total += (np.tanh(np.abs(label - y)) * np.abs(says[m] - label)).mean()
  return total
