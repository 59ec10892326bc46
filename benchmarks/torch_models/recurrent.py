"""LSTMs in PyTorch with the weights of this library, whose gates have its order.

Every step is real. `layer` is PyTorch's own; it does not give cells, so what reads them
at every step goes through a loop, `cells`, with the products of all inputs before it.
"""

import torch


def layer(trees, x):
  """Outputs (T, B, E) of one direction, or of two side by side."""
  weights = []
  for p in trees:
    none = torch.zeros_like(p["bias"])
    weights += [p["kernel"].T, p["recurrent"].T, p["bias"], none]
  start = x.new_zeros(len(trees), x.shape[1], trees[0]["recurrent"].shape[0])
  both = len(trees) == 2
  return torch.lstm(x, (start, start), weights, True, 1, 0.0, True, both, False)[0]


def cell(gates, c):
  """The next output and cell."""
  i, f, g, o = gates.chunk(4, -1)
  c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
  return torch.sigmoid(o) * torch.tanh(c), c


def cells(p, x):
  """The last output (B, H), and all cells (T, B, H)."""
  products, found = x @ p["kernel"] + p["bias"], []
  h = c = x.new_zeros(x.shape[1], p["recurrent"].shape[0])
  for product in products:
    h, c = cell(torch.addmm(product, h, p["recurrent"]), c)
    found.append(c)
  return h, torch.stack(found)
