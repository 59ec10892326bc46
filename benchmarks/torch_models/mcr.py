"""MCR in PyTorch, on the parameter tree of `mcr_jax.models.mcr`.

`literal=True` computes the exchange of scores and the attention as the equations are
printed; otherwise mixed keys and `scaled_dot_product_attention`. The folded scoring is
used by both: the literal one does not fit in memory at unaligned lengths.
"""

import torch
from torch.nn import functional as F

EPSILON = 1e-5


def mcr(params, batch, *, modalities, heads, literal=False):
  """(B, O) predictions of the paper's variant with all modalities as targets.

  Args:
    params: nested dicts of tensors.
    batch: `<m>` (B, T, D) and `<m>_mask` (B, T).
    modalities: names in order.
    heads: of the self-cross unit and of the encoder.
    literal: see the module.
  """
  masks = {m: batch[f"{m}_mask"] for m in modalities}
  others = {t: [m for m in modalities if m != t] for t in modalities}
  sources = {m: embed(params[f"embed_{m}"], batch[m], masks[m]) for m in modalities}
  targets = dict(sources)
  join = lambda streams, t: torch.cat([streams[s] for s in others[t]], 1)
  joined = {t: join(sources, t) for t in modalities}
  joined_masks = {t: join(masks, t) for t in modalities}
  stacked = params.get("layers")
  depth = len(leaf(stacked)) if stacked else 0
  for i in range(depth + 1):
    layer = take(stacked, i) if i < depth else params["last"]
    for t in modalities:
      near = {s: sources[s] for s in others[t]}
      a = cmu(layer[f"cmu_{t}"], targets[t], near, masks, literal)
      b = scu(
        layer[f"scu_{t}"],
        targets[t],
        joined[t],
        masks[t],
        joined_masks[t],
        heads,
        literal,
      )
      targets[t] = keep(a, masks[t]) + keep(b, masks[t])
    if i < depth:
      sources = {
        m: keep(update(layer[f"update_{m}"], sources[m], targets[m]), masks[m])
        for m in modalities
      }
      joined = {
        t: keep(gate(layer[f"join_{t}"], sources, others[t]), joined_masks[t])
        for t in modalities
      }
  x = torch.cat([targets[t] for t in modalities], 1)
  mask = torch.cat([masks[t] for t in modalities], 1)
  encoder = params["encoder_0"]
  normed = norm(encoder["norm"], x)
  x = x + attention(encoder["attention"], normed, normed, mask, heads, literal)
  x = norm(params["encoder_norm"], keep(feed(encoder["feed_forward"], x), mask))
  parts = x.split([targets[t].shape[1] for t in modalities], 1)
  pooled = [
    keep(z, masks[t]).sum(1) / masks[t].sum(1, keepdim=True).clamp(min=1)
    for t, z in zip(modalities, parts, strict=True)
  ]
  x = torch.cat(pooled, -1)
  head = params["head"]
  x = x + dense(head["residual"], F.relu(dense(head["hidden"], x)))
  return dense(head["output"], x)


def cmu(p, target, sources, masks, literal):
  """Eqs. 2-5."""
  normed = norm(p["norm_target"], target)
  width = target.shape[-1]
  flat = lambda k: k.reshape(width, width)
  query = normed @ flat(p["query"]["kernel"])
  keys, values = {}, {}
  for s, z in sources.items():
    z = norm(p[f"norm_{s}"], z)
    keys[s] = keep(z @ flat(p[f"key_{s}"]["kernel"]), masks[s])
    values[s] = keep(z @ flat(p[f"value_{s}"]["kernel"]), masks[s])
  sums = torch.cat([z.sum(-1) for z in sources.values()], -1)
  mask = torch.cat([masks[s] for s in sources], -1)
  alphas = sums.masked_fill(~mask, float("-inf")).softmax(-1)
  alphas = alphas.split([z.shape[1] for z in sources.values()], -1)
  total, scale = normed, width**-0.5
  for s, alpha in zip(sources, alphas, strict=True):
    r = next(name for name in sources if name != s)
    steps = keys[r].shape[1], keys[s].shape[1]
    matrix = p[f"exchange_{r}_{s}"][: steps[0], : steps[1]]
    bias = alpha * p[f"exchange_bias_{s}"][: steps[1]]
    if literal:
      score = lambda k: scale * query @ keys[k].transpose(1, 2)
      exchanged = alpha[:, None] * (score(r) @ matrix)
      scores = score(s) + exchanged + bias[:, None]
      scores = scores.masked_fill(~masks[s][:, None], float("-inf"))
      total = total + scores.softmax(-1) @ values[s]
    else:
      mixed = torch.einsum("brd,rs->bsd", keys[r], matrix)
      key = keys[s] + alpha[..., None] * mixed
      bias = bias.masked_fill(~masks[s], float("-inf"))[:, None]
      total = (
        total
        + F.scaled_dot_product_attention(
          query[:, None], key[:, None], values[s][:, None], bias[:, None], scale=scale
        )[:, 0]
      )
  return feed(p["feed_forward"], total)


def scu(p, target, joined, mask, joined_mask, heads, literal):
  """Eqs. 6-11 with folded scoring."""
  normed, source = norm(p["norm_target"], target), norm(p["norm_source"], joined)
  cross = attention(p["cross"], normed, source, joined_mask, heads, literal)
  itself = attention(p["self"], normed, normed, mask, heads, literal)
  cross, itself = keep(cross, mask), keep(itself, mask)
  steps = target.shape[1]
  score = lambda f, w, c: (f * w[:steps]).sum((1, 2)) + c
  beta = torch.stack(
    [
      score(cross, p["score_cross"], p["score_bias"][0]),
      score(itself, p["score_self"], p["score_bias"][1]),
    ],
    -1,
  )
  gamma = beta.softmax(-1)[..., None, None]
  return feed(p["feed_forward"], gamma[:, 0] * cross + gamma[:, 1] * itself)


def update(p, source, target):
  """Eqs. 13-14."""
  fresh = feed(p["feed_forward"], source)
  mu = fresh @ p["source"]["kernel"] + target @ p["target"]["kernel"]
  mu = torch.sigmoid(mu + p["bias"][: source.shape[1]])
  return (1 - mu) * torch.tanh(target) + mu * fresh


def gate(p, sources, names):
  """Eqs. 15-16."""
  z = torch.cat([sources[s] for s in names], 1)
  bias = torch.cat([p[f"bias_{s}"][: sources[s].shape[1]] for s in names])
  return torch.sigmoid(z @ p["gate"]["kernel"] + bias) * torch.tanh(z)


def attention(p, x, memory, mask, heads, literal):
  """Multi-head attention with an output projection."""
  width = x.shape[-1]

  def split(z, name):
    projected = z @ p[name]["kernel"].reshape(width, width)
    return projected.unflatten(-1, (heads, -1)).transpose(1, 2)

  q, k, v = split(x, "query"), split(memory, "key"), split(memory, "value")
  if literal:
    scores = q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5
    scores = scores.masked_fill(~mask[:, None, None], float("-inf"))
    read = scores.softmax(-1) @ v
  else:
    read = F.scaled_dot_product_attention(q, k, v, mask[:, None, None])
  kernel = p["out"]["kernel"].reshape(width, width)
  return read.transpose(1, 2).flatten(2) @ kernel + p["out"]["bias"]


def embed(p, x, mask):
  """Temporal convolution and sinusoidal positions."""
  kernel = p["kernel"].permute(2, 1, 0)
  x = keep(x, mask).transpose(1, 2)
  z = F.conv1d(x, kernel, p["bias"], padding=kernel.shape[-1] // 2).transpose(1, 2)
  steps, width = z.shape[1:]
  i = torch.arange(width)
  angles = torch.arange(steps)[:, None] * 10000.0 ** (-2 * (i // 2) / width)
  return keep(z + torch.where(i % 2 == 0, angles.sin(), angles.cos()), mask)


def feed(p, x):
  """Feed-forward layer with skip."""
  return x + dense(p["output"], F.relu(dense(p["hidden"], norm(p["norm"], x))))


def norm(p, x):
  return F.layer_norm(x, x.shape[-1:], p["scale"], p["bias"], EPSILON)


def dense(p, x):
  return x @ p["kernel"] + p["bias"]


def keep(x, mask):
  return torch.where(mask[..., None], x, torch.zeros((), dtype=x.dtype))


def take(tree, i):
  """One layer of a stacked tree."""
  return {k: take(v, i) if isinstance(v, dict) else v[i] for k, v in tree.items()}


def leaf(tree):
  """Any array of a tree."""
  first = next(iter(tree.values()))
  return leaf(first) if isinstance(first, dict) else first
