r"""MCR on the synthetic data: the whole path from nothing to a tested model.

  python -m mcr_jax.train --config mcr_synthetic --workdir runs/first

The best achievable MAE is 0.50; see `mcr_jax/data/synthetic.py`.
"""

import ml_collections as mlc

from configs import common


def get_config(arg: str = "") -> mlc.ConfigDict:
  c = mlc.ConfigDict()
  c.seeds = (0, 1, 2)
  c.data = dict(path="synthetic")
  c.model = dict(name="mcr", width=32, heads=4, num_layers=1)
  for name in ("embed", "attention", "relu", "residual", "output"):
    c.model[f"{name}_dropout"] = 0.1
  c.loss = dict(name="l1")
  c.optim = dict(name="adamw", lr=2e-3, clip=1.0, schedule="cosine", warmup_steps=40)
  c.train = dict(epochs=10, batch_size=32)
  return common.finish(c, arg)
