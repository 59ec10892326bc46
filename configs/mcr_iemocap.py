r"""MCR on IEMOCAP, four emotions, as in Table 1 of its paper.

  python -m mcr_jax.train --config mcr_iemocap --workdir runs/mcr_iemocap \
    --config.data.path=iemocap_data.pkl

published    happy         sad           angry         neutral
             Acc    F1     Acc    F1     Acc    F1     Acc    F1
aligned      92.6   89.8   88.6   88.4   89.4   88.3   74.1   72.7
unaligned    87.4   85.5   81.4   76.6   76.1   73.5   66.3   62.9

Each emotion is a question of its own: four two-way softmaxes. The data is a file with
GloVe words, Facet frames and COVAREP audio, at most 20 steps each. Variants:
`:unaligned` (20 words, 500 frames, 400 steps of audio), `:quick` (two epochs on
synthetic data), or both, `:unaligned,quick`. The paper states neither dropouts nor
clipping: these are MulT's for the same corpus.
"""

import ml_collections as mlc

from configs import common


def get_config(arg: str = "") -> mlc.ConfigDict:
  c = mlc.ConfigDict()
  c.seeds = (0, 1, 2, 3, 4)
  c.data = dict(task="binary", buckets=2)
  c.data.modalities = ("text", "vision", "audio")
  c.data.absent = "leave"
  c.data.nonfinite = "zero"
  c.data.lengths = dict(text=20, vision=20, audio=20)
  c.model = dict(name="mcr", width=40, heads=10, num_layers=3, kernel=3)
  c.model.kernels = dict(audio=5)
  c.model.update(embed_dropout=0.3, output_dropout=0.1)
  c.model.update(attention_dropout=0.25, relu_dropout=0.25, residual_dropout=0.25)
  c.loss = dict(name="cross_entropy")
  c.optim = dict(name="adam", lr=2e-3, clip=0.8)
  c.train = dict(epochs=60, batch_size=32, eval_batch_size=64)
  return common.finish(c, arg, unaligned=unaligned)


def unaligned(c: mlc.ConfigDict) -> None:
  lengths = dict(text=20, vision=500, audio=400)
  common.set_fields(c, "data", buckets=6, lengths=lengths)
  c.model.remat = True  # of sequences this long the activations are the memory
