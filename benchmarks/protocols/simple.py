"""Simple methods on pooled features, chosen on valid and fitted on train only."""

import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import f1_score
from sklearn.svm import LinearSVR

from protocols.corpora import Corpus

CLIP = 5.0
ALPHAS = 10.0 ** np.arange(-1, 6.25, 0.5)
COSTS = 10.0 ** np.arange(-5, 1.25, 0.5)


def pooled(
  corpus: Corpus, names: tuple[str, ...], train: np.ndarray, spread: bool
) -> np.ndarray:
  """(N, D) the mean over the real steps of every modality; 0 where it misses.

  Args:
    corpus: the samples.
    names: of the modalities.
    train: rows that decide the standard scores.
    spread: add the deviation over the steps, and take standard scores of steps first.
  """
  parts = []
  for name in names:
    modality = corpus.dataset.modalities[name]
    sample = np.repeat(np.arange(len(modality)), modality.lengths)[modality.mask]
    steps = modality.values[modality.mask].astype(float)
    if spread:
      steps = standard(steps, np.isin(sample, train))
    mean = _mean(steps, sample, len(modality))
    parts.append(mean)
    if spread:
      square = np.square(steps - mean[sample])
      parts.append(np.sqrt(_mean(square, sample, len(modality))))
  return standard(np.concatenate(parts, 1), train)


def standard(x: np.ndarray, train: np.ndarray) -> np.ndarray:
  """Standard scores by the training rows, cut at +-5; a constant column is 0."""
  std = x[train].std(0)
  std[std < 1e-8] = np.inf
  return np.clip((x - x[train].mean(0)) / std, -CLIP, CLIP)


def constant(corpus: Corpus, split: np.ndarray, which: str) -> np.ndarray:
  """The mean or the median of the training labels, for every sample."""
  labels = corpus.dataset.labels
  value = getattr(np, which)(labels[corpus.parts(split)[0]])
  return np.full(len(labels), float(value))


def majority(corpus: Corpus, split: np.ndarray) -> np.ndarray:
  """Logits of the commonest class of the training rows."""
  labels = corpus.dataset.labels
  counts = np.bincount(labels[corpus.parts(split)[0]], minlength=labels.max() + 1)
  return np.tile(np.eye(len(counts))[counts.argmax()], (len(labels), 1))


def ridge(corpus: Corpus, split: np.ndarray, names: tuple[str, ...]) -> np.ndarray:
  """Ridge regression on pooled features."""
  train, _, _ = corpus.parts(split)
  x = pooled(corpus, names, train, corpus.spread)
  return _regress(corpus, split, x, [Ridge(alpha=a) for a in ALPHAS])


def svr(corpus: Corpus, split: np.ndarray, names: tuple[str, ...]) -> np.ndarray:
  """Linear regression under an L1 loss: support vectors without a margin."""
  train, _, _ = corpus.parts(split)
  x = pooled(corpus, names, train, corpus.spread)
  models = [LinearSVR(C=c, max_iter=5000, random_state=0) for c in COSTS]
  return _regress(corpus, split, x, models)


def tfidf(corpus: Corpus, split: np.ndarray) -> np.ndarray:
  """Ridge regression on the TF-IDF of the words."""
  train, _, _ = corpus.parts(split)
  texts = np.char.lower(corpus.transcripts.astype(str))
  vectorizer = TfidfVectorizer(min_df=2, sublinear_tf=True)
  vectorizer.fit(texts[train])
  models = [Ridge(alpha=a) for a in 10.0 ** np.arange(-2, 3.25, 0.5)]
  return _regress(corpus, split, vectorizer.transform(texts), models)


def logistic(corpus: Corpus, split: np.ndarray, names: tuple[str, ...]) -> np.ndarray:
  """Logits of a logistic regression, its penalty chosen by valid weighted F1."""
  train, valid, _ = corpus.parts(split)
  x = pooled(corpus, names, train, corpus.spread)
  y = corpus.dataset.labels
  best, chosen = -1.0, None
  for cost in COSTS:
    model = LogisticRegression(C=cost, max_iter=2000).fit(x[train], y[train])
    score = f1_score(y[valid], model.predict(x[valid]), average="weighted")
    if score > best:
      best, chosen = score, model
  logits = np.full((len(y), y.max() + 1), -1e3)
  logits[:, chosen.classes_] = chosen.decision_function(x)
  return logits


def _mean(steps, sample, count):
  total = np.zeros((count, steps.shape[1]))
  np.add.at(total, sample, steps)
  return total / np.maximum(np.bincount(sample, minlength=count), 1)[:, None]


def _regress(corpus, split, x, models):
  """The predictions of the model with the lowest MAE on valid."""
  train, valid, _ = corpus.parts(split)
  y = corpus.dataset.labels.astype(float)
  best, chosen = np.inf, None
  with warnings.catch_warnings():
    warnings.simplefilter("ignore", ConvergenceWarning)
    for model in models:
      found = model.fit(x[train], y[train]).predict(x)
      error = np.abs(found - y)[valid].mean()
      if error < best:
        best, chosen = error, found
  return chosen
