r"""MIA-Net on CMU-MOSEI, as in Tables 2 and 5 of its paper.

  python -m mcr_jax.train --config mia_net_mosei \
    --workdir runs/mia_net_mosei --config.data.path=FILE

published            Acc7   Acc2   F1     MAE
F                    56.44  87.93  87.98  0.49
F_cmu                56.15  88.59  88.56  0.49
trained on MOSI      49.31  83.80  83.92  0.58
trained on MELD      55.24  86.25  86.39  0.51

16,328/1,872/4,663 samples in the paper. Features, variants and the commands of
the last two rows are those of `mia_net_mosi.py`.
"""

import ml_collections as mlc

from configs import mia_net_mosi


def get_config(arg: str = "") -> mlc.ConfigDict:
  return mia_net_mosi.get_config(arg)
