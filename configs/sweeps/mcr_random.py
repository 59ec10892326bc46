r"""Random search for MCR, by validation alone.

  python -m mcr_jax.sweep --config mcr_mosi \
    --sweep mcr_random --workdir runs/mcr_random \
    --config.data.path=aligned_50.pkl

Twenty points with one seed each. Those of one depth and width differ only in numbers
and share a program. The best one by validation is trained with five seeds and tested.
"""

from configs.sweeps import common


def get_sweep():
  space = {
    "optim.lr": common.log_uniform(2e-4, 5e-3),
    "optim.weight_decay": common.log_uniform(1e-6, 1e-2),
    "model.width": (20, 40),
    "model.num_layers": (1, 2, 3),
    "model.embed_dropout": common.uniform(0.0, 0.4),
    "model.attention_dropout": common.uniform(0.0, 0.4),
    "model.relu_dropout": common.uniform(0.0, 0.3),
    "model.residual_dropout": common.uniform(0.0, 0.3),
    "model.output_dropout": common.uniform(0.0, 0.5),
  }
  return common.random(space, trials=20)
