r"""MCR on CMU-MOSI, as in Table 1 of its paper.

  python -m mcr_jax.train --config mcr_mosi --workdir runs/mcr_mosi \
    --config.data.path=aligned_50.pkl

published    Acc7   Acc2   F1     MAE    Corr
aligned      43.8   86.5   85.7   0.802  0.747
unaligned    42.6   84.8   84.6   0.824  0.735

The data is a file with GloVe words, Facet frames and COVAREP audio, 1284/229/686
samples, at most 50 steps each. Variants: `:unaligned` (50 words, 500 frames, 375 steps
of audio), `:quick` (two epochs on synthetic data), or both, `:unaligned,quick`. The
paper states neither dropouts nor clipping: these are MulT's for the same corpus.
"""

import ml_collections as mlc

from configs import common


def get_config(arg: str = "") -> mlc.ConfigDict:
  c = mlc.ConfigDict()
  c.seeds = (0, 1, 2, 3, 4)
  c.data = dict(buckets=3, nonfinite="zero")
  c.data.modalities = ("text", "vision", "audio")
  c.data.absent = "leave"
  c.data.lengths = dict(text=50, vision=50, audio=50)
  c.model = dict(name="mcr", width=40, heads=10, num_layers=3, kernel=3)
  c.model.update(embed_dropout=0.2, output_dropout=0.1)
  c.model.update(attention_dropout=0.2, relu_dropout=0.2, residual_dropout=0.2)
  c.loss = dict(name="auto")
  c.optim = dict(name="adam", lr=1e-3, clip=0.8)
  c.train = dict(epochs=120, batch_size=64, monitor="loss")
  return common.finish(c, arg, unaligned=unaligned)


def unaligned(c: mlc.ConfigDict) -> None:
  lengths = dict(text=50, vision=500, audio=375)
  common.set_fields(c, "data", buckets=6, lengths=lengths)
  c.model.remat = True  # of sequences this long the activations are the memory
