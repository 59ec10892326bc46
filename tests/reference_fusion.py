"""The fusion methods written down in NumPy float64, one sample at a time.

Plain and slow on purpose: LMF forms the tensor that it avoids, attention loops over
heads and queries, and what is missing is left out instead of masked. Every function
takes the model's parameters as nested dicts and `vectors`: an array a modality in
order, or None where the modality is missing (`sizes` says how long it would be).
"""

import numpy as np

from tests.reference import recurrent


def dense(params, x):
  return x @ params["kernel"] + params["bias"]


def relu(x):
  return np.maximum(x, 0.0)


def softmax(x):
  powers = np.exp(x - x.max())
  return powers / powers.sum()


def norm(params, x):
  centred = x - x.mean(-1, keepdims=True)
  scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5)
  return scaled * params["scale"] + params["bias"]


def filled(vectors, sizes):
  return {m: np.zeros(sizes[m]) if x is None else x for m, x in vectors.items()}


def concat(params, vectors, sizes, depth=1):
  x = np.concatenate(list(filled(vectors, sizes).values()))
  for i in range(depth):
    x = relu(dense(params[f"hidden_{i}"], x))
  return dense(params["output"], x)


def embedded(params, sequences, widths):
  """What the published subnetworks say: the first modality is read by an LSTM."""
  says = {}
  for i, (name, x) in enumerate(sequences.items()):
    layers = params[f"subnetwork_{name}"]
    if not len(x):
      says[name] = np.zeros(widths[i > 0])
    elif i == 0:
      _, last = recurrent.rnn(params[f"encoder_{name}"]["lstm"], x)
      says[name] = dense(layers, last)
    else:
      says[name] = x.mean(0)
      for j in range(3):
        says[name] = relu(dense(layers[f"layer_{j}"], says[name]))
  return says


def tfn_as_published(params, sequences, widths):
  product = np.ones(())
  for x in embedded(params, sequences, widths).values():
    product = np.multiply.outer(product, np.append(x, 1.0))
  hidden = relu(dense(params["hidden"], product.reshape(-1)))
  return dense(params["output"], relu(dense(params["hidden_2"], hidden)))


def tfn(params, vectors, sizes, width):
  product = np.ones(())
  for name, x in vectors.items():
    size = width or sizes[name]
    if x is None:
      x = np.zeros(size)
    elif width:
      x = relu(dense(params[f"project_{name}"], x))
    product = np.multiply.outer(product, np.append(x, 1.0))
  return dense(params["output"], relu(dense(params["hidden"], product.reshape(-1))))


def lmf(params, vectors, sizes):
  tensor, product = 0.0, np.ones(())
  for r, weight in enumerate(params["rank_weight"]):
    part = np.full(params["bias"].shape, weight)
    for name in vectors:
      factor = params[f"factor_{name}"][r]
      # (..., h) and (d, h) to (..., d, h): one more axis of the tensor.
      part = part[..., None, :] * factor
    tensor = tensor + part
  for x in filled(vectors, sizes).values():
    product = np.multiply.outer(product, np.append(x, 1.0))
  fused = np.tensordot(product, tensor, axes=product.ndim)
  return dense(params["output"], relu(fused + params["bias"]))


def views(params, x):
  return dense(
    params["project"],
    np.stack([x] * len(params["scale"])) * params["scale"] + params["bias"],
  )


def attention(params, x, memory):
  heads, size = params["query"]["kernel"].shape[1:]
  result = np.zeros(x.shape) + params["out"]["bias"]
  for h in range(heads):
    take = lambda name, source, h=h: source @ params[name]["kernel"][:, h]
    query, key, value = take("query", x), take("key", memory), take("value", memory)
    for i in range(len(x)):
      read = softmax(key @ query[i] / np.sqrt(size)) @ value
      result[i] += read @ params["out"]["kernel"][h]
  return result


def feed_forward(params, x):
  return x + dense(
    params["output"], relu(dense(params["hidden"], norm(params["norm"], x)))
  )


def encode(params, x):
  normed = norm(params["norm"], x)
  return feed_forward(
    params["feed_forward"], x + attention(params["attention"], normed, normed)
  )


def transformer(params, x, memory):
  """`memory` is None where it is missing: nothing is read, the layer goes on."""
  if memory is not None:
    memory = norm(params["encoder_norm"], encode(params["encoder"], memory))
    x = x + attention(params["attention"], norm(params["norm"], x), memory)
  return norm(params["decoder_norm"], feed_forward(params["feed_forward"], x))


def pair_of_mha(params, name, x, here, y):
  read = 0.0 if y is None else attention(params[f"attention_{name}"], x, y)
  return norm(params[f"norm_{name}"], x + read)


def pair_of_transformer(params, name, x, here, y):
  return transformer(params[f"transformer_{name}"], x, y)


def pair_of_ct(params, name, x, here, y):
  toward = transformer(params[f"toward_{name}"], x, y)
  back = np.zeros(x.shape)
  if y is not None:
    back = transformer(params[f"back_{name}"], y, x if here else None)
  both = dense(params[f"pair_{name}"], np.concatenate([toward, back], 1))
  return transformer(params[f"joint_{name}"], both, both)


PAIRS = {"mha": pair_of_mha, "transformer": pair_of_transformer, "ct": pair_of_ct}


def to_main(params, vectors, sizes, method, main, auxiliaries):
  full = filled(vectors, sizes)
  seen = {m: views(params[f"view_{m}"], full[m]) for m in (main, *auxiliaries)}
  parts = [
    PAIRS[method](
      params,
      name,
      seen[main],
      vectors[main] is not None,
      None if vectors[name] is None else seen[name],
    )
    for name in auxiliaries
  ]
  joined = np.concatenate(parts or [seen[main]], 1)
  return dense(params["output"], relu(dense(params["join"], joined)).mean(0))


def ct_of_all_pairs(params, vectors, sizes):
  full = filled(vectors, sizes)
  seen = {m: views(params[f"view_{m}"], x) for m, x in full.items()}
  parts = []
  for t, x in seen.items():
    reads = []
    for s, y in seen.items():
      if s != t:
        y = None if vectors[s] is None else y
        reads.append(transformer(params[f"toward_{t}_{s}"], x, y))
    both = dense(params[f"pair_{t}"], np.concatenate(reads, 1))
    joint = transformer(params[f"joint_{t}"], both, both)
    parts.append(np.zeros(x.shape) if vectors[t] is None else joint)
  joined = np.concatenate(parts, 1)
  return dense(params["output"], relu(dense(params["join"], joined)).mean(0))


def cim(params, vectors, sizes, chosen, unimodal):
  full = filled(vectors, sizes)
  seen = {m: views(params[f"view_{m}"], x) for m, x in full.items()}
  parts = []
  for one, other in chosen:
    for a, b in ((one, other), (other, one)):
      x, y = seen[a], seen[b]
      part = np.zeros(x.shape)
      if vectors[a] is not None and vectors[b] is not None:
        for i in range(len(x)):
          part[i] = softmax(y @ x[i] / np.sqrt(x.shape[1])) @ y * x[i]
      parts.append(part)
  if unimodal or not chosen:
    parts += [seen[m] if vectors[m] is not None else 0 * seen[m] for m in seen]
  joined = np.concatenate(parts, 1)
  return dense(params["output"], relu(dense(params["join"], joined)).mean(0))
