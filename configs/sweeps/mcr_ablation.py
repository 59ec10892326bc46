r"""MCR without its parts: Table 5 of its paper.

  python -m mcr_jax.sweep --config mcr_mosi:unaligned \
    --sweep mcr_ablation --workdir runs/mcr_ablation \
    --config.data.path=unaligned_50.pkl

published, unaligned     MOSI: Acc2  F1    MAE    MOSEI: Acc2  F1    MAE
full                           84.8  84.6  0.824         84.7  84.3  0.554
language                       80.6  79.8  0.855         81.4  80.8  0.581
video                          77.8  76.1  0.897         78.6  77.2  0.595
audio                          76.2  75.8  0.914         78.2  76.9  0.613
to_language                    83.1  82.7  0.833         83.2  82.8  0.568
to_video                       81.6  81.2  0.841         81.6  81.1  0.578
to_audio                       81.2  80.4  0.850         81.1  80.4  0.585
low_level_source               82.5  82.3  0.836         82.4  81.8  0.572
feed_forward_source            81.8  81.6  0.840         81.7  81.3  0.576
no_selective_memory            83.2  82.9  0.832         83.5  83.0  0.564
no_cmu                         81.3  81.0  0.845         82.6  82.3  0.570
no_mutual_attention            84.1  83.7  0.827         83.8  83.4  0.562
no_scu                         82.2  81.8  0.838         81.3  80.6  0.582
no_attention_layer             83.5  83.2  0.832         84.2  83.7  0.559
serial                         82.1  81.5  0.839         81.8  81.6  0.574
"""

NAMES = {"language": "text", "video": "vision", "audio": "audio"}
PARTS = {
  "low_level_source": {"model.source_update": "low_level"},
  "feed_forward_source": {"model.source_update": "ffl"},
  "no_selective_memory": {"model.source_update": "sum_no_smm"},
  "no_cmu": {"model.cmu": False},
  "no_mutual_attention": {"model.mutual_attention": False},
  "no_scu": {"model.scu": False},
  "no_attention_layer": {"model.attention_layer": False},
  "serial": {"model.structure": "serial"},
}


def get_sweep():
  alone = [{"name": name, "data.modalities": (m,)} for name, m in NAMES.items()]
  toward = [{"name": f"to_{name}", "model.targets": (m,)} for name, m in NAMES.items()]
  parts = [{"name": name, **changes} for name, changes in PARTS.items()]
  return [{"name": "full"}, *alone, *toward, *parts]
