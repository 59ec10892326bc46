"""LSTM and GRU written down in NumPy float64, for the steps of one sample that exist.

Steps that do not exist are left out of `x`, so nothing is ever masked. With the input
x_t and the last output h, every gate k is `W_k x_t + U_k h + b_k`; the matrices of all
gates stand side by side in `kernel` (D, G), `recurrent` (H, G) and `bias` (G,).

  lstm  i, f, g, o:  c <- s(f) c + s(i) tanh(g),  h <- s(o) tanh(c)
  gru   r, z, n:     h <- (1 - s(z)) tanh(W_n x_t + b_n + s(r) (U_n h + v)) + s(z) h
                     with v in `candidate_bias` (H,)
"""

import numpy as np


def sigmoid(x):
  return 1.0 / (1.0 + np.exp(-x))


def lstm(params, x, reverse=False):
  """(h, c) after every step, each (n, H), in the order of `x`."""
  size = len(params["recurrent"])
  h, c, states = np.zeros(size), np.zeros(size), []
  for row in x[::-1] if reverse else x:
    gates = row @ params["kernel"] + h @ params["recurrent"] + params["bias"]
    i, f, g, o = np.split(gates, 4)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    h = sigmoid(o) * np.tanh(c)
    states.append((h, c))
  states = np.reshape(states, (len(x), 2, size))
  return tuple(np.moveaxis(states[::-1] if reverse else states, 1, 0))


def gru(params, x, reverse=False):
  """(h,) after every step, (n, H), in the order of `x`."""
  size = len(params["recurrent"])
  h, states = np.zeros(size), []
  for row in x[::-1] if reverse else x:
    w_r, w_z, w_n = np.split(row @ params["kernel"] + params["bias"], 3)
    u_r, u_z, u_n = np.split(h @ params["recurrent"], 3)
    n = np.tanh(w_n + sigmoid(w_r + u_r) * (u_n + params["candidate_bias"]))
    h = (1 - sigmoid(w_z + u_z)) * n + sigmoid(w_z + u_z) * h
    states.append(h)
  states = np.reshape(states, (len(x), size))
  return (states[::-1] if reverse else states,)


CELLS = {"lstm": lstm, "gru": gru}


def rnn(params, x, cell="lstm", layers=1, bidirectional=False):
  """The outputs (n, E) of the last layer, and its last output (E,)."""
  last = []
  for i in range(layers):
    forward = CELLS[cell](params[f"forward_{i}"], x)[0]
    outputs, ends = [forward], [final(forward)]
    if bidirectional:
      backward = CELLS[cell](params[f"backward_{i}"], x, reverse=True)[0]
      outputs, ends = [forward, backward], [ends[0], final(backward[::-1])]
    x, last = np.concatenate(outputs, 1), np.concatenate(ends)
  return x, last


def final(states):
  """The last of the states, and zero where there are none."""
  return states[-1] if len(states) else np.zeros(states.shape[1])
