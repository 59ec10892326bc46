"""The head of CM-BERT (Yang et al. 2020) for one sample, in NumPy float64.

    prediction, out = cm_bert(params, sample, modalities=("text", "audio"))

`sample` has `<m>` (T, D) and `<m>_mask` (T,), all of one T. `params` are the model's:

    project_<m>/kernel (D_m, channels), agreement_<m> (1,)
    {mix, output}/{kernel, bias}, norm/{scale, bias}

`out` has the attention over the words, CLS first, those left out that text lacks, the
features of the last layer, and the norm of every projected modality. Given as `norms`
these are constants, as they are for gradients.
"""

import numpy as np


def cm_bert(params, sample, *, modalities, has_cls=False, cls_audio="mean", norms=None):
  text, *others = modalities
  mask = np.asarray(sample[f"{text}_mask"], bool)
  if not mask.any():
    features = np.zeros(len(params["mix"]["kernel"]))
    out = {"attention": np.zeros(0), "features": features, "norms": {}}
    return params["output"]["bias"], out
  # Every word as a pair (place, features); CLS has no place.
  rows = {t: sample[text][t] for t in np.flatnonzero(mask)}
  start = rows.pop(0) if has_cls else sum(rows.values()) / len(rows)
  places = list(rows)
  tokens = np.array([start, *rows.values()])
  found, score = {}, 0.0
  heard, whole = {text: tokens}, {text: tokens}
  for m in others:
    theirs = [t for t in np.flatnonzero(sample[f"{m}_mask"]) if t or not has_cls]
    zero = np.zeros(sample[m].shape[1])
    words = {t: sample[m][t] for t in theirs}
    first = sum(words.values()) / len(words) if words else zero
    first = zero if cls_audio == "zero" else first
    whole[m] = np.array([first, *words.values()])
    heard[m] = np.array([first, *(words.get(t, zero) for t in places)])
  for m in modalities:
    kernel = params[f"project_{m}"]["kernel"]
    found[m] = norms[m] if norms else np.sqrt(np.sum((whole[m] @ kernel) ** 2))
    x = heard[m] @ kernel / np.sqrt(found[m] or 1.0)
    score = score + params[f"agreement_{m}"][0] * np.maximum(x @ x[0], 0.0)
  attention = np.exp(score - score.max())
  attention = attention / attention.sum()
  y = linear(params["mix"], attention @ tokens + tokens[0])
  y = (y - y.mean()) / np.sqrt(y.var() + 1e-5)
  y = y * params["norm"]["scale"] + params["norm"]["bias"]
  out = {"attention": attention, "features": y, "norms": found}
  return linear(params["output"], y), out


def linear(params, x):
  return x @ params["kernel"] + params["bias"]
