r"""MIA-Net with two, three and five modalities: Table 7 of its paper.

  python -m mcr_jax.sweep --config mia_net_mosi --config.data.path=FILE \
    --sweep mia_net_number --workdir runs/mia_net_number

published, MOSI   Acc7   Acc2   F1     MAE
modalities_2      48.83  88.72  88.73  0.59
modalities_3      53.35  89.79  89.79  0.59
modalities_5      52.62  89.79  89.73  0.57

The fourth and fifth are audio and vision once more, through a fully connected layer.
"""

POINTS = {
  "modalities_2": (("text", "audio"), ()),
  "modalities_3": (("text", "audio", "vision"), ()),
  "modalities_5": (("text", "audio", "vision"), ("audio", "vision")),
}


def get_sweep():
  follow = {"model.main": "", "model.auxiliaries": (), "data.lengths": {}}
  return [
    {"name": name, "data.modalities": modalities, "model.made": made, **follow}
    for name, (modalities, made) in POINTS.items()
  ]
