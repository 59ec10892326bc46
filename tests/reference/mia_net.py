"""MIA-Net (Li, Zhang, Chen, Chen) written down equation by equation.

Slow and plain, in NumPy float64: convolutions are loops over features, S and P are
formed, the columns of Mhat are summed one by one. Everything but batch norm looks at
one sample at a time; inside, features are (c, d) arrays: channels, then features.

    predictions, out, statistics = mia_net(
      params, statistics, batch, main="text", auxiliaries=("audio", "vision")
    )

`params` and `statistics` (the model's `batch_stats`) are nested dicts. `batch` has, for
each modality m, `m` (B, T, D) and `m_mask` (B, T), and `weight` (B,). `out` maps a name
to arrays: `pooled_<m>` (B, d), `lifted_<m>` (B, c, d), and for module n `S_<n>` and
`P_<n>` (B, d_a, d_m), `transformed_<n>`, `gate_<n>`, `main_<n>` (B, c, d_m), the last
being M^(n+1); a sample without the auxiliary has zeros there, and its old `main`.
`features` (B, c, d_m) is what the output layer reads.

Settled here, where the specification says nothing: a missing main modality pools to
zeros and goes on as any vector; weights other than zero all count as one in the
statistics of a batch; a batch in which no row counts leaves the running statistics as
they are and is normalised by them; the running variance is the batch's own (biased).
"""

import numpy as np


def mia_net(
  params,
  statistics,
  batch,
  *,
  main,
  auxiliaries=(),
  kernel="regularized",
  train=False,
  momentum=0.9,
  outputs=None,
):
  """Predictions, intermediates and the running statistics after this batch."""
  if kernel not in ("regularized", "psd"):
    raise ValueError(f"kernel is {kernel!r}; it must be regularized or psd.")
  params, statistics = numbers(params), numbers(statistics or {})
  size = len(batch[main])
  counted = np.asarray(batch.get("weight", np.ones(size))) != 0

  out, present = {}, {}
  for m in (main, *auxiliaries):
    masks = np.asarray(batch[m + "_mask"], bool)
    present[m] = masks.any(axis=1)
    out["pooled_" + m] = np.stack(
      [mean_pool(x, mask) for x, mask in zip(batch[m], masks, strict=True)]
    )
  if not auxiliaries:
    out["features"] = out["pooled_" + main]
    return finish(params["output"], out["features"], outputs), out, statistics

  for m in (main, *auxiliaries):
    lifted = [lift(params["lift_" + m], x) for x in out["pooled_" + m]]
    out["lifted_" + m] = np.stack(lifted)

  first = out["lifted_" + main]
  current = first.copy()
  for n, a in enumerate(auxiliaries):
    module = params[f"module_{n}"]
    fused = np.zeros(current.shape)
    parts = {name: [] for name in ("S", "P", "transformed", "gate")}
    for i in range(size):
      found = interact(module, current[i], out["lifted_" + a][i], kernel)
      fused[i] = found.pop("fused")
      for name, values in found.items():
        parts[name].append(values if present[a][i] else np.zeros(values.shape))
    for name, values in parts.items():
      out[f"{name}_{n}"] = np.stack(values)

    # Only rows that count, and only those that have this auxiliary (Eq. 8, f_N).
    old = statistics.get(f"module_{n}", {}).get("norm")
    mean, variance, new = moments(fused[counted & present[a]], old, train, momentum)
    if new is not None:
      statistics[f"module_{n}"] = {"norm": new}
    for i in range(size):
      if present[a][i]:
        current[i] = batch_norm(module["norm"], fused[i], mean, variance)
    out[f"main_{n}"] = current.copy()

  residual = first + current  # Eq. 11
  features = np.stack([x + feed_forward(params["ffn"], x) for x in residual])  # Eq. 12
  out["features"] = features
  return finish(params["output"], features, outputs), out, statistics


def mean_pool(x, mask):
  """The mean of the steps that exist; zero where there are none."""
  x, mask = np.asarray(x, float), np.asarray(mask, bool)
  return x[mask].mean(axis=0) if mask.any() else np.zeros(x.shape[1])


def lift(params, x):
  """A vector (d,) as (c, d): convolution, ReLU, layer norm over both axes."""
  x = np.maximum(convolve(params["conv"], x[None, :]), 0.0)
  mean, variance = x.mean(), x.var()
  norm = params["norm"]
  return (x - mean) / np.sqrt(variance + 1e-5) * norm["scale"] + norm["bias"]


def interact(params, m, a, kernel):
  """Eq. 1-8 up to batch norm, for main (c, d_m) and auxiliary (c, d_a) features."""
  w = kernel_matrix(params["kernel"], kernel)
  s = np.zeros((a.shape[1], m.shape[1]))
  for i in range(a.shape[1]):
    for j in range(m.shape[1]):
      s[i, j] = a[:, i] @ w @ m[:, j]  # Eq. 1
  p = np.zeros(s.shape)
  transformed = np.zeros(m.shape)
  for j in range(m.shape[1]):
    powers = np.exp(s[:, j] - s[:, j].max())
    p[:, j] = powers / powers.sum()  # Eq. 3
    for i in range(a.shape[1]):
      transformed[:, j] += a[:, i] * p[i, j]  # Eq. 4-5
  gate = sigmoid(convolve(params["gate"], transformed))  # Eq. 6
  gated = transformed * gate  # Eq. 7
  fused = sigmoid(convolve(params["fuse"], np.concatenate([gated, m])))  # Eq. 8
  return {"S": s, "P": p, "transformed": transformed, "gate": gate, "fused": fused}


def kernel_matrix(params, kernel):
  """W: a free matrix, or L L^T."""
  if kernel == "psd":
    return params["L"] @ params["L"].T
  return params["W"]


def convolve(params, x):
  """(channels in, d) to (channels out, d) along the features, zeros outside."""
  kernel = params["kernel"]
  left = (len(kernel) - 1) // 2
  columns = []
  for i in range(x.shape[1]):
    column = params["bias"]
    for k in range(len(kernel)):
      if 0 <= i + k - left < x.shape[1]:
        column = column + x[:, i + k - left] @ kernel[k]
    columns.append(column)
  return np.stack(columns, axis=1)


def moments(rows, old, train, momentum):
  """Mean and variance by channel to normalise with, and the new running ones."""
  if not train or len(rows) == 0:
    return old["mean"], old["var"], old
  mean = rows.mean(axis=(0, 2))
  variance = ((rows - mean[None, :, None]) ** 2).mean(axis=(0, 2))
  if old is None:
    return mean, variance, None
  new = {
    "mean": momentum * old["mean"] + (1.0 - momentum) * mean,
    "var": momentum * old["var"] + (1.0 - momentum) * variance,
  }
  return mean, variance, new


def batch_norm(params, x, mean, variance):
  """(c, d), normalised by channel."""
  x = (x - mean[:, None]) / np.sqrt(variance[:, None] + 1e-5)
  return x * params["scale"][:, None] + params["bias"][:, None]


def feed_forward(params, x):
  """d_m -> 4 d_m -> d_m along the features of every channel."""
  hidden = np.maximum(x @ params["hidden"]["kernel"] + params["hidden"]["bias"], 0.0)
  return hidden @ params["output"]["kernel"] + params["output"]["bias"]


def finish(params, features, outputs):
  """Eq. 15: channels flattened, channel by channel, then fully connected."""
  flat = features.reshape(len(features), -1)
  predictions = flat @ params["kernel"] + params["bias"]
  if outputs is None:
    return predictions
  return predictions.reshape(len(features), *outputs)


def kernel_regularization(matrices):
  """L_KRL of Eq. 10 over the free W, eigenvalues of the symmetric part."""
  total = 0.0
  for w in matrices:
    w = np.asarray(w, np.float64)
    total += abs(w.T - w).sum()
    for eigenvalue in np.linalg.eigvalsh((w + w.T) / 2.0):
      total += abs(eigenvalue - abs(eigenvalue))
  return total


def mean_absolute_error(predictions, labels, weight):
  """Eq. 14 without its minus sign, as a weighted mean; predictions (B, 1)."""
  return (abs(predictions[:, 0] - labels) * weight).sum() / weight.sum()


def cross_entropy(logits, labels, weight):
  """Eq. 17-18, as a weighted mean; labels are class numbers."""
  total = 0.0
  for row, label, share in zip(logits, labels, weight, strict=True):
    powers = np.exp(row - row.max())
    total -= share * np.log(powers[label] / powers.sum())
  return total / weight.sum()


def joint_loss(task, regularization, gamma):
  """Eq. 13 and 16."""
  return (1.0 - gamma) * task + gamma * regularization


def numbers(tree):
  """The tree as nested dicts of float64 arrays."""
  if hasattr(tree, "items"):
    return {name: numbers(branch) for name, branch in tree.items()}
  return np.asarray(tree, np.float64)


def sigmoid(x):
  return 0.5 * (1.0 + np.tanh(0.5 * x))
