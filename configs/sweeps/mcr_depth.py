r"""MCR with 1 to 6 reinforcement layers: Fig. 7 of its paper.

  python -m mcr_jax.sweep --config mcr_mosi:unaligned \
    --sweep mcr_depth --workdir runs/mcr_depth \
    --config.data.path=unaligned_50.pkl

The figure has no numbers; it is best with 3 layers on MOSI and with 4 on MOSEI.
"""


def get_sweep():
  return [{"name": f"layers_{n}", "model.num_layers": n} for n in range(1, 7)]
