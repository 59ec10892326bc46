"""MELD: the emotions of a television series' dialogues, in 13,708 utterances."""

from mcr_jax.data.builders.corpus import Corpus, Labels
from mcr_jax.data.readers.common.dialogue_labels import MELD


class Meld(Corpus):
  """One of seven emotions, or one of three sentiments."""

  BUILDER_CONFIGS = [
    Labels(
      name="emotion",
      description="One of seven emotions.",
      task="multiclass",
      class_names=MELD,
    ),
    Labels(
      name="sentiment",
      description="Negative, neutral or positive.",
      task="multiclass",
      class_names=("negative", "neutral", "positive"),
      key="label_sentiment",
    ),
  ]
  DESCRIPTION = (
    "Utterances of the dialogues of the series Friends, each with its emotion and its "
    "sentiment."
  )
  HOMEPAGE = "https://affective-meld.github.io/"
  LICENSE = "GPL-3.0 for the annotations; the series belongs to its owners."
  CITATION = """
    @inproceedings{poria2019meld,
      title={{MELD}: A Multimodal Multi-Party Dataset for Emotion Recognition in
        Conversations},
      author={Poria, Soujanya and Hazarika, Devamanyu and Majumder, Navonil and
        Naik, Gautam and Cambria, Erik and Mihalcea, Rada},
      booktitle={Proceedings of the 57th Annual Meeting of the Association for
        Computational Linguistics},
      pages={527--536},
      year={2019}
    }
  """
