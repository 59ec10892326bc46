"""The shape of every parameter of the oracles, as nested dicts, and random draws."""

import numpy as np


def draw(shapes, rng, scale=0.3):
  """Random float64 parameters; every one is away from zero, scales are around one."""
  if not isinstance(shapes, dict):
    return rng.normal(size=shapes) * scale
  return {
    name: 1.0 + 0.2 * rng.normal(size=branch)
    if name == "scale"
    else draw(branch, rng, scale)
    for name, branch in shapes.items()
  }


def count(shapes):
  """How many numbers the tree holds."""
  if isinstance(shapes, dict):
    return sum(count(branch) for branch in shapes.values())
  return int(np.prod(shapes))


def norm(*shape):
  return {"scale": shape, "bias": shape}


def dense(rows, columns):
  return {"kernel": (rows, columns), "bias": (columns,)}


def block_head(width, outputs):
  return {
    "hidden": dense(width, width),
    "residual": dense(width, width),
    "output": dense(width, int(np.prod(outputs))),
  }


def mcr(
  *,
  modalities,
  lengths,
  features,
  kernels,
  width,
  targets=None,
  heads=1,
  cmu_heads=1,
  num_layers=1,
  encoder_layers=1,
  source_update="sum",
  scu_scoring="folded",
  cmu=True,
  scu=True,
  mutual_attention=True,
  attention_layer=True,
  outputs=(1,),
):
  """The tree that `reference.mcr.mcr` reads; `features` and `kernels` by modality."""
  lengths, d = dict(lengths), width
  targets = modalities if targets is None else targets
  sources = {t: [m for m in modalities if m != t] or [t] for t in targets}

  forward = {"norm": norm(d), "hidden": dense(d, 4 * d), "output": dense(4 * d, d)}
  split = {"kernel": (d, heads, d // heads)}
  attend = {
    "query": split,
    "key": split,
    "value": split,
    "out": {"kernel": (heads, d // heads, d), "bias": (d,)},
  }

  def cmu_unit(t):
    split = {"kernel": (d, cmu_heads, d // cmu_heads)}
    unit = {"norm_target": norm(d), "query": split, "feed_forward": forward}
    for s in sources[t]:
      unit |= {f"norm_{s}": norm(d), f"key_{s}": split, f"value_{s}": split}
      if mutual_attention and len(sources[t]) > 1:
        unit[f"exchange_bias_{s}"] = (lengths[s],)
        for r in sources[t]:
          if r != s:
            unit[f"exchange_{r}_{s}"] = (lengths[r], lengths[s])
    return unit

  def scu_unit(t):
    unit = {"norm_source": norm(d), "norm_target": norm(d)}
    unit |= {"cross": attend, "self": attend, "feed_forward": forward}
    n = lengths[t] * d
    if attention_layer and scu_scoring == "folded":
      unit |= {name: (lengths[t], d) for name in ("score_cross", "score_self")}
      unit["score_bias"] = (2,)
    elif attention_layer:
      unit |= {"W_cross": (n, n), "W_self": (n, n)}
      unit |= {"b_cross": (n,), "b_self": (n,), "U": (n,)}
    return unit

  last, inner = {}, {}
  for t in targets:
    if cmu:
      last[f"cmu_{t}"] = cmu_unit(t)
    if scu:
      last[f"scu_{t}"] = scu_unit(t)
    if source_update in ("sum", "sum_no_smm"):
      biases = {f"bias_{s}": (lengths[s], d) for s in sources[t]}
      inner[f"join_{t}"] = {"gate": {"kernel": (d, d)}, **biases}
  for m in modalities:
    if source_update != "low_level":
      inner[f"update_{m}"] = {"feed_forward": forward}
    if source_update == "sum" and m in targets:
      square = {"kernel": (d, d)}
      inner[f"update_{m}"] |= {
        "source": square,
        "target": square,
        "bias": (lengths[m], d),
      }

  tree = {"last": last, "encoder_norm": norm(d)}
  for m in modalities:
    kernel = (kernels[m], features[m], d)
    tree[f"embed_{m}"] = {"kernel": kernel, "bias": (d,)}
  for i in range(encoder_layers):
    tree[f"encoder_{i}"] = {
      "norm": norm(d),
      "attention": attend,
      "feed_forward": forward,
    }
  if num_layers > 1:
    tree["layers"] = stacked({**last, **inner}, num_layers - 1)
  tree["head"] = block_head(len(targets) * d, outputs)
  return tree


def mia_net(
  *,
  main,
  auxiliaries,
  features,
  channels,
  kernel_size=1,
  kernel="regularized",
  outputs=(1,),
):
  """The parameters and the running statistics that `mia_net.mia_net` reads."""
  c, d = channels, features[main]
  if not auxiliaries:
    return {"output": dense(d, int(np.prod(outputs)))}, {}
  tree, statistics = {}, {}
  for m in (main, *auxiliaries):
    conv = {"kernel": (3, 1, c), "bias": (c,)}
    tree[f"lift_{m}"] = {"conv": conv, "norm": norm(c, features[m])}
  for n in range(len(auxiliaries)):
    tree[f"module_{n}"] = {
      "kernel": {"L" if kernel == "psd" else "W": (c, c)},
      "gate": {"kernel": (kernel_size, c, c), "bias": (c,)},
      "fuse": {"kernel": (kernel_size, 2 * c, c), "bias": (c,)},
      "norm": norm(c),
    }
    statistics[f"module_{n}"] = {"norm": {"mean": (c,), "var": (c,)}}
  tree["ffn"] = {"hidden": dense(d, 4 * d), "output": dense(4 * d, d)}
  tree["output"] = dense(c * d, int(np.prod(outputs)))
  return tree, statistics


def mult(
  *, modalities, features, kernels, width, heads, layers, self_layers, outputs=(1,)
):
  """The tree that `mult.mult` reads; `features` and `kernels` by modality."""

  def transformer(w, number):
    split = {"kernel": (w, heads, w // heads), "bias": (heads, w // heads)}
    layer = {
      "attention_norm": norm(w),
      "attention": {
        "query": split,
        "key": split,
        "value": split,
        "out": {"kernel": (heads, w // heads, w), "bias": (w,)},
      },
      "feed_forward_norm": norm(w),
      "hidden": dense(w, 4 * w),
      "output": dense(4 * w, w),
    }
    return {f"layer_{i}": layer for i in range(number)} | {"norm": norm(w)}

  tree = {}
  joined = max(1, len(modalities) - 1) * width
  for t in modalities:
    tree[f"embed_{t}"] = {"kernel": (kernels[t], features[t], width)}
    for s in [m for m in modalities if m != t] or [t]:
      tree[f"cross_{t}_{s}"] = transformer(width, layers)
    tree[f"self_{t}"] = transformer(joined, self_layers)
  tree["head"] = block_head(len(modalities) * joined, outputs)
  return tree


def stacked(shapes, number):
  """The same tree with a leading axis of `number`."""
  if isinstance(shapes, dict):
    return {name: stacked(branch, number) for name, branch in shapes.items()}
  return (number, *shapes)
