"""MFM (Tsai et al. 2019) for one sample, step by step, in NumPy float64.

    prediction, generation, out = mfm(params, sample, modalities=("text", "audio"))

`sample` is that of `reference.mfn`. `params` are the model's, as nested dicts: those of
MFN without its last MLP, and

    encoder_<m>, decoder_<m>                             see `reference.recurrent`
    code, code_<m>, generated_<m>, hidden, output: {kernel, bias}
    factor, factor_<m>: {hidden, output}/{kernel, bias}

`generation` is the sum of the errors of modalities, each times its weight. `out` has
codes and factors by modality, `label` those of the label, what is generated (n, D) for
the steps that a modality has, and what `reference.mfn` keeps.
"""

import numpy as np

from tests.reference.mfn import linear, lstm, mfn, mlp
from tests.reference.recurrent import lstm as run


def mfm(params, sample, *, modalities, weights):
  # MFN with a last layer that hands on what it reads.
  states = sum(len(params[f"lstm_{m}"]["recurrent"]) for m in modalities)
  size = states + len(params["update"]["output_bias"])
  through = {"kernel": np.eye(size, 2 * size) - np.eye(size, 2 * size, size)}
  back = {"kernel": through["kernel"].T, "bias": np.zeros(size)}
  last = {"hidden": {**through, "bias": np.zeros(2 * size)}, "output": back}
  joined, out = mfn({**params, **last}, sample, modalities=modalities)
  codes, factors, made, generation = (
    {"label": linear(params["code"], joined)},
    {},
    {},
    0,
  )
  for m in modalities:
    x = sample[m][sample[f"{m}_mask"]]
    hidden = run(params[f"encoder_{m}"], x)[0]
    h = hidden[-1] if len(x) else np.zeros(hidden.shape[1])
    codes[m] = linear(params[f"code_{m}"], h)
  for name, z in codes.items():
    layers = params["factor" if name == "label" else f"factor_{name}"]
    factors[name] = np.maximum(mlp(layers, z), 0.0)
  for m in modalities:
    x = sample[m][sample[f"{m}_mask"]]
    fed = np.concatenate([factors["label"], factors[m]])
    h, c, rows = np.zeros_like(fed), np.zeros_like(fed), []
    for _ in x:
      h, c = lstm(params[f"decoder_{m}"], fed, h, c)
      rows.append(linear(params[f"generated_{m}"], h))
      fed = h
    made[m] = np.reshape(rows, x.shape)
    if len(x):
      generation += weights.get(m, 1.0) * np.square(made[m] - x).mean()
  prediction = mlp(params, factors["label"])
  out |= {"codes": codes, "factors": factors, "generated": made}
  return prediction, generation, out
