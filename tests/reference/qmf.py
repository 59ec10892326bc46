"""QMF (Li et al. 2021) for one sample, with density matrices, in NumPy complex128.

    prediction, out = qmf(params, sample, modalities=("text", "audio"), windows=(2, 3))

`sample` has `<m>` (T, D) and `<m>_mask` (T,), all of one T. `params` are the model's:

    lstm/forward_0/{kernel, recurrent, bias}       see `reference.recurrent`
    state_<text>, state_<m>_{0, 1, 2}              {kernel, bias}
    phase_<m>/kernel (D of text, E), shares (M,)
    measure (2, E^M, K), real and imaginary parts
    hidden_{0, 1}, output                          {kernel, bias}

`out` has a row a real word for the probabilities of every window, `window_<n>` (n, K).
"""

import numpy as np

from tests.reference.recurrent import lstm


def qmf(params, sample, *, modalities, windows):
  text = modalities[0]
  masks = {m: np.asarray(sample[f"{m}_mask"], bool) for m in modalities}
  read = sample[text][masks[text]]
  heard = lstm(params["lstm"]["forward_0"], read)[0]
  place = {t: i for i, t in enumerate(np.flatnonzero(masks[text]))}
  lam = np.exp(params["shares"]) / np.exp(params["shares"]).sum()
  states, weights = {}, {}
  for t in range(len(masks[text])):
    if not any(masks[m][t] for m in modalities):
      continue
    state, weight = np.ones(1), 0.0
    for share, m in zip(lam, modalities, strict=True):
      size = params[f"phase_{m}"]["kernel"].shape[1]
      one = np.zeros(size, complex)
      if not masks[m][t]:
        one[0] = 1.0
      else:
        if m == text:
          h = linear(params[f"state_{m}"], heard[place[t]])
        else:
          h = sample[m][t]
          for i in range(3):
            h = np.maximum(linear(params[f"state_{m}_{i}"], h), 0.0)
        length = np.linalg.norm(h)
        weight += share * length
        phase = np.zeros(size)
        if masks[text][t]:
          phase = np.pi * np.tanh(sample[text][t] @ params[f"phase_{m}"]["kernel"])
        one = h / max(length, 1e-12) * np.exp(1j * phase)
      state = np.kron(state, one)
    states[t], weights[t] = state, weight
  kernels = (params["measure"][0] + 1j * params["measure"][1]).T
  out, best = {}, np.zeros(len(kernels))
  for n in windows:
    rows = []
    for t in states:
      near = [t + i - (n - 1) // 2 for i in range(n)]
      near = [j for j in near if j in states]
      w = np.exp([weights[j] for j in near])
      w = w / w.sum()
      rho = sum(
        a * np.outer(states[j], states[j].conj()) for a, j in zip(w, near, strict=True)
      )
      rows.append([(k.conj() @ rho @ k).real for k in kernels])
    out[f"window_{n}"] = np.array(rows)
  if states:
    best = np.concatenate(list(out.values())).max(0)
  y = best
  for i in range(2):
    y = np.maximum(linear(params[f"hidden_{i}"], y), 0.0)
  return linear(params["output"], y), out


def linear(params, x):
  return x @ params["kernel"] + params["bias"]
