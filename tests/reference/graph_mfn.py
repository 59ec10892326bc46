"""Graph-MFN (Zadeh et al. 2018) for one sample, step by step, in NumPy float64.

    prediction, out = graph_mfn(params, sample, modalities=("text", "audio"))

`sample` and what a step does that a modality lacks are as in `reference.mfn`, and so
are `lstm_<m>`, `proposal`, `retain`, `update`, `hidden` and `output` of `params`; the
graph has

    single_<m>/{kernel, bias}
    {efficacy, summary, vertex_<m>_<n>...}_{hidden, value}/{kernel, bias}
    efficacies/{kernel, bias}

`out` has a row a step that any modality has: efficacies (n, edges), retain, update and
memory (n, U).
"""

import itertools

import numpy as np

from tests.reference.mfn import gate, linear, lstm, mlp
from tests.reference.recurrent import sigmoid


def graph_mfn(params, sample, *, modalities, read="cell", graph="nonlinear"):
  h = {m: np.zeros(len(params[f"lstm_{m}"]["recurrent"])) for m in modalities}
  c = {m: np.zeros_like(h[m]) for m in modalities}
  u = np.zeros(len(params["update"]["output_bias"]))
  here = [m for m in modalities if sample[f"{m}_mask"].any()]
  out = {name: [] for name in ("efficacies", "retain", "update", "memory")}
  for t in range(len(sample[modalities[0]])):
    if not any(sample[f"{m}_mask"][t] for m in modalities):
      continue
    old = dict(c if read == "cell" else h)
    for m in modalities:
      if sample[f"{m}_mask"][t]:
        h[m], c[m] = lstm(params[f"lstm_{m}"], sample[m][t], h[m], c[m])
    new = c if read == "cell" else h
    both = {m: np.concatenate([old[m], new[m]]) for m in modalities}
    tau, efficacies = fuse(params, both, here, modalities, graph)
    proposal = np.tanh(mlp(params["proposal"], tau))
    retain, update = gate(params["retain"], tau, u), gate(params["update"], tau, u)
    u = retain * u + update * proposal
    for name, value in zip(out, (efficacies, retain, update, u), strict=True):
      out[name].append(value)
  prediction = mlp(params, np.concatenate([*(h[m] for m in modalities), u]))
  return prediction, {name: np.array(rows) for name, rows in out.items()}


def fuse(params, both, here, modalities, graph):
  """The summary of a step, and its efficacies; `here` are modalities of the sample."""
  value = {}
  for m in modalities:
    layer = params[f"single_{m}"]
    single = np.maximum(linear(layer, both[m]), 0.0)
    value[frozenset([m])] = single if m in here else np.zeros_like(single)
  singles = np.concatenate([value[frozenset([m])] for m in modalities])
  every = linear(params["efficacies"], network(params, "efficacy", singles, graph))
  every = sigmoid(every) if graph == "nonlinear" else every
  efficacies, number = [], 0

  def merge(name, sources):
    nonlocal number
    read = []
    for source in map(frozenset, sources):
      e = every[number] if source & set(here) else 0.0
      number += 1
      efficacies.append(e)
      read.append(e * value[source])
    return network(params, name, np.concatenate(read), graph)

  for size in range(2, len(modalities) + 1):
    for target in itertools.combinations(modalities, size):
      smaller = [s for n in range(1, size) for s in itertools.combinations(target, n)]
      merged = merge(f"vertex_{'_'.join(target)}", smaller)
      value[frozenset(target)] = merged if set(target) & set(here) else 0 * merged
  all_sizes = range(1, len(modalities) + 1)
  every_set = [s for n in all_sizes for s in itertools.combinations(modalities, n)]
  return merge("summary", every_set), np.array(efficacies)


def network(params, name, x, graph):
  hidden = linear(params[f"{name}_hidden"], x)
  hidden = np.maximum(hidden, 0.0) if graph == "nonlinear" else hidden
  return linear(params[f"{name}_value"], hidden)
