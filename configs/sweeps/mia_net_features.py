r"""MIA-Net on two sets of features: Table 6 of its paper.

  python -m mcr_jax.sweep --config mia_net_mosi --config.data.path=FILE \
    --sweep mia_net_features --workdir runs/mia_net_features

published   MOSEI: Acc7   Acc2   F1     MAE    MOSI: Acc7   Acc2   F1     MAE
F                  56.44  87.93  87.98  0.49         53.35  89.79  89.79  0.59
F_cmu              56.15  88.59  88.56  0.49         52.92  89.02  88.97  0.55

One feature file holds both sets: text (RoBERTa), audio (RoBERTa on vq-wav2vec) and
vision (FAb-Net); covarep and facet. The text is the same in both.
"""

SETS = {"F": ("text", "audio", "vision"), "F_cmu": ("text", "covarep", "facet")}


def get_sweep():
  follow = {"model.main": "", "model.auxiliaries": (), "data.lengths": {}}
  return [{"name": n, "data.modalities": m, **follow} for n, m in SETS.items()]
