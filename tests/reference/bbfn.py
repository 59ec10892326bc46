"""BBFN (Han et al. 2021) for one sample, in NumPy float64, real steps alone.

    y, losses, out = bbfn(params, sample, modalities=..., heads=..., layers=...)

`sample` has `<m>` (T_m, D_m) and `<m>_mask` (T_m,). `params` are the model's, o every
modality but the first one l, G the streams l, o_1, l, o_2, ... in turn; `rest` has an
axis of layers in front:

    kernel_<m>                                (k, D_m, d)
    first/control/dense/{kernel, bias}        (G, d, d), (G, d)
    rest/control/gru/{kernel, recurrent, bias, candidate_bias}
                                              (2 G, ...), G forward and then G backward
    {first, rest}/separator_<o>/{hidden, output}/{kernel, bias}
    {first, rest}/pair_<o>/{text, other}/     attention_norm/{scale, bias}
      attention/{query, key, value}/{kernel (d, heads, d / heads), bias}
      attention/out/{kernel (heads, d / heads, d), bias}
      gates/{kernel (2 d, 2 d), bias}         W_f, then W_m
      feed_forward/                           norm, hidden, output
    head/{hidden, residual, output}/{kernel, bias}

`losses` has the separator, `out` the features that the head reads.
"""

import numpy as np

from tests.reference.mult import attention, convolve, layer_norm, linear
from tests.reference.recurrent import gru, sigmoid


def bbfn(params, sample, *, modalities, heads, layers, has_cls=False):
  text, *others = modalities
  width, start, first = len(params["head"]["output"]["kernel"]), {}, {}
  width = width // (2 * len(others))
  for m in modalities:
    mask = np.asarray(sample[f"{m}_mask"], bool)
    x = np.where(mask[:, None], sample[m], 0.0)
    real = mask.copy()
    real[0] |= has_cls and mask.any()
    start[m] = convolve(params[f"kernel_{m}"], x, np.ones(len(x), bool))[real]
    first[m] = mask.any()
  features, wrong = [], []
  for k, o in enumerate(others):
    s_l, s_o = start[text], start[o]
    for i in range(layers):
      layer = row(params["rest"], i - 1) if i else params["first"]
      c_l = control(layer["control"], 2 * k, s_l, 2 * len(others))
      c_o = control(layer["control"], 2 * k + 1, s_o, 2 * len(others))
      if first[text] and first[o]:
        tell = lambda c, p=layer[f"separator_{o}"]: sigmoid(
          linear(p["output"], np.maximum(linear(p["hidden"], c), 0.0))[0]
        )
        wrong += [-np.log(1.0 - tell(c_l)), -np.log(tell(c_o))]
      r, pair = np.concatenate([c_l, c_o]), layer[f"pair_{o}"]
      s_l, s_o = (
        direction(pair["text"], s_l, s_o, r, heads),
        direction(pair["other"], s_o, s_l, r, heads),
      )
    pool = lambda s: s[0] if has_cls else s.mean(0)
    of_text = pool(s_l) if first[text] and first[o] else np.zeros(width)
    features += [of_text, pool(s_o) if first[o] else np.zeros(width)]
  x, head = np.concatenate(features), params["head"]
  y = x + linear(head["residual"], np.maximum(linear(head["hidden"], x), 0.0))
  loss = np.mean(wrong) if wrong else 0.0
  return linear(head["output"], y), {"separator": loss}, {"features": x}


def row(tree, at):
  """Every array of a tree at a place of its first axis."""
  if hasattr(tree, "items"):
    return {name: row(branch, at) for name, branch in tree.items()}
  return tree[at]


def control(params, stream, x, streams):
  if len(x) == 0:
    return np.zeros(x.shape[1])
  if "dense" in params:
    return linear(row(params["dense"], stream), x.mean(0))
  forward = gru(row(params["gru"], stream), x)[0]
  backward = gru(row(params["gru"], streams + stream), x, reverse=True)[0]
  return (forward.mean(0) + backward.mean(0)) / 2


def direction(params, x, memory, r, heads):
  if len(x) == 0:
    return x
  norm = params["attention_norm"]
  read, _ = attention(
    params["attention"], layer_norm(norm, x), layer_norm(norm, memory), heads
  )
  take, hold = np.split(sigmoid(linear(params["gates"], r)), 2)
  x = read * take + x * hold
  feed = params["feed_forward"]
  hidden = np.maximum(linear(feed["hidden"], layer_norm(feed["norm"], x)), 0.0)
  return x + linear(feed["output"], hidden)
