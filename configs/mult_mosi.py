r"""MulT on CMU-MOSI, with the settings of its paper (Table 5).

  python -m mcr_jax.train --config mult_mosi --workdir runs/mult_mosi \
    --config.data.path=aligned_50.pkl

published    Acc7   Acc2   F1     MAE    Corr
aligned      40.0   83.0   82.8   0.871  0.698
unaligned    39.1   81.1   81.0   0.889  0.686

Data and variants are those of `mcr_mosi.py`.
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
  c.model = dict(name="mult", width=40, heads=10, layers=4, kernel=3)
  c.model.update(text_dropout=0.2, embed_dropout=0.2, output_dropout=0.1)
  c.model.attention_dropouts = dict(vision=0.0, audio=0.0)  # as in the authors' program
  c.model.update(attention_dropout=0.2, relu_dropout=0.2, residual_dropout=0.2)
  c.loss = dict(name="auto")
  c.optim = dict(name="adam", lr=1e-3, clip=0.8)
  c.train = dict(epochs=100, batch_size=128, monitor="loss")
  return common.finish(c, arg, unaligned=unaligned)


def unaligned(c: mlc.ConfigDict) -> None:
  lengths = dict(text=50, vision=500, audio=375)
  common.set_fields(c, "data", buckets=6, lengths=lengths)
  c.model.remat = True  # of sequences this long the activations are the memory
