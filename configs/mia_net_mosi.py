r"""MIA-Net on CMU-MOSI, as in Tables 1 and 5 of its paper.

  python -m mcr_jax.train --config mia_net_mosi --workdir runs/mia_net_mosi \
    --config.data.path=FILE

published            Acc7   Acc2   F1     MAE
F                    53.35  89.79  89.79  0.59
F_cmu                52.92  89.02  88.97  0.55
trained on MOSEI     51.60  88.57  88.55  0.58
trained on MELD      47.09  89.02  89.00  0.63

F is one vector an utterance: text 1024 (RoBERTa-large), audio 768 (RoBERTa on
vq-wav2vec), vision 256 (FAb-Net); other widths and sequences, which are averaged, work
as well. Variants: `:f_cmu` (text, COVAREP and Facet, under these names in the file) and
`:quick` (two epochs on synthetic data). A run on MOSEI is tested here by

  python -m mcr_jax.evaluate --workdir runs/mia_net_mosei --split test --input FILE

and one on MELD has its last layer trained here first, with
`--config.train.init_from=runs/mia_net_meld --config.train.only=head`.
The paper states neither dropout nor clipping, and so there are none.
"""

import ml_collections as mlc

from configs import common


def get_config(arg: str = "") -> mlc.ConfigDict:
  c = mlc.ConfigDict()
  c.seeds = (0, 1, 2, 3, 4)
  c.data = dict(modalities=("text", "audio", "vision"), absent="leave")
  c.model = dict(name="mia_net", channels=4)
  c.loss = dict(gamma=0.3)
  c.optim = dict(name="adam", lr=1.7e-5, clip=0.0)
  c.train = dict(epochs=50, batch_size=18, patience=6, monitor="loss")
  return common.finish(c, arg, f_cmu=f_cmu)


def f_cmu(c: mlc.ConfigDict) -> None:
  # COVAREP holds infinities.
  modalities = ("text", "covarep", "facet")
  common.set_fields(c, "data", modalities=modalities, nonfinite="zero")
