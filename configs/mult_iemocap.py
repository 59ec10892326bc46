r"""MulT on IEMOCAP, four emotions, with the settings of its paper (Table 5).

  python -m mcr_jax.train --config mult_iemocap --workdir runs/mult_iemocap \
    --config.data.path=iemocap_data.pkl

published    happy         sad           angry         neutral
             Acc    F1     Acc    F1     Acc    F1     Acc    F1
aligned      90.7   88.6   86.7   86.0   87.4   87.0   72.4   70.7
unaligned    84.8   81.9   77.7   74.1   73.9   70.2   62.5   59.7

Data and variants are those of `mcr_iemocap.py`.
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
  c.model = dict(name="mult", width=40, heads=10, layers=4, kernel=3)
  c.model.kernels = dict(audio=5)
  c.model.update(text_dropout=0.3, embed_dropout=0.3, output_dropout=0.1)
  c.model.attention_dropouts = dict(vision=0.0, audio=0.0)  # as in the authors' program
  c.model.update(attention_dropout=0.25, relu_dropout=0.25, residual_dropout=0.25)
  c.loss = dict(name="cross_entropy")
  c.optim = dict(name="adam", lr=2e-3, clip=0.8)
  c.train = dict(epochs=30, batch_size=32, eval_batch_size=64)
  return common.finish(c, arg, unaligned=unaligned)


def unaligned(c: mlc.ConfigDict) -> None:
  lengths = dict(text=20, vision=500, audio=400)
  common.set_fields(c, "data", buckets=6, lengths=lengths)
  c.model.remat = True  # of sequences this long the activations are the memory
