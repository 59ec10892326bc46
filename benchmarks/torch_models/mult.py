"""MulT in PyTorch as its authors publish it: no lengths, so padding is attended to.

Y.-H. H. Tsai et al., "Multimodal transformer for unaligned multimodal language
sequences", ACL 2019. Written here from the paper and from the sizes that it states;
accepted as the published model by its parameter count, 1,073,731 at 300/74/35 features,
width 30, 5 heads and 5 layers.
"""

import math

import torch
from torch import nn
from torch.nn import functional as F


class Attention(nn.Module):
  """Multi-head attention with biases, optionally blind to what lies ahead."""

  def __init__(self, width: int, heads: int):
    super().__init__()
    self.heads = heads
    self.query, self.key, self.value, self.out = (
      nn.Linear(width, width) for _ in range(4)
    )

  def forward(self, x, memory):
    split = lambda z: z.unflatten(-1, (self.heads, -1)).transpose(1, 2)
    q, k, v = split(self.query(x)), split(self.key(memory)), split(self.value(memory))
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
    ahead = abs(k.shape[2] - q.shape[2])
    later = torch.ones(q.shape[2], k.shape[2], dtype=torch.bool).triu(1 + ahead)
    scores = scores.masked_fill(later, float("-inf"))
    read = scores.softmax(-1) @ v
    return self.out(read.transpose(1, 2).flatten(2))


class Layer(nn.Module):
  """Pre-norm attention and feed-forward layer."""

  def __init__(self, width: int, heads: int):
    super().__init__()
    self.attention = Attention(width, heads)
    self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
    self.hidden = nn.Linear(width, 4 * width)
    self.output = nn.Linear(4 * width, width)

  def forward(self, x, memory=None):
    normed = self.norms[0](x)
    source = normed if memory is None else self.norms[0](memory)
    x = x + self.attention(normed, source)
    return x + self.output(F.relu(self.hidden(self.norms[1](x))))


class Transformer(nn.Module):
  """Positions, layers, and a last norm."""

  def __init__(self, width: int, heads: int, layers: int):
    super().__init__()
    self.layers = nn.ModuleList(Layer(width, heads) for _ in range(layers))
    self.norm = nn.LayerNorm(width)

  def forward(self, x, memory=None):
    x = embed(x)
    memory = None if memory is None else embed(memory)
    for layer in self.layers:
      x = layer(x, memory)
    return self.norm(x)


def embed(x):
  """sqrt(d) x + sinusoidal positions."""
  steps, width = x.shape[1:]
  half = width // 2
  rates = torch.exp(torch.arange(half) * -(math.log(10000) / (half - 1)))
  angles = torch.arange(1, steps + 1)[:, None] * rates
  positions = torch.cat([angles.sin(), angles.cos()], 1)
  return math.sqrt(width) * x + F.pad(positions, (0, width - 2 * half))


class MulT(nn.Module):
  """Every modality reads every other; the last step of each target is classified."""

  def __init__(self, widths: dict[str, int], width=30, heads=5, layers=5, outputs=1):
    super().__init__()
    names = list(widths)
    self.names = names
    self.embed = nn.ModuleDict(
      {m: nn.Conv1d(n, width, 1, bias=False) for m, n in widths.items()}
    )
    self.cross = nn.ModuleDict(
      {
        f"{t}_{s}": Transformer(width, heads, layers)
        for t in names
        for s in names
        if s != t
      }
    )
    joined = width * (len(names) - 1)
    self.itself = nn.ModuleDict(
      {t: Transformer(joined, heads, max(layers, 3)) for t in names}
    )
    total = joined * len(names)
    self.hidden, self.residual = nn.Linear(total, total), nn.Linear(total, total)
    self.output = nn.Linear(total, outputs)

  def forward(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    low = {
      m: self.embed[m](batch[m].transpose(1, 2)).transpose(1, 2) for m in self.names
    }
    last = []
    for t in self.names:
      reads = [self.cross[f"{t}_{s}"](low[t], low[s]) for s in self.names if s != t]
      last.append(self.itself[t](torch.cat(reads, -1))[:, -1])
    x = torch.cat(last, -1)
    x = x + self.residual(F.relu(self.hidden(x)))
    return self.output(x)
