r"""Your own data: any modalities, any task, any model.

  python -m mcr_jax.train --config own --workdir runs/own --config.data.path=FILE
  python -m mcr_jax.train --config own:mia_net --workdir runs/own \
    --config.data.path=FILE

The file decides modalities, their order and lengths, the task and with it the loss (the
absolute error, or cross-entropy) that also chooses the epoch; `python -m mcr_jax.data
inspect FILE` says what it holds. What may follow the colon is a model, MCR without one,
and `quick`: two epochs on synthetic data.

Training stops ten epochs after the last improvement; the learning rate falls before.
The numbers suit some hundred to some ten thousand samples. The models' own fields are
as they come: set widths and dropouts with `--config.model.FIELD=VALUE`.
"""

import ml_collections as mlc

from configs import common


def get_config(arg: str = "") -> mlc.ConfigDict:
  model, _, rest = arg.partition(",")
  if model in ("", "quick"):
    model, rest = "mcr", arg
  c = mlc.ConfigDict()
  c.seeds = (0, 1, 2)
  c.data = dict(buckets=2)
  c.model = dict(name=model)
  c.optim = dict(name="adamw", lr=1e-3, weight_decay=0.01, clip=1.0)
  c.optim.update(schedule="plateau", plateau_factor=0.3, plateau_patience=4)
  c.train = dict(epochs=100, batch_size=32, patience=10, monitor="loss")
  return common.finish(c, rest)
