"""The CTC aligner for one sample in NumPy float64, by going through all labellings.

    aligned, loss = align(params, x, words, logits="linear", normalize=True)

`x` (n, D) are the frames that exist and `words` how many the sample has; `params` are
those of the layer: lstm/{forward_0, forward_1}, see `reference.recurrent`, and
logits/{kernel, bias} where `logits` is `linear`. `aligned` (words, D).

A labelling names a class a frame: 0 for none, i for the i-th word. It stands for what
is left when repetitions are merged and zeros removed; the probability of the words in
order is the sum over all labellings that stand for 1, 2, ..., words.
"""

import itertools

import numpy as np

from tests.reference import recurrent


def align(params, x, words, *, logits, normalize):
  scores = recurrent.rnn(params["lstm"], x, layers=2)[0]
  if logits == "linear":
    scores = scores @ params["logits"]["kernel"] + params["logits"]["bias"]
  return read(scores[:, : words + 1], x, normalize), loss(scores[:, : words + 1])


def probabilities(scores):
  p = np.exp(scores - scores.max(1, keepdims=True))
  return p / p.sum(1, keepdims=True)


def read(scores, x, normalize):
  """(words, D) from the scores (n, words + 1); without frames there is no row."""
  if not len(x):
    return np.zeros((0, x.shape[1]))
  p = probabilities(scores)
  rows = []
  for i in range(1, p.shape[1]):
    total = sum(p[t, i] * x[t] for t in range(len(x)))
    rows.append(total / p[:, i].sum() if normalize else total)
  return np.reshape(rows, (p.shape[1] - 1, x.shape[1]))


def loss(scores):
  """- log p(1, 2, ..., words) / words; 0 where no labelling fits."""
  frames, words = scores.shape[0], scores.shape[1] - 1
  if not 0 < words <= frames:
    return 0.0
  wanted = tuple(range(1, words + 1))
  right = sum(p for path, p in labellings(scores) if collapse(path) == wanted)
  return -np.log(right) / words


def labellings(scores):
  """Every labelling of the frames with its probability."""
  p = probabilities(scores)
  for path in itertools.product(range(p.shape[1]), repeat=len(p)):
    yield path, np.prod([p[t, k] for t, k in enumerate(path)])


def collapse(path):
  """Without repetitions and zeros."""
  return tuple(k for k, _ in itertools.groupby(path) if k)
