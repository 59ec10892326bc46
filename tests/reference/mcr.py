"""MCR (Yang et al. 2023) written down equation by equation, for one sample at a time.

This is what the model is measured against, so it is plain and slow on purpose: after
the convolution only the steps that exist are kept (`steps` holds their places in
time, which pick the rows of parameters tied to a position), so nothing is ever
masked; heads are looped over; the exchange is the printed `E C + b`; `W`, `U` and `b`
of the attention layer are multiplied out. It imports only NumPy, in float64.

    prediction, out = mcr(params, sample, modalities=..., lengths=..., heads=...)

`params` is the model's parameter tree as nested dicts; `sample` has, for each modality
m, `m` (T, D) and `m_mask` (T,). `out` maps a name to a dict of arrays; keys are tuples
that start with the layer, counted from 0. Time axes are as long as the sample's
arrays, with zeros where no step is (rows of queries as well as columns of keys):

    alpha (layer, target, source): (T_s,)
    cmu_attention (layer, target, source): (cmu_heads, T_t, T_s)
    cross_attention (layer, target): (heads, T_t, sum of T_s)
    self_attention (layer, target): (heads, T_t, T_t)
    gamma (layer, target): (2,), cross first
    target (layer, target): (T_t, d), the merged target after that layer
    mu (layer, modality): (T_m, d), the gate of Eq. 13
    source (layer, modality): (T_m, d), the source stream after that layer
    phi (layer, target): (sum of T_s, d), the gate of Eq. 15
    encoder_attention (encoder layer,): (heads, sum of T_t, sum of T_t)
    pooled (target,): (d,)
"""

import numpy as np


def mcr(
  params,
  sample,
  *,
  modalities,
  lengths,
  targets=None,
  heads=1,
  cmu_heads=1,
  num_layers=1,
  encoder_layers=1,
  source_update="sum",
  structure="parallel",
  scu_scoring="folded",
  pooling="mean",
  cmu=True,
  scu=True,
  mutual_attention=True,
  attention_layer=True,
  outputs=None,
):
  """The prediction for one sample and a dict of intermediates.

  Args:
    params: the parameter tree, float64.
    sample: the sequences and masks of one sample.
    modalities: names in the order of sources and of joining.
    lengths: the longest length of every modality, a dict or pairs.
    targets: the modalities that are reinforced; all of them by default.
    outputs: the shape of the prediction; flat by default.
  """
  one_of("source_update", source_update, "sum sum_no_smm ffl low_level")
  one_of("structure", structure, "parallel serial")
  one_of("scu_scoring", scu_scoring, "folded literal")
  one_of("pooling", pooling, "mean last max")
  params, lengths = numbers(params), dict(lengths)
  targets = tuple(modalities if targets is None else targets)
  if not (cmu or scu):
    raise ValueError("cmu and scu are both False: nothing would reinforce a target.")

  sources_of = {}
  for t in targets:
    # With one modality, its own source stream is the only source (section 7).
    sources_of[t] = [m for m in modalities if m != t] or [t]
  read = [m for m in modalities if any(m in sources_of[t] for t in targets)]

  # Section 1.
  steps, initial, full = {}, {}, {}
  for m in modalities:
    mask = np.asarray(sample[m + "_mask"], bool)
    steps[m], full[m] = np.flatnonzero(mask), len(mask)
    if len(steps[m]) and steps[m][-1] >= lengths[m]:
      raise ValueError(f"{m} has {steps[m][-1] + 1} steps, at most {lengths[m]} fit.")
    initial[m] = embed(params["embed_" + m], np.asarray(sample[m], float), mask)

  out = {}

  def record(name, key, values, *axes):
    """Keeps `values` with the axes named by modalities spread over all of time."""
    for axis, names in axes:
      values = spread(values, axis, names, steps, full)
    out.setdefault(name, {})[key] = values

  source = {m: initial[m].copy() for m in read}
  target = {t: initial[t].copy() for t in targets}
  joined = {t: join(source, sources_of[t]) for t in targets}

  for layer in range(num_layers):
    last = layer == num_layers - 1
    here = params["last"] if last else take(params["layers"], layer)

    merged = {}
    for t in targets:
      names = sources_of[t]
      partial = []
      if cmu:
        z_ta, alpha, maps = cross_mutual_unit(
          here["cmu_" + t],
          target[t],
          {s: source[s] for s in names},
          steps,
          cmu_heads,
          mutual_attention,
        )
        for s in names:
          record("alpha", (layer, t, s), alpha[s], (0, [s]))
          record("cmu_attention", (layer, t, s), maps[s], (1, [t]), (2, [s]))
        partial.append(z_ta)
      if scu:
        queries = z_ta if cmu and structure == "serial" else target[t]
        z_tb, gamma, crossed, attended = self_cross_unit(
          here["scu_" + t],
          joined[t],
          queries,
          steps[t],
          lengths[t],
          heads,
          scu_scoring if attention_layer else None,
        )
        if gamma is not None:
          record("gamma", (layer, t), gamma)
        record("cross_attention", (layer, t), crossed, (1, [t]), (2, names))
        record("self_attention", (layer, t), attended, (1, [t]), (2, [t]))
        partial.append(z_tb)
      merged[t] = partial[-1] if structure == "serial" else sum(partial)
      record("target", (layer, t), merged[t], (0, [t]))
    target = merged

    if last:  # Nothing reads the sources any more.
      break
    if source_update == "low_level":
      continue
    for m in read:
      source[m], mu = updated_source(
        here["update_" + m], source[m], target.get(m), steps[m], source_update
      )
      if mu is not None:
        record("mu", (layer, m), mu, (0, [m]))
      record("source", (layer, m), source[m], (0, [m]))
    for t in targets:
      names = sources_of[t]
      joined[t] = join(source, names)
      # SCU alone reads joined sources.
      if scu and source_update in ("sum", "sum_no_smm"):
        gate = here["join_" + t]
        # Eq. 15-16.
        bias = np.concatenate([gate["bias_" + s][steps[s]] for s in names])
        phi = sigmoid(joined[t] @ gate["gate"]["kernel"] + bias)
        joined[t] = phi * np.tanh(joined[t])
        record("phi", (layer, t), phi, (0, names))

  # Section 5.
  z = join(target, targets)
  for i in range(encoder_layers):
    encoder = params[f"encoder_{i}"]
    normed = layer_norm(encoder["norm"], z)
    attended, maps = attention(encoder["attention"], normed, normed, heads)
    record("encoder_attention", (i,), maps, (1, targets), (2, targets))
    z = feed_forward(encoder["feed_forward"], z + attended)
  z = layer_norm(params["encoder_norm"], z)

  pooled, start = [], 0
  for t in targets:
    pooled.append(pool(z[start : start + len(steps[t])], pooling))
    start += len(steps[t])
    record("pooled", (t,), pooled[-1])
  x = np.concatenate(pooled)
  head = params["head"]
  x = x + linear(head["residual"], relu(linear(head["hidden"], x)))
  prediction = linear(head["output"], x)
  return (prediction if outputs is None else prediction.reshape(outputs)), out


def mcr_batch(params, batch, **settings):
  """`mcr` on every row of a batch by itself: stacked predictions, a list of outs."""
  names = [key for m in settings["modalities"] for key in (m, m + "_mask")]
  size = len(batch[names[0]])
  pairs = [
    mcr(params, {n: batch[n][i] for n in names}, **settings) for i in range(size)
  ]
  return np.stack([prediction for prediction, _ in pairs]), [out for _, out in pairs]


def embed(params, x, mask):
  """Convolution along time, sinusoidal positions; only the steps that exist."""
  kernel, width = params["kernel"], params["kernel"].shape[2]
  x = np.where(mask[:, None], x, 0.0)
  left = (len(kernel) - 1) // 2
  rows = []
  for t in np.flatnonzero(mask):
    row = params["bias"].copy()
    for j in range(len(kernel)):
      if 0 <= t + j - left < len(x):
        row = row + x[t + j - left] @ kernel[j]
    for feature in range(width):
      angle = t / 10000.0 ** (2 * (feature // 2) / width)
      row[feature] += np.sin(angle) if feature % 2 == 0 else np.cos(angle)
    rows.append(row)
  return np.array(rows).reshape(-1, width)


def cross_mutual_unit(params, target, sources, steps, heads, mutual):
  """Eq. 2-5: the reinforced target, alpha and the attention by source."""
  n, width = target.shape
  size = width // heads
  normed_target = layer_norm(params["norm_target"], target)
  normed = {s: layer_norm(params["norm_" + s], z) for s, z in sources.items()}

  # Eq. 3: the features of a raw source step, summed; one softmax over all steps.
  weights = softmax(np.concatenate([z @ np.ones(width) for z in sources.values()]))
  alpha, start = {}, 0
  for s, z in sources.items():
    alpha[s] = weights[start : start + len(z)]
    start += len(z)

  read = {s: np.zeros((n, width)) for s in sources}
  maps = {s: np.zeros((heads, n, len(z))) for s, z in sources.items()}
  for head in range(heads):
    features = slice(head * size, (head + 1) * size)
    query = normed_target @ params["query"]["kernel"][:, head]
    energy = {}
    for s in sources:
      key = normed[s] @ params["key_" + s]["kernel"][:, head]
      energy[s] = query @ key.T / np.sqrt(size)
    for s in sources:
      if len(sources[s]) == 0:
        continue
      logits = energy[s]
      others = [r for r in sources if r != s and len(sources[r])]
      # The bias belongs to what comes from the others: without any it is dropped.
      if mutual and others:
        exchanged = params["exchange_bias_" + s][steps[s]][None, :]
        for r in others:
          matrix = params[f"exchange_{r}_{s}"][np.ix_(steps[r], steps[s])]
          exchanged = exchanged + energy[r] @ matrix
        logits = logits + alpha[s][None, :] * exchanged
      # Eq. 4-5.
      maps[s][head] = softmax(logits)
      value = normed[s] @ params["value_" + s]["kernel"][:, head]
      read[s][:, features] = maps[s][head] @ value

  z_ta = normed_target + sum(read.values())
  return feed_forward(params["feed_forward"], z_ta), alpha, maps


def self_cross_unit(params, joined, target, steps, longest, heads, scoring):
  """Eq. 6-11: the reinforced target, gamma, both branches' attention."""
  memory = layer_norm(params["norm_source"], joined)
  queries = layer_norm(params["norm_target"], target)
  cross, crossed = attention(params["cross"], queries, memory, heads)
  own, attended = attention(params["self"], queries, queries, heads)
  if scoring is None:
    return feed_forward(params["feed_forward"], cross + own), None, crossed, attended

  # Eq. 9, on branches flattened at full length with zeros where no step is.
  beta = []
  for number, (name, branch) in enumerate((("cross", cross), ("self", own))):
    flat = np.zeros((longest, branch.shape[1]))
    flat[steps] = branch
    flat = flat.reshape(-1)
    if scoring == "folded":
      weights = params["score_" + name].reshape(-1)
      beta.append(weights @ flat + params["score_bias"][number])
    else:
      beta.append(params["U"] @ (params["W_" + name] @ flat + params["b_" + name]))
  gamma = softmax(np.array(beta))  # Eq. 10
  z_tb = gamma[0] * cross + gamma[1] * own  # Eq. 11
  return feed_forward(params["feed_forward"], z_tb), gamma, crossed, attended


def updated_source(params, source, target, steps, source_update):
  """Eq. 12-14: the next source stream, and mu where there is one."""
  own = feed_forward(params["feed_forward"], source)
  if target is None or source_update == "ffl":
    return own, None
  if source_update == "sum_no_smm":
    return own + target, None
  mu = sigmoid(
    own @ params["source"]["kernel"]
    + target @ params["target"]["kernel"]
    + params["bias"][steps]
  )
  return (1.0 - mu) * np.tanh(target) + mu * own, mu


def attention(params, queries, memory, heads):
  """Multi-head attention; without a key, zero also after the output projection."""
  maps = np.zeros((heads, len(queries), len(memory)))
  result = np.zeros(queries.shape)
  if len(memory) == 0:
    return result, maps
  size = queries.shape[1] // heads
  for head in range(heads):
    query = queries @ params["query"]["kernel"][:, head]
    key = memory @ params["key"]["kernel"][:, head]
    value = memory @ params["value"]["kernel"][:, head]
    maps[head] = softmax(query @ key.T / np.sqrt(size))
    result = result + maps[head] @ value @ params["out"]["kernel"][head]
  return result + params["out"]["bias"], maps


def feed_forward(params, x):
  """The position-wise layer with its norm and its skip."""
  hidden = relu(linear(params["hidden"], layer_norm(params["norm"], x)))
  return x + linear(params["output"], hidden)


def pool(z, pooling):
  """One vector from the steps of a target; zero where it has none."""
  if len(z) == 0:
    return np.zeros(z.shape[1])
  return {"mean": z.mean(0), "last": z[-1], "max": z.max(0)}[pooling]


def join(streams, names):
  """The streams of `names`, one after the other along time."""
  return np.concatenate([streams[name] for name in names])


def spread(values, axis, names, steps, full):
  """Puts the joined steps of `names` back to their places among all steps."""
  places, start = [], 0
  for name in names:
    places.append(start + steps[name])
    start += full[name]
  moved = np.moveaxis(values, axis, 0)
  result = np.zeros((start, *moved.shape[1:]))
  result[np.concatenate(places)] = moved
  return np.moveaxis(result, 0, axis)


def numbers(tree):
  """The tree as nested dicts of float64 arrays."""
  if hasattr(tree, "items"):
    return {name: numbers(branch) for name, branch in tree.items()}
  return np.asarray(tree, np.float64)


def take(tree, index):
  """One layer of a tree whose arrays are stacked on a leading axis."""
  if isinstance(tree, dict):
    return {name: take(branch, index) for name, branch in tree.items()}
  return tree[index]


def layer_norm(params, x):
  mean = x.mean(-1, keepdims=True)
  variance = ((x - mean) ** 2).mean(-1, keepdims=True)
  return (x - mean) / np.sqrt(variance + 1e-5) * params["scale"] + params["bias"]


def linear(params, x):
  return x @ params["kernel"] + params["bias"]


def relu(x):
  return np.maximum(x, 0.0)


def sigmoid(x):
  return 0.5 * (1.0 + np.tanh(0.5 * x))


def softmax(x):
  """Along the last axis."""
  if x.shape[-1] == 0:
    return x
  powers = np.exp(x - x.max(-1, keepdims=True))
  return powers / powers.sum(-1, keepdims=True)


def one_of(name, value, known):
  known = known.split() if isinstance(known, str) else known
  if value not in known:
    raise ValueError(f"{name} is {value!r}; it must be one of {known}.")
