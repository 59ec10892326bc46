"""Features of words, sound and pictures by models of `hub`, the last layer of each.

Sound (wav2vec2, HuBERT) is made even as its training was, and read in windows of 20 s
that share 2 s: each state comes from the window in which it lies at least 1 s from a
border. Pictures (CLIP) are read whole, cut to a square, and give what CLIP pools before
its projection. Words are the means of their pieces, of the text as it is written.
"""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mcr_jax.errors import UserError
from mcr_jax.extract import hub, text
from mcr_jax.extract.steps import means, steps, windows

RATE = 16_000
SECONDS, MARGIN = 20.0, 1.0
# Of CLIP, where a folder does not say.
MEAN, DEVIATION = (
  (0.48145466, 0.4578275, 0.40821073),
  (0.26862954, 0.26130258, 0.27577711),
)


class Sound:
  """Features of sound by wav2vec2 or HuBERT."""

  def __init__(self, folder: Path):
    said = hub.preprocessor_of(folder)
    if said.get("sampling_rate", RATE) != RATE:
      raise UserError(
        f"{folder} hears {said['sampling_rate']!r} samples a second, not {RATE:,}."
      )
    self._even = bool(said.get("do_normalize", True))
    self._model = hub.load(folder, "audio")
    config = self._model.config
    strides = list(config.conv_stride)
    self._stride = math.prod(strides)
    self._field = 1 + sum(
      (kernel - 1) * math.prod(strides[:i])
      for i, kernel in enumerate(config.conv_kernel)
    )
    if self._stride < 1 or self._field < 1:
      raise UserError(f"{folder}: convolutions of strides {strides} hear nothing.")
    name = config.model_type
    self.names = tuple(f"{name}_{i:04}" for i in range(config.hidden_size))

  def __call__(
    self, samples: np.ndarray, rate: float, seconds: float
  ) -> tuple[np.ndarray, np.ndarray]:
    """(T, D) features of samples (N,) at 16 kHz, and (T, 2) seconds of their steps."""
    times = steps(rate, seconds)
    samples = np.pad(samples, (0, max(0, self._field - len(samples))))
    if self._even:
      samples = (samples - samples.mean()) / np.sqrt(samples.var() + 1e-7)
    count = 1 + (len(samples) - self._field) // self._stride
    unit = self._stride / RATE
    most, margin = (max(1, round(x / unit)) for x in (SECONDS, MARGIN))
    found = []
    for first, last, kept, end in windows(count, max(most, 2 * margin + 1), margin):
      stop = (last - 1) * self._stride + self._field
      stop = len(samples) if last == count else stop
      states = self._states(samples[first * self._stride : stop])
      found.append(states[kept - first : end - first])
    centres = (np.arange(count) * self._stride + self._field / 2) / RATE
    return means(np.concatenate(found), centres, times), times

  def _states(self, samples: np.ndarray) -> np.ndarray:
    import torch

    with torch.inference_mode():
      wave = torch.from_numpy(np.ascontiguousarray(samples, np.float32))
      return self._model(wave[None]).last_hidden_state[0].numpy()


class Pictures:
  """Features of frames by the vision of CLIP."""

  def __init__(self, folder: Path):
    self._model = hub.load(folder, "vision")
    config, said = self._model.config, hub.preprocessor_of(folder)
    self._size = config.image_size
    if type(self._size) is not int:
      raise UserError(f"{folder}: image_size={self._size!r} must be one number.")
    try:
      values = [
        np.array(said.get(name) or default, np.float32).reshape(3, 1, 1)
        for name, default in (("image_mean", MEAN), ("image_std", DEVIATION))
      ]
    except (ValueError, TypeError):
      raise UserError(
        f"{folder / hub.PREPROCESSOR}: image_mean and image_std are three numbers each."
      ) from None
    self._mean, self._deviation = values
    self.names = tuple(f"clip_{i:04}" for i in range(config.hidden_size))

  def look(self, frames: Sequence[np.ndarray]) -> np.ndarray:
    """(N, D) of frames (height, width, 3) uint8."""
    import torch

    with torch.inference_mode():
      batch = torch.cat([self._square(frame) for frame in frames])
      return self._model(pixel_values=batch).pooler_output.numpy()

  def measure(
    self, found: list[np.ndarray], fresh: np.ndarray, rate: float
  ) -> tuple[np.ndarray, np.ndarray]:
    """Features (N, D), and where they are of now (N,); see `gather.Seer`."""
    return np.where(fresh[:, None], np.concatenate(found), 0), fresh

  def _square(self, frame):
    """(1, 3, size, size): the middle of a frame, its shorter side on `size` pixels."""
    import torch

    x = torch.from_numpy(frame.transpose(2, 0, 1).astype(np.float32))[None]
    height, width = x.shape[2:]
    scale = self._size / min(height, width)
    shape = [max(self._size, round(side * scale)) for side in (height, width)]
    x = torch.nn.functional.interpolate(x, shape, mode="bicubic", antialias=True)
    top, left = ((side - self._size) // 2 for side in shape)
    x = x[:, :, top : top + self._size, left : left + self._size].clamp(0, 255) / 255
    return (x - torch.from_numpy(self._mean)) / torch.from_numpy(self._deviation)


class Words:
  """Vectors of words by BERT or RoBERTa."""

  def __init__(self, folder: Path):
    self._model = hub.load(folder, "text")
    self._tokenizer = text.tokenizer_of(folder)
    config = self._model.config
    # RoBERTa's positions begin behind that of its padding.
    before = 0 if config.model_type == "bert" else config.pad_token_id + 1
    self._longest = config.max_position_embeddings - before
    self._width = config.hidden_size
    if self._tokenizer.get_vocab_size() > config.vocab_size:
      raise UserError(f"{folder}: the tokenizer belongs to other weights.")

  def words(self, words: Sequence[str]) -> np.ndarray:
    """(words, D) float32; long texts are read in pieces of what fits."""
    import torch

    found = np.zeros((len(words), self._width), np.float32)
    for first, ids, owner in text.parts(self._coded, list(words), self._longest):
      with torch.inference_mode():
        states = self._model(torch.from_numpy(ids)[None]).last_hidden_state[0].numpy()
      for word in np.unique(owner[owner >= 0]):
        found[first + word] = states[owner == word].mean(0)
    return found

  def _coded(self, words: list[str]):
    """Ids of the pieces of words, and the word of each piece or None."""
    coded = self._tokenizer.encode(" ".join(words))
    # Where the word after each begins.
    starts, last = np.cumsum([len(word) + 1 for word in words]), len(words) - 1
    owners = [
      # What begins with the space before a word, or is it, is of the word.
      None if special else min(int(np.searchsorted(starts, end, "right")), last)
      for (_, end), special in zip(
        coded.offsets, coded.special_tokens_mask, strict=True
      )
    ]
    return coded.ids, owners
