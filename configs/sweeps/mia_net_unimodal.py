r"""One modality, straight to the output layer: Table 9 of the paper of MIA-Net.

  python -m mcr_jax.sweep --config mia_net_mosei --config.data.path=FILE \
    --sweep mia_net_unimodal --workdir runs/mia_net_unimodal

published   MOSEI: Acc7   Acc2   F1     MAE    MELD: weighted F1
audio              42.28  70.46  69.05  0.78         31.43
video              41.03  66.42  62.65  0.80         31.38
text               52.70  86.94  86.91  0.54         61.32
"""

NAMES = {"audio": "audio", "video": "vision", "text": "text"}


def get_sweep():
  follow = {"model.main": "", "model.auxiliaries": (), "data.lengths": {}}
  return [{"name": n, "data.modalities": (m,), **follow} for n, m in NAMES.items()]
