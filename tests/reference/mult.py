"""MulT (Tsai et al. 2019), the published network, for one sample at a time.

Plain NumPy float64. As in the MCR oracle, only the steps that exist are kept after the
convolution (`steps` holds their places in time), so nothing is ever masked.

    prediction, out = mult(params, sample, modalities=..., heads=..., layers=...,
                           self_layers=...)

What it computes, with M modalities of width d:

1. Modality m is convolved along time (kernel k_m, zeros outside, no bias) to width d,
   giving x_m. Steps that do not exist are zeros before and after.
2. For every ordered pair t <- s, a crossmodal transformer reads p(x_t) and p(x_s), with
   p(x) = sqrt(width) x + sinusoids: sine on even features 2i, cosine on odd ones
   2i + 1, angle t / 10000^(2i / width), t from 0 and counting holes. Its layers are
       x <- x + MHA(LN(x), LN(p(x_s)))      one LN for both
       x <- x + W_o relu(W_h LN'(x) + b_h) + b_o
   and a last LN follows. The memory p(x_s) is the same low-level one in every layer.
3. For every target the results of its sources, in the order of `modalities`, are joined
   on features to width (M - 1) d and read by a self-attention transformer of the same
   form, p included (now with that width), with `self_layers` layers.
4. The last step that exists of every target, zero if there is none, is joined in the
   order of `modalities` to y, M (M - 1) d wide; then y + W_r relu(W_h y + b_h) + b_r
   and the output layer.

With one modality its only source is itself, and widths are d throughout. All q, k, v
and out projections have biases; scale 1/sqrt(width / heads). A query without any key
reads zeros, the bias of the out projection included.

Deviations from the authors' program: convolutions keep the length (there they shorten
it by k_m - 1), padding is never attended, no attention looks away from the future
(its `attn_mask`), and sinusoids alternate sine and cosine (there all sines come first)
and start at step 0. There the depth of the self-attention transformers is
max(3, layers).

The tree, K = (k_m, D_m, d), w the width of the transformer at hand:

    embed_<m>/kernel                       K
    cross_<t>_<s>/layer_<i>/               w = d, i = 0 .. layers - 1
      attention_norm/{scale, bias}         (w,)
      attention/{query, key, value}/kernel (w, heads, w / heads)
      attention/{query, key, value}/bias   (heads, w / heads)
      attention/out/kernel                 (heads, w / heads, w), bias (w,)
      feed_forward_norm/{scale, bias}      (w,)
      hidden/{kernel (w, 4 w), bias (4 w,)}
      output/{kernel (4 w, w), bias (w,)}
    cross_<t>_<s>/norm/{scale, bias}       (w,), after the layers
    self_<t>/...                           the same, w = (M - 1) d
    head/{hidden, residual}                kernel (n, n), bias (n,), n = M (M - 1) d
    head/output                            kernel (n, prod(outputs)), bias

`out` holds, at the full length of the sample's arrays and zero where no step is:
`cross_attention[(t, s, i)]` (heads, T_t, T_s), `self_attention[(t, i)]`
(heads, T_t, T_t), `cross[(t, s)]` (T_t, d), `self[(t,)]` (T_t, w), `last[(t,)]` (w,).
"""

import numpy as np


def mult(params, sample, *, modalities, heads, layers, self_layers, outputs=None):
  """The prediction for one sample and a dict of intermediates."""
  params, out = numbers(params), {}
  steps, full, streams = {}, {}, {}
  for m in modalities:
    mask = np.asarray(sample[m + "_mask"], bool)
    steps[m], full[m] = np.flatnonzero(mask), len(mask)
    x = np.asarray(sample[m], np.float64)
    streams[m] = convolve(params["embed_" + m]["kernel"], x, mask)

  last = []
  for t in modalities:
    reads = []
    for s in [m for m in modalities if m != t] or [t]:
      x = positioned(streams[t], steps[t])
      memory = positioned(streams[s], steps[s])
      tree = params[f"cross_{t}_{s}"]
      for i in range(layers):
        x, maps = layer(tree[f"layer_{i}"], x, memory, heads)
        maps = spread(spread(maps, 1, steps[t], full[t]), 2, steps[s], full[s])
        out.setdefault("cross_attention", {})[(t, s, i)] = maps
      reads.append(layer_norm(tree["norm"], x))
      out.setdefault("cross", {})[(t, s)] = spread(reads[-1], 0, steps[t], full[t])

    x = positioned(np.concatenate(reads, axis=1), steps[t])
    tree = params["self_" + t]
    for i in range(self_layers):
      x, maps = layer(tree[f"layer_{i}"], x, None, heads)
      maps = spread(spread(maps, 1, steps[t], full[t]), 2, steps[t], full[t])
      out.setdefault("self_attention", {})[(t, i)] = maps
    x = layer_norm(tree["norm"], x)
    out.setdefault("self", {})[(t,)] = spread(x, 0, steps[t], full[t])
    last.append(x[-1] if len(x) else np.zeros(x.shape[1]))
    out.setdefault("last", {})[(t,)] = last[-1]

  y, head = np.concatenate(last), params["head"]
  y = y + linear(head["residual"], np.maximum(linear(head["hidden"], y), 0.0))
  prediction = linear(head["output"], y)
  return (prediction if outputs is None else prediction.reshape(outputs)), out


def mult_batch(params, batch, **settings):
  """`mult` on every row of a batch by itself: stacked predictions, a list of outs."""
  names = [key for m in settings["modalities"] for key in (m, m + "_mask")]
  size = len(batch[names[0]])
  pairs = [
    mult(params, {n: batch[n][i] for n in names}, **settings) for i in range(size)
  ]
  return np.stack([prediction for prediction, _ in pairs]), [out for _, out in pairs]


def convolve(kernel, x, mask):
  """Along time; only the steps that exist."""
  x = np.where(mask[:, None], x, 0.0)
  left = (len(kernel) - 1) // 2
  rows = np.zeros((len(x), kernel.shape[2]))
  for t in range(len(x)):
    for j in range(len(kernel)):
      if 0 <= t + j - left < len(x):
        rows[t] += x[t + j - left] @ kernel[j]
  return rows[mask]


def positioned(x, steps):
  """sqrt(width) x plus the sinusoids of the steps."""
  width = x.shape[1]
  result = np.sqrt(width) * x
  for row, t in enumerate(steps):
    for feature in range(width):
      angle = t / 10000.0 ** (2 * (feature // 2) / width)
      result[row, feature] += np.cos(angle) if feature % 2 else np.sin(angle)
  return result


def layer(params, x, memory, heads):
  """One pre-norm layer; without `memory` it attends to itself."""
  queries = layer_norm(params["attention_norm"], x)
  keys = queries if memory is None else layer_norm(params["attention_norm"], memory)
  attended, maps = attention(params["attention"], queries, keys, heads)
  x = x + attended
  hidden = linear(params["hidden"], layer_norm(params["feed_forward_norm"], x))
  return x + linear(params["output"], np.maximum(hidden, 0.0)), maps


def attention(params, queries, memory, heads):
  """Multi-head attention; without a key, zero also after the out projection."""
  maps = np.zeros((heads, len(queries), len(memory)))
  result = np.zeros(queries.shape)
  if len(memory) == 0:
    return result, maps
  for head in range(heads):
    project = lambda name, x, head=head: (
      x @ params[name]["kernel"][:, head] + params[name]["bias"][head]
    )
    query, key = project("query", queries), project("key", memory)
    logits = query @ key.T / np.sqrt(queries.shape[1] // heads)
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    maps[head] = powers / powers.sum(-1, keepdims=True)
    read = maps[head] @ project("value", memory)
    result = result + read @ params["out"]["kernel"][head]
  return result + params["out"]["bias"], maps


def spread(values, axis, steps, full):
  """Puts the steps that exist back to their places among `full` steps."""
  moved = np.moveaxis(values, axis, 0)
  result = np.zeros((full, *moved.shape[1:]))
  result[steps] = moved
  return np.moveaxis(result, 0, axis)


def layer_norm(params, x):
  mean = x.mean(-1, keepdims=True)
  variance = ((x - mean) ** 2).mean(-1, keepdims=True)
  return (x - mean) / np.sqrt(variance + 1e-5) * params["scale"] + params["bias"]


def linear(params, x):
  return x @ params["kernel"] + params["bias"]


def numbers(tree):
  """The tree as nested dicts of float64 arrays."""
  if hasattr(tree, "items"):
    return {name: numbers(branch) for name, branch in tree.items()}
  return np.asarray(tree, np.float64)
