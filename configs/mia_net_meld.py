r"""MIA-Net on MELD, as in Tables 3 and 5 of its paper.

  python -m mcr_jax.train --config mia_net_meld --workdir runs/mia_net_meld \
    --config.data.path=FILE

published F1      neutral  sadness  anger  joy    surprise  fear   disgust  weighted
F                 79.83    41.92    52.52  61.98  58.68     27.40  28.28    65.82
trained on MOSEI                                                             64.68

9,955/1,106/2,607 utterances in the paper, seven emotions. Features and variants are
those of `mia_net_mosi.py`; the last row starts from its MOSEI run with
`--config.train.init_from=runs/mia_net_mosei --config.train.only=head`.
"""

import ml_collections as mlc

from configs import common, mia_net_mosi


def get_config(arg: str = "") -> mlc.ConfigDict:
  c = mia_net_mosi.get_config()
  c.data.update(task="multiclass")
  return common.finish(c, arg, f_cmu=mia_net_mosi.f_cmu)
