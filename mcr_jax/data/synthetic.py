"""The synthetic data set: a clip whose words say which of face and voice to believe.

Three bits of +-1, independent and equally likely, stand behind a sample: what the
voice shows `a`, what the face shows `v`, and `t`, which the words show. The words say
whom to believe, so that the sentiment is

  g = v where t = 1, a where t = -1        y = 2 g + n,   n uniform on [-1, 1].

Each bit appears in its own modality only: as a fixed pattern of +-1 in all features,
times the bit, in 20 to 40% of the steps (at least one), at random places. Every other
step carries another fixed pattern with a random sign that means nothing, and noise of
half that size is everywhere. Lengths are drawn apart for each modality, and a tenth of
the vision steps are holes. In every split the eight combinations of bits are equally
frequent, and n runs over the same even grid in each, so that the errors below hold for
every split, not just on average. Written out, with E|n| = 1/2 and E|c + n| = c for
c >= 1:

- Whoever knows all bits errs by E|n| = 0.5. That is `BEST_MAE`: n cannot be known.
- A constant c in [-1, 1] errs by E|+-2 + n - c| = 2, four times as much. Text alone
  knows no more: given t, g is still +1 or -1 evenly.
- Vision alone: g = v in three of four cases. The best guess is the median 5/3 v, with
  error 3/4 E|1/3 + n| + 1/4 (4 - 1/3) = 4/3, or 2.67 times the best. Audio likewise.
- Any two modalities, used in any way: where what they show settles g, the error is 1/2;
  that is in half of the cases. In the others g is even, error 2. Together 1.25, or 2.5
  times the best.
- Any sum f(text) + h(audio) + k(vision), which covers ridge on pooled features: take
  s = sign(n) where v = a, and t (v - a) / 2 elsewhere. |s| <= 1, and s is uncorrelated
  with every function of one modality (given that one, t or v - a or n is still even),
  so E|y - f - h - k| >= E[y s] = 1/2 E|n| + 1/2 2 = 1.25 again. What least squares
  finds, v + a, has just this error.

So only a model that reads all three, and multiplies, comes near 0.5.

The classifications have the same bits. Class 2 [g = 1] + [v = a] is one of four equally
frequent; 7.5% of the labels are wrong, the same share in each split, so `BEST_ACCURACY`
is 0.925. `binary` says of each class whether it is the label's.

Eight utterances in a row are a dialogue, in which two speakers take turns. They are
drawn apart from one another: context tells nothing, and the errors above hold there.

`shaped` gives small data sets with the labels of a corpus. MELD's seven emotions are
the eight combinations of the bits, of which two are neutral.
"""

import dataclasses

import numpy as np

from mcr_jax.data.columns import column
from mcr_jax.data.schema import Dataset, Modality
from mcr_jax.errors import UserError, choose

WIDTHS = {"text": 300, "audio": 74, "vision": 35}
STEPS = {"text": (4, 12), "audio": (12, 36), "vision": (15, 48)}
SAMPLES = (1920, 320, 640)
TASKS = ("regression", "multiclass", "binary")
CLASSES = ("neutral", "happy", "sad", "angry")

BEST_MAE = 0.5
BEST_ACCURACY = 0.925
MAE = {
  "mean predictor": 2.0,
  "text alone": 2.0,
  "audio alone": 4 / 3,
  "vision alone": 4 / 3,
  "any two modalities": 1.25,
  "ridge on pooled features": 1.25,
}

TURNS = 8

EMOTIONS = ("neutral", "joy", "surprise", "anger", "sadness", "disgust", "fear")
FEW = (320, 64, 160)  # samples of what is shaped like a corpus
SHAPES = {
  "mosi": "regression",
  "mosei": "regression",
  "iemocap": "binary",
  "meld": "emotions",
}

_WRONG = 0.075
_HOLES = 0.1


def make(
  seed: int = 0,
  *,
  samples: tuple[int, int, int] = SAMPLES,
  task: str = "regression",
  aligned: bool = False,
) -> Dataset:
  """Draws the data set.

  Args:
    seed: of everything random; the patterns are drawn with it.
    samples: in train, valid and test; multiples of 16.
    task: "regression", "multiclass" (four classes) or "binary" (four yes or no).
    aligned: whether the modalities share their steps, as after word alignment.
  """
  _check(samples, task)
  draw = _Draw(seed)
  bits, noise, wrong = _hidden(draw, samples)
  count = sum(samples)
  modalities = {}
  lengths = {m: draw.integers(count, low, high) for m, (low, high) in STEPS.items()}
  for name, bit in zip(WIDTHS, bits.T, strict=True):
    steps = lengths["text" if aligned else name]
    modalities[name] = _show(draw, bit, steps, WIDTHS[name], holes=name == "vision")
  splits = np.repeat(np.array(["train", "valid", "test"]), samples)
  return Dataset(
    ids=np.array([f"synthetic_{i:05d}" for i in range(count)]),
    modalities=modalities,
    splits=splits,
    labels=_labels(task, bits, noise, wrong),
    class_names=() if task == "regression" else CLASSES,
    source=f"synthetic (seed {seed})",
    columns=_dialogues(count),
  )


def shaped(corpus: str, seed: int = 0, *, aligned: bool = False) -> Dataset:
  """A small data set with the task and the classes of a corpus; nothing else is its.

  Args:
    corpus: of `SHAPES`.
    seed: of everything random.
    aligned: whether the modalities share their steps.
  """
  task = SHAPES[choose(corpus, SHAPES, "the corpus behind synthetic:")]
  emotions = task == "emotions"
  found = make(
    seed,
    samples=FEW,
    task="multiclass" if emotions else task,
    aligned=aligned,
  )
  source = f"synthetic, shaped like {corpus} (seed {seed})"
  if emotions:
    bits, _, wrong = _hidden(_Draw(seed), FEW)
    combination = (bits > 0) @ np.array([1, 2, 4])
    labels = (np.maximum(combination - 1, 0) + wrong) % len(EMOTIONS)
    found = found.relabelled(labels.astype(np.int32), class_names=EMOTIONS)
  return dataclasses.replace(found, source=source)


def describe() -> str:
  """What a model can reach on the regression, one line a predictor."""
  lines = [f"best possible: MAE {BEST_MAE:.2f}"]
  for name, error in MAE.items():
    lines.append(f"{name}: {error:.2f}, {error / BEST_MAE:.1f} times the best")
  return "\n".join(lines)


class _Draw:
  """Random numbers from the raw 64 bits of PCG64 alone.

  NumPy promises those for good; what its Generator makes of them may change.
  """

  def __init__(self, seed):
    self.source = np.random.PCG64(seed)

  def uniform(self, count):
    return (self.source.random_raw(count) >> np.uint64(11)) * 2.0**-53

  def integers(self, count, low, high):
    return low + (self.uniform(count) * (high - low + 1)).astype(np.int64)

  def signs(self, count):
    return np.where(self.uniform(count) < 0.5, -1.0, 1.0).astype(np.float32)

  def order(self, count):
    return np.argsort(self.uniform(count), kind="stable")

  def noise(self, rows, columns):
    """Uniform, with deviation 1/2, from 16 bits a value."""
    words = self.source.random_raw(-(-rows * columns // 4)).astype("<u8")
    values = words.view("<u2")[: rows * columns].astype(np.float32)
    values -= np.float32(32767.5)
    values *= np.float32(np.sqrt(3.0) / 65536)
    return values.reshape(rows, columns)


def _hidden(draw, samples):
  """Bits (N, 3) of text, audio, vision; noise (N,); wrong (N,) 0 or 1 to 3."""
  bits, noise, wrong = [], [], []
  for count in samples:
    # Every combination of bits meets every point of the grid once.
    point, combination = np.divmod(draw.order(count), 8)
    bits.append(np.where(combination[:, None] >> np.arange(3) & 1, 1, -1))
    noise.append((2 * point + 1) / (count // 8) - 1)
    mistakes = round(_WRONG * count)
    shift = np.zeros(count, np.int64)
    shift[:mistakes] = np.arange(mistakes) % 3 + 1
    wrong.append(shift[draw.order(count)])
  return np.concatenate(bits), np.concatenate(noise), np.concatenate(wrong)


def _labels(task, bits, noise, wrong):
  text, audio, vision = bits.T
  believed = np.where(text > 0, vision, audio)
  if task == "regression":
    return (2 * believed + noise).astype(np.float32)
  classes = (2 * (believed > 0) + (vision == audio) + wrong) % 4
  if task == "multiclass":
    return classes.astype(np.int32)
  return (classes[:, None] == np.arange(4)).astype(np.int32)


def _dialogues(count):
  """Which dialogue an utterance belongs to, its turn, and who speaks."""
  dialogue, turn = np.divmod(np.arange(count), TURNS)
  values = {"dialogue_id": dialogue, "turn": turn, "speaker": turn % 2}
  return {name: column(name, v, count, "synthetic") for name, v in values.items()}


def _show(draw, bit, lengths, width, *, holes):
  """One modality: the bit as a pattern in some steps, amid noise."""
  offsets = np.concatenate([[0], np.cumsum(lengths)])
  total = int(offsets[-1])
  owner = np.repeat(np.arange(len(bit)), lengths)
  within = np.arange(total) - offsets[:-1][owner]
  # A random order of the steps of each sample: its first ones show the bit, its last
  # ones are the holes. The order of all steps, stably sorted by sample, is one.
  order = draw.order(total)
  rank = np.empty(total, np.int64)
  rank[order[np.argsort(owner[order], kind="stable")]] = within
  share = 0.2 + 0.2 * draw.uniform(len(bit))
  shown = rank < np.maximum(1, np.round(share * lengths))[owner]
  mask = rank < (lengths - np.round(_HOLES * lengths * holes))[owner]

  patterns = draw.signs(2 * width).reshape(2, width)
  values = draw.noise(total, width)
  values += np.where(
    shown[:, None],
    bit.astype(np.float32)[owner, None] * patterns[0],
    draw.signs(total)[:, None] * patterns[1],
  )
  values *= mask[:, None]
  return Modality(values, offsets.astype(np.int64), mask).trimmed()


def _check(samples, task):
  choose(task, TASKS, "the task of the synthetic data")
  if len(samples) != 3 or any(n < 16 or n % 16 for n in samples):
    raise UserError(
      f"data.synthetic.samples={tuple(samples)}; right are three multiples of 16."
    )
