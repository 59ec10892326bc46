"""MCTN in PyTorch, with the weights of this library's model and its identities.

H. Pham et al., AAAI 2019; written here from the equations. What scores a source is one
product before the loop of a decoder.
"""

import torch
from torch.nn import functional as F

from benchmarks.torch_models.mfn import dense
from benchmarks.torch_models.recurrent import cell, layer


def encode(p, x):
  """(T, B, H), the sum of both directions."""
  return sum(layer([p["forward"], p["backward"]], x).chunk(2, -1))


def decode(p, source):
  """As many steps as the source has; every one reads it by attention."""
  e = source.transpose(0, 1)
  products = e @ p["source_kernel"] + p["score_bias"]
  both = torch.cat([p["kernel"], p["recurrent"]])
  h = c = e.new_zeros(len(e), e.shape[-1])
  found = []
  for _ in range(len(source)):
    scores = torch.tanh(products + (c @ p["cell_kernel"])[:, None]) @ p["score_kernel"]
    read = (scores.softmax(1).transpose(1, 2) @ e)[:, 0]
    h, c = cell(torch.addmm(p["bias"], torch.cat([read, h], -1), both), c)
    found.append(h)
  return torch.stack(found)


def mctn(params, batch, modalities):
  """Predictions (B, O), and the losses by name."""
  x = {m: batch[m].transpose(0, 1) for m in modalities}
  first, second, third = modalities
  into = lambda m, z: dense(params[f"in_{m}"], z)
  made = lambda m, level, z: dense(
    params[f"out_{m}"], decode(params[f"decoder_{level}"], z)
  )
  encoder = params["encoder_1"]
  e = encode(encoder, into(first, x[first]))
  translated = made(second, 1, e)
  back = made(first, 1, encode(encoder, into(second, translated)))
  e = encode(params["encoder_2"], e)
  further = made(third, 2, e)
  states = layer([params["lstm"]], e)
  weights = torch.tanh(dense(params["attention"], states)).softmax(0)
  y = dense(params["output"], (weights * states).sum(0))
  losses = {
    "translation": F.mse_loss(translated, x[second]),
    "cycle": F.mse_loss(back, x[first]),
    "further": F.mse_loss(further, x[third]),
    "l2": params["output"]["kernel"].square().sum(),
  }
  return y, losses
