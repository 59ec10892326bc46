r"""MIA-Net with one, two and three modalities: Table 4 of its paper.

  python -m mcr_jax.sweep --config mia_net_mosi --config.data.path=FILE \
    --sweep mia_net_modalities --workdir runs/mia_net_modalities

published, MOSI    Acc7   Acc2   F1     MAE
audio              15.60  42.53  25.73  1.47
video              17.35  50.61  49.27  1.51
text               47.81  87.96  87.95  0.60
text_audio         48.83  88.72  88.73  0.59
text_video         49.42  88.11  88.14  0.60
text_audio_video   53.35  89.79  89.79  0.59

The first modality is the main one. Alone, it goes straight to the output layer.
"""

SETS = {
  "audio": ("audio",),
  "video": ("vision",),
  "text": ("text",),
  "text_audio": ("text", "audio"),
  "text_video": ("text", "vision"),
  "text_audio_video": ("text", "audio", "vision"),
}


def get_sweep():
  follow = {"model.main": "", "model.auxiliaries": (), "data.lengths": {}}
  return [{"name": n, "data.modalities": m, **follow} for n, m in SETS.items()]
