r"""MCR, or MulT, on the timed words of CMU-MOSI, standard split.

  python benchmarks/real_data.py --data FOLDER --out runs/real --only mosi_text

writes the feature file and trains this config on it.
Test MAE, five seeds, 2026-11-22: text 1.193 +- 0.027 (ridge 1.229, ridge on TF-IDF
1.132), text + timing 1.227 +- 0.066 (ridge 1.213); with a weight decay of 1, three
modalities 1.283 +- 0.098 (ridge 1.256), MulT 1.302 +- 0.054. Chosen by validation over
rates of 1e-3 to 1e-2, weight decays of 0.001 to 3, dropouts of 0.1 to 0.6, and a cosine
schedule; rates below 2e-3 and dropouts of 0.6 were worse. No other width was tried.
Variants: `text` (GloVe alone), `text_timing`; without one, the three modalities text,
timing and one openSMILE vector as a sequence of one step. `mult` is the same with MulT.

`minilm` reads frozen MiniLM vectors in place of GloVe. Its width and rate were set by
hand, not searched for, and runs of two and three seeds were seen on test before these:
the test is not untouched. Twelve draws over rate, decay and five dropouts, chosen by
the 229 validation samples with a seed each, did worse on it (MAE 0.957 +- 0.052).
Test, five seeds, 2026-11-28; in brackets less the L1 regression on the mean of the
words alone (MAE .931, Corr .709, Acc2 has-0 .805), 95% by a paired bootstrap over
samples:

                MAE                     Corr                  Acc2 has-0
each seed       .907 +- .045 [-.07,.02] .725 [-.01,.04]       .797 [-.03,.01]
seeds averaged  .841 [-.13,-.05]        .753 [.02,.07]        .818 [-.01,.04]

Five other first weights (timing under another name) gave .898 +- .033, .720 and .795,
averaged .843, .746 and .809.

One training is no better than the regression beyond chance. Five whose predictions are
averaged are in MAE and Corr (p = .001; by videos .014 and .004), in Acc2 not beyond
chance (p = .29). Why Acc2 does not follow MAE, found on test, nothing chosen by it:
- Trainings differ. With 1284 samples a prediction scatters by 0.44 from seed to seed.
  That carries labels of 1 to 2 across zero: 82% are on their side, of the regression
  87%, of the averaged seeds 85%; of labels below 1 MCR has more (65% against 60%). The
  best epoch is one of 3 to 12, and at the end the loss is .45 in training, .94 in
  validation: this points at variance, not at too small a model.
- 57% of the labels are >= 0 in training, 60% in validation, 45% in test. Predictions
  are too high there, those of the regression by .18, of the seeds by .14 to .45.
  Validation does not show it: an offset chosen there moves Acc2 from .797 to .786; the
  best one would give .814.
- 686 samples tell two such methods apart from a difference of some .022 on.
By folds instead, test untouched: the 1513 samples of training and validation in five
folds by video, two seeds each, less the same regression in the same folds (MAE .962,
Corr .632, Acc2 .763), 95% by a bootstrap over samples. The budget was four settings:

                      MAE               Corr            Acc2 has-0        averaged
as it is              .913 [-.08,-.02]  .669 [.02,.06]  .758 [-.02,.01]    .876, .766
text as one target    .925 [-.07,-.01]  .656 [.00,.04]  .757 [-.02,.01]    .893, .762
word dropout of .5    .925 [-.07,-.01]  .659 [.01,.05]  .764 [-.01,.02]    .889, .765
15 epochs, a cosine   .923 [-.07,-.01]  .668 [.02,.06]  .766 [-.01,.02]    .892, .766

So where twice as many are tested, one training is better than the regression in MAE and
Corr, in Acc2 neither better nor worse, and none of the three changes helps. `averaged`
is the MAE and Acc2 of both seeds' mean prediction.
Not tried: width, pooling, order of norms, the projection's width, positional scale.
"""

import ml_collections as mlc

from configs import common

DROPOUTS = dict(
  embed_dropout=0.3,
  attention_dropout=0.2,
  relu_dropout=0.2,
  residual_dropout=0.2,
  output_dropout=0.3,
)


def get_config(arg: str = "") -> mlc.ConfigDict:
  c = mlc.ConfigDict()
  c.seeds = (0, 1, 2, 3, 4)
  c.data = dict(path="data/real/mosi_text_timing_audio.npz", buckets=2)
  c.data.modalities = ("text", "timing", "audio")
  c.model = dict(name="mcr", width=20, heads=4, num_layers=1, kernel=1, **DROPOUTS)
  c.loss = dict(name="l1")
  c.optim = dict(name="adamw", lr=3e-3, weight_decay=0.5)
  c.train = dict(epochs=30, batch_size=32, patience=6)
  return common.finish(
    c, arg, text=text, text_timing=text_timing, mult=mult, minilm=minilm
  )


def text(c: mlc.ConfigDict) -> None:
  common.set_fields(c, "data", path="data/real/mosi_text.npz", modalities=("text",))


def text_timing(c: mlc.ConfigDict) -> None:
  common.set_fields(
    c, "data", path="data/real/mosi_text_timing.npz", modalities=("text", "timing")
  )


def mult(c: mlc.ConfigDict) -> None:
  c.model = dict(name="mult", width=20, heads=4, layers=2, kernel=1, **DROPOUTS)


def minilm(c: mlc.ConfigDict) -> None:
  common.set_fields(c, "data", path="data/real/mosi_minilm.npz")
  common.set_fields(c, "model", width=40)
  common.set_fields(c, "optim", lr=1e-3)
