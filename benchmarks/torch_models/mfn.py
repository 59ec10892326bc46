"""MFN in PyTorch, with the weights of this library's model and its identities.

A. Zadeh et al., AAAI 2018; written here from the equations. All but the LSTMs and the
memory is done for all steps at once.
"""

import torch
from torch.nn import functional as F

from benchmarks.torch_models.recurrent import cells


def dense(p, x):
  return F.linear(x, p["kernel"].T, p["bias"])


def mlp(p, x):
  return dense(p["output"], F.relu(dense(p["hidden"], x)))


def mfn(params, batch, modalities):
  """Predictions (B, O), and no losses."""
  last, held = [], []
  for m in modalities:
    h, c = cells(params[f"lstm_{m}"], batch[m].transpose(0, 1))
    last.append(h)
    held.append(c)
  held = torch.cat(held, -1)
  both = torch.cat([F.pad(held, (0, 0, 0, 0, 1, 0))[:-1], held], -1)
  chat = mlp(params["attention"], both).softmax(-1) * both
  proposal = torch.tanh(mlp(params["proposal"], chat))
  retain, update = params["retain"], params["update"]
  size = chat.shape[-1]
  before = [
    chat @ p["hidden_kernel"][:size] + p["hidden_bias"] for p in (retain, update)
  ]
  u = proposal.new_zeros(proposal.shape[1:])
  for t in range(len(proposal)):
    gates = []
    for p, products in zip((retain, update), before, strict=True):
      hidden = F.relu(torch.addmm(products[t], u, p["hidden_kernel"][size:]))
      gates.append(
        torch.sigmoid(torch.addmm(p["output_bias"], hidden, p["output_kernel"]))
      )
    u = gates[0] * u + gates[1] * proposal[t]
  y = F.relu(dense(params["hidden"], torch.cat([*last, u], -1)))
  return dense(params["output"], y), {}
