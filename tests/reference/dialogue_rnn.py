"""DialogueRNN written down in NumPy float64, turn by turn, for one dialogue.

A GRU with input x and old state h, gates r, z, n side by side in its matrices:

  h <- (1 - s(z)) tanh(W_n x + b_n + s(r) (U_n h + v)) + s(z) h

All states are zero at first; every speaker who was not heard yet has one of zeros.
"""

import numpy as np

from tests.reference.recurrent import sigmoid


def gru(params, x, h):
  w_r, w_z, w_n = np.split(x @ params["kernel"] + params["bias"], 3)
  u_r, u_z, u_n = np.split(h @ params["recurrent"], 3)
  z = sigmoid(w_z + u_z)
  n = np.tanh(w_n + sigmoid(w_r + u_r) * (u_n + params["candidate_bias"]))
  return (1 - z) * n + z * h


def softmax(x):
  e = np.exp(x - x.max())
  return e / e.sum()


def direction(params, u, speaker, listener=False):
  """e of every turn (n, E), and the shares of step 2 of every turn, a list."""
  size = lambda name: len(params[name]["recurrent"])
  g, e = np.zeros(size("global")), np.zeros(size("emotion"))
  parties = {s: np.zeros(size("party")) for s in speaker}
  heard, says, shares = [], [], []
  for x, s in zip(u, speaker, strict=True):
    before = g
    g = gru(params["global"], np.concatenate([x, parties[s]]), before)
    context = np.zeros_like(g)
    shares.append(np.zeros(0))
    if heard:
      past = np.array(heard)
      shares[-1] = softmax(past @ (x @ params["recall"]))
      context = shares[-1] @ past
    heard.append(g)
    q = gru(params["party"], np.concatenate([x, context]), parties[s])
    for other in parties:
      if listener and other != s:
        joined = np.concatenate([x, q])
        parties[other] = gru(params["listener"], joined, parties[other])
    parties[s] = q
    e = gru(params["emotion"], q, e)
    says.append(e)
  return np.array(says), shares


def dialogue_rnn(
  params, vectors, masks, speaker, *, listener=False, bidirectional=True, attention=True
):
  """Predictions (n, O) of the turns of a dialogue, and what is worth drawing."""
  u = np.concatenate([np.where(masks[m][:, None], vectors[m], 0) for m in vectors], 1)
  says, shares = direction(params["forward"], u, speaker, listener)
  out = {"forward": shares}
  if bidirectional:
    back, shares = direction(params["backward"], u[::-1], speaker[::-1], listener)
    says = np.concatenate([says, back[::-1]], 1)
    out["backward"] = [row[::-1] for row in shares[::-1]]
  dense = lambda name, x: x @ params[name]["kernel"] + params[name]["bias"]
  read = says
  if attention:
    out["emotion"] = np.array([softmax(says @ row) for row in dense("match", says)])
    read = out["emotion"] @ says
  features = np.maximum(dense("hidden", read), 0)
  return dense("output", features), out
