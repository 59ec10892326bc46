r"""MFN on CMU-MOSI, with published settings.

  python -m mcr_jax.train --config mfn_mosi --workdir runs/mfn_mosi \
    --config.data.path=aligned_50.pkl

The sizes, rates and dropouts are those of the MMSA collection, which were found with
BERT vectors as text; `:authors` has those that the authors logged with GloVe words (MAE
0.993 there, and 0.954 of the weights that they released). Data is that of
`mcr_mosi.py`; `:unaligned` spreads frames and audio evenly over the words. `:quick` is
two epochs on synthetic data.
"""

import ml_collections as mlc

from configs import common


def get_config(arg: str = "") -> mlc.ConfigDict:
  c = mlc.ConfigDict()
  c.seeds = (0, 1, 2, 3, 4)
  c.data = dict(buckets=3, nonfinite="zero")
  c.data.modalities = ("text", "audio", "vision")
  c.data.lengths = dict(text=50, audio=50, vision=50)
  c.model = dict(name="mfn", memory=400)
  c.model.widths = dict(text=256, audio=32, vision=256)
  c.model.update(attention_width=32, proposal_width=64)
  c.model.update(retain_width=256, update_width=32, output_width=128)
  c.model.update(attention_dropout=0.2, proposal_dropout=0.0)
  c.model.update(retain_dropout=0.7, update_dropout=0.5, output_dropout=0.0)
  c.loss = dict(name="l1")
  c.optim = dict(name="adam", lr=2e-3, clip=0.0)
  c.train = dict(epochs=100, batch_size=128, monitor="mae", patience=8)
  return common.finish(c, arg, unaligned=unaligned, authors=authors)


def unaligned(c: mlc.ConfigDict) -> None:
  lengths = dict(text=50, audio=375, vision=500)
  common.set_fields(c, "data", buckets=6, lengths=lengths)
  c.model.align = "uniform"


def authors(c: mlc.ConfigDict) -> None:
  widths = dict(text=88, audio=48, vision=16)
  common.set_fields(c, "model", widths=widths, memory=128)
  c.model.update(attention_width=128, proposal_width=64)
  c.model.update(retain_width=256, update_width=64, output_width=64)
  c.model.update(attention_dropout=0.0, proposal_dropout=0.2)
  c.model.update(retain_dropout=0.0, update_dropout=0.2, output_dropout=0.5)
  common.set_fields(c, "optim", lr=1e-2)
  common.set_fields(c, "train", epochs=50, patience=0)
