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
as they come, but for MIA-Net's: set widths and dropouts with
`--config.model.FIELD=VALUE`.

MIA-Net with its paper's settings learns small sets of vectors by heart. Here it has
more channels where vectors are narrow, dropout, a stronger decay, and biases that tell
columns apart from the start. Chosen among 20 settings by seed 0; least loss on the
validation split and CPU seconds a seed, 2026-11-28:

samples, widths, labels, seeds         concat      plain MIA-Net   MIA-Net here
752, 100/73/100, a sentiment, 1 to 2   .935 (2)    .916 (5)        .896 (6)
1,108, 768/768, seven emotions, 0      1.141 (3)   1.260 (12)      1.090 (23)
720 drawn, 180/136, eight classes, 1-2 .277 (2)    .635 (4)        .499 (7)

On the last of these, whose classes are nearly linear in the features, concat stays the
better choice. What a module costs grows with the square of the width: 768 features took
3 CPU s an epoch and 1 GB. `model.encoder=lstm`, which makes 128 of them first, took 1 s
and came to 1.092.
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
  if model == "mia_net":
    c.model.update(channels=0, dropout=0.5, column_scale=0.3, column_bias=2.0)
    c.optim.weight_decay = 1.0
  return common.finish(c, rest)
