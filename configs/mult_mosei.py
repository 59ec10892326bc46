r"""MulT on CMU-MOSEI, with the settings of its paper (Table 5).

  python -m mcr_jax.train --config mult_mosei --workdir runs/mult_mosei \
    --config.data.path=aligned_50.pkl

published    Acc7   Acc2   F1     MAE    Corr
aligned      51.8   82.5   82.3   0.580  0.703
unaligned    50.7   81.6   81.6   0.591  0.694

Data and variants are those of `mcr_mosei.py`.
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
  c.model = dict(name="mult", width=40, heads=8, layers=4, kernel=3)
  c.model.update(text_dropout=0.3, embed_dropout=0.3, output_dropout=0.1)
  c.model.attention_dropouts = dict(vision=0.0, audio=0.0)  # as in the authors' program
  c.model.update(attention_dropout=0.1, relu_dropout=0.1, residual_dropout=0.1)
  c.loss = dict(name="auto")
  c.optim = dict(name="adam", lr=1e-3, clip=1.0)
  c.train = dict(epochs=20, batch_size=16, eval_batch_size=64, monitor="loss")
  return common.finish(c, arg, unaligned=unaligned)


def unaligned(c: mlc.ConfigDict) -> None:
  lengths = dict(text=50, vision=500, audio=500)
  common.set_fields(c, "data", buckets=6, lengths=lengths)
  c.model.remat = True  # of sequences this long the activations are the memory
