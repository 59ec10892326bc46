r"""MIA-Net with other main modalities and orders: Table 8 of its paper.

  python -m mcr_jax.sweep --config mia_net_mosei --config.data.path=FILE \
    --sweep mia_net_order --workdir runs/mia_net_order

published            MOSEI: Acc7   Acc2   F1     MAE    MELD: weighted F1
text_video_audio            56.40  87.29  87.18  0.49         65.23
text_audio_video            56.44  87.93  87.98  0.49         65.82
audio_video_text            53.03  85.95  85.89  0.53         59.71
video_audio_text            54.29  85.97  86.02  0.53         58.48

Main modality first, then the auxiliaries in the order they are read.
"""

ORDERS = (
  ("text", "vision", "audio"),
  ("text", "audio", "vision"),
  ("audio", "vision", "text"),
  ("vision", "audio", "text"),
)


def get_sweep():
  return [
    {
      "name": "_".join(order).replace("vision", "video"),
      "model.main": order[0],
      "model.auxiliaries": order[1:],
    }
    for order in ORDERS
  ]
