"""PMR (Lv et al. 2021) for one sample, in NumPy float64, real steps alone.

    y, losses, out = pmr(params, sample, modalities=..., heads=..., layers=...)

`sample` has `<m>` (T_m, D_m) and `<m>_mask` (T_m,). `params` are the model's; `layers`
and `encoder` have an axis of layers in front, and units then one of modalities:

    embed_<m>/kernel                               (k, D_m, d)
    layers/{from_hub, to_hub}/                     MRU(hub -> m) and MRU(m -> hub)
      norm_target, norm_source, norm/{scale, bias}
      {cross, self}/{query, key, value}/{kernel (d, heads, d / heads), bias}
      {cross, self}/out/{kernel (heads, d / heads, d), bias}
      gate/{kernel (2 d, d), bias}                 of C, then of S
      {hidden, residual}/{kernel, bias}
    layers/messages/{score_kernel, score_bias}     W_m and b_m, an axis of modalities
    layers/messages/score                          U
    layers/messages/feed_forward/{norm, hidden, output}
    encoder/layer/{norm, attention, feed_forward}, encoder_norm
    head/{hidden, residual, output}/{kernel, bias}

There are no losses. `out` has `weights` (layers, M), the gates of every unit by name,
and the `streams` behind every layer, of real steps alone.
"""

import numpy as np

from tests.reference.bbfn import row
from tests.reference.mult import attention, convolve, layer_norm, linear


def pmr(
  params,
  sample,
  *,
  modalities,
  heads,
  layers,
  encoder_layers,
  residual=True,
  literal=False,
  last=False,
):
  z, real, out = {}, {}, {"weights": [], "streams": []}
  for m in modalities:
    real[m] = np.asarray(sample[f"{m}_mask"], bool)
    x = convolve(params[f"embed_{m}"]["kernel"], np.asarray(sample[m], float), real[m])
    z[m] = x + sinusoids(len(real[m]), x.shape[1])[real[m]]
  hub = np.concatenate([z[m] for m in modalities])
  everywhere = np.concatenate([real[m] for m in modalities])
  for i in range(layers):
    layer, messages = row(params["layers"], i), {}
    for k, m in enumerate(modalities):
      own = row(layer["from_hub"], k)
      z[m], gate = unit(own, z[m], hub, heads, residual)
      out.setdefault(f"from_hub_{m}", []).append(gate)
      own = row(layer["to_hub"], k)
      messages[m], gate = unit(own, hub, z[m], heads, residual)
      out.setdefault(f"to_hub_{m}", []).append(gate)
    here, beta = [m for m in modalities if len(z[m])], []
    for m in here:
      kernel, bias, u = (
        layer["messages"][name] for name in ("score_kernel", "score_bias", "score")
      )
      k = modalities.index(m)
      beta.append(score(kernel[k], bias[k], u, messages[m], everywhere, literal))
    powers = np.exp(beta - np.max(beta, initial=-np.inf))
    shares = dict(zip(here, powers / powers.sum(), strict=True))
    out["weights"].append([shares.get(m, 0.0) for m in modalities])
    hub = sum((shares[m] * messages[m] for m in here), np.zeros_like(hub))
    hub = feed_forward(layer["messages"]["feed_forward"], hub)
    out["streams"].append({**z, "hub": hub})
  parts = [hub, *(z[m] for m in modalities)]
  x = np.concatenate(parts)
  for i in range(encoder_layers):
    layer = row(params["encoder"], i)["layer"]
    normed = layer_norm(layer["norm"], x)
    x = x + attention(layer["attention"], normed, normed, heads)[0]
    x = feed_forward(layer["feed_forward"], x)
  x = layer_norm(params["encoder_norm"], x)
  ends = np.cumsum([len(part) for part in parts])[:-1]
  pool = (lambda part: part[-1]) if last else (lambda part: part.mean(0))
  y = np.concatenate(
    [pool(p) if len(p) else np.zeros(x.shape[1]) for p in np.split(x, ends)]
  )
  head = params["head"]
  y = y + linear(head["residual"], np.maximum(linear(head["hidden"], y), 0.0))
  return linear(head["output"], y), {}, out


def unit(params, target, source, heads, residual):
  """MRU(source -> target), and its gate."""
  t = layer_norm(params["norm_target"], target)
  s = layer_norm(params["norm_source"], source)
  cross, _ = attention(params["cross"], t, s, heads)
  own, _ = attention(params["self"], t, t, heads)
  gate = np.zeros_like(t)
  if len(source):
    both = np.concatenate([cross, own], 1)
    gate = 1.0 / (1.0 + np.exp(-linear(params["gate"], both)))
  x = layer_norm(params["norm"], gate * cross + (1.0 - gate) * own)
  x = target + x if residual else x
  hidden = np.maximum(linear(params["hidden"], x), 0.0)
  return x + linear(params["residual"], hidden), gate


def score(kernel, bias, u, message, everywhere, literal):
  """beta_m: the mean of a score a step, or one of the whole, zeros where nothing is."""
  if not literal:
    return (np.tanh(message @ kernel + bias) @ u).mean()
  whole = np.zeros((len(everywhere), message.shape[1]))
  whole[everywhere] = message
  return np.tanh(whole.reshape(-1) @ kernel + bias) @ u


def feed_forward(params, x):
  hidden = np.maximum(linear(params["hidden"], layer_norm(params["norm"], x)), 0.0)
  return x + linear(params["output"], hidden)


def sinusoids(steps, width):
  result = np.zeros((steps, width))
  for t in range(steps):
    for feature in range(width):
      angle = t / 10000.0 ** (2 * (feature // 2) / width)
      result[t, feature] = np.cos(angle) if feature % 2 else np.sin(angle)
  return result
