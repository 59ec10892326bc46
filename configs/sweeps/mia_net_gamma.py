r"""MIA-Net by the weight of its kernel regularisation: Fig. 2 and 3 of its paper.

  python -m mcr_jax.sweep --config mia_net_mosi --config.data.path=FILE \
    --sweep mia_net_gamma --workdir runs/mia_net_gamma

Gamma 0 is training without the joint loss. The figures have no numbers; 0.3 is best
there. All points and seeds train as one program.
"""


def get_sweep():
  return [
    {"name": f"gamma_{g}", "loss.gamma": g} for g in (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6)
  ]
