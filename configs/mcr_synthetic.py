r"""MCR on the embedded data: the whole path from nothing to a tested model.

  python -m mcr_jax.train --config configs/mcr_synthetic.py --workdir runs/first

The best achievable MAE is 0.50; see `mcr_jax/data/synthetic.py`.
"""

import ml_collections as mlc

from configs import common


def get_config(arg: str = "") -> mlc.ConfigDict:
  c = mlc.ConfigDict()
  c.seeds = (0, 1, 2)
  c.data = dict(name="synthetic")
  c.model = dict(name="mcr", width=40, heads=8, num_layers=2)
  c.loss = dict(name="l1")
  c.optim = dict(name="adam", lr=2e-3, clip=1.0, schedule="cosine", warmup_steps=40)
  c.train = dict(epochs=20, batch_size=64)
  return common.finish(c, arg)
