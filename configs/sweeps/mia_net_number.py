r"""MIA-Net with two, three and five modalities: Table 7 of its paper.

  python -m mcr_jax.sweep --config CONFIG.py --workdir runs/mia_net_number \
    --sweep configs/sweeps/mia_net_number.py --config.data.path=FILE

published, MOSI   Acc7   Acc2   F1     MAE
modalities_2      48.83  88.72  88.73  0.59
modalities_3      53.35  89.79  89.79  0.59
modalities_5      52.62  89.79  89.73  0.57

The fourth and fifth of the paper are audio and video after a fully connected layer;
the feature file holds them as audio_2 and vision_2.
"""

ALL = ("text", "audio", "vision", "audio_2", "vision_2")


def get_sweep():
  follow = {"model.main": "", "model.auxiliaries": (), "data.lengths": {}}
  return [
    {"name": f"modalities_{n}", "data.modalities": ALL[:n], **follow} for n in (2, 3, 5)
  ]
