"""MISA in PyTorch, with the weights of this library's model; LSTMs for all modalities.

Hazarika, Zimmermann, Poria, ACM MM 2020; written here from the equations.
"""

import itertools

import torch
from torch.nn import functional as F

from benchmarks.torch_models.mfn import dense
from benchmarks.torch_models.recurrent import layer


def norm(p, x):
  return F.layer_norm(x, x.shape[-1:], p["scale"], p["bias"], 1e-5)


def encode(p, x):
  """The last states of two bidirectional LSTMs."""
  found = []
  for i in (0, 1):
    x = layer([p[f"lstm_{i}"][f"{way}_0"] for way in ("forward", "backward")], x)
    half = x.shape[-1] // 2
    found += [x[-1, :, :half], x[0, :, half:]]
    x = norm(p["norm"], x) if i == 0 else x
  return torch.cat(found, -1)


def attend(p, x):
  """Self-attention over rows."""
  project = lambda name: (
    torch.einsum("btf,fhd->bhtd", x, p[name]["kernel"]) + (p[name]["bias"][:, None])
  )
  read = F.scaled_dot_product_attention(*map(project, ("query", "key", "value")))
  return torch.einsum("bhtd,hdf->btf", read, p["out"]["kernel"]) + p["out"]["bias"]


def discrepancy(x, y):
  """CMD of five moments."""
  one, other = x.mean(0), y.mean(0)
  total = (one - other).norm()
  x, y = x - one, y - other
  for k in range(2, 6):
    total = total + ((x**k).mean(0) - (y**k).mean(0)).norm()
  return total


def overlap(x, y):
  centred = []
  for z in (x, y):
    z = z - z.mean(0)
    centred.append(z / (z.norm(dim=1, keepdim=True).detach() + 1e-6))
  return (centred[0].T @ centred[1]).square().mean()


def misa(params, batch, modalities):
  """Predictions (B, O), and the losses by name."""
  u, private, shared = [], [], []
  for m in modalities:
    x = encode(params[f"encoder_{m}"], batch[m].transpose(0, 1))
    x = norm(params[f"norm_{m}"], F.relu(dense(params[f"project_{m}"], x)))
    u.append(x)
    private.append(torch.sigmoid(dense(params[f"private_{m}"], x)))
    shared.append(torch.sigmoid(dense(params["shared"], x)))
  p, x = params["layer"], torch.stack([*private, *shared], 1)
  y = norm(p["attention_norm"], x + attend(p["attention"], x))
  y = norm(p["norm"], y + dense(p["residual"], F.relu(dense(p["hidden"], y))))
  y = dense(params["output"], F.relu(dense(params["join"], y.flatten(1))))
  pairs = [*itertools.combinations(range(len(u)), 2)]
  again = [
    dense(params[f"rebuild_{m}"], one + other)
    for m, one, other in zip(modalities, private, shared, strict=True)
  ]
  losses = {
    "similarity": sum(discrepancy(shared[i], shared[j]) for i, j in pairs) / len(pairs),
    "difference": sum(map(overlap, private, shared))
    + sum(overlap(private[i], private[j]) for i, j in pairs),
    "reconstruction": sum(map(F.mse_loss, again, u)) / len(u),
  }
  return y, losses
