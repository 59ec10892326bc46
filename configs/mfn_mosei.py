r"""MFN on CMU-MOSEI, with published settings.

  python -m mcr_jax.train --config mfn_mosei --workdir runs/mfn_mosei \
    --config.data.path=aligned_50.pkl

The sizes, rates and dropouts are those of the MMSA collection, which were found with
BERT vectors as text. Data is that of `mcr_mosei.py`; `:unaligned` spreads frames and
audio evenly over the words. `:quick` is two epochs on synthetic data.
"""

import ml_collections as mlc

from configs import common


def get_config(arg: str = "") -> mlc.ConfigDict:
  c = mlc.ConfigDict()
  c.seeds = (0, 1, 2, 3, 4)
  c.data = dict(buckets=3, nonfinite="zero")
  c.data.modalities = ("text", "audio", "vision")
  c.data.lengths = dict(text=50, audio=50, vision=50)
  c.model = dict(name="mfn", memory=128)
  c.model.widths = dict(text=128, audio=32, vision=128)
  c.model.update(attention_width=128, proposal_width=128)
  c.model.update(retain_width=256, update_width=256, output_width=128)
  c.model.update(attention_dropout=0.2, proposal_dropout=0.5)
  c.model.update(retain_dropout=0.7, update_dropout=0.0, output_dropout=0.5)
  c.loss = dict(name="l1")
  c.optim = dict(name="adam", lr=5e-4, weight_decay=1e-4, clip=0.0)
  c.train = dict(epochs=100, batch_size=64, monitor="mae", patience=8)
  return common.finish(c, arg, unaligned=unaligned)


def unaligned(c: mlc.ConfigDict) -> None:
  lengths = dict(text=50, audio=500, vision=500)
  common.set_fields(c, "data", buckets=6, lengths=lengths)
  c.model.align = "uniform"
