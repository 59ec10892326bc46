r"""MCR on CMU-MOSEI, as in Table 1 of its paper.

  python -m mcr_jax.train --config mcr_mosei --workdir runs/mcr_mosei \
    --config.data.path=aligned_50.pkl

published    Acc7   Acc2   F1     MAE    Corr
aligned      55.2   85.1   84.7   0.542  0.743
unaligned    54.5   84.7   84.3   0.554  0.736

The data is a file with GloVe words, Facet frames and COVAREP audio, 16326/1871/4659
samples, at most 50 steps each. Variants: `:unaligned` (50 words, 500 steps of the
others; files that are shared have 500 of one and 375 or 500 of the other), `:quick`
(two epochs on synthetic data), or both, `:unaligned,quick`. The paper states neither
dropouts nor clipping: these are MulT's for the same corpus.
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
  c.model = dict(name="mcr", width=40, heads=8, num_layers=4, kernel=3)
  c.model.update(embed_dropout=0.3, output_dropout=0.1)
  c.model.update(attention_dropout=0.1, relu_dropout=0.1, residual_dropout=0.1)
  c.loss = dict(name="auto")
  c.optim = dict(name="adam", lr=1e-3, clip=1.0)
  c.train = dict(epochs=30, batch_size=16, eval_batch_size=64, monitor="loss")
  return common.finish(c, arg, unaligned=unaligned)


def unaligned(c: mlc.ConfigDict) -> None:
  lengths = dict(text=50, vision=500, audio=500)
  common.set_fields(c, "data", buckets=6, lengths=lengths)
  c.model.remat = True  # of sequences this long the activations are the memory
