"""IEMOCAP: the emotions of acted dialogues."""

from mcr_jax.data.builders.corpus import Corpus, Labels
from mcr_jax.data.readers.common.dialogue_labels import IEMOCAP
from mcr_jax.data.readers.common.label_arrays import EMOTIONS


class Iemocap(Corpus):
  """Four emotions, yes or no each, or one of six."""

  BUILDER_CONFIGS = [
    Labels(
      name="four",
      description="Each of four emotions, yes or no, as in MulT's files.",
      task="binary",
      class_names=EMOTIONS,
    ),
    Labels(
      name="six",
      description="One of six emotions, as in the conversation files.",
      task="multiclass",
      class_names=IEMOCAP,
    ),
  ]
  DESCRIPTION = (
    "Ten actors in improvised and scripted dialogues; every utterance with its emotion."
  )
  HOMEPAGE = "https://sail.usc.edu/iemocap/"
  LICENSE = "For research, on request from the University of Southern California."
  CITATION = """
    @article{busso2008iemocap,
      title={{IEMOCAP}: interactive emotional dyadic motion capture database},
      author={Busso, Carlos and Bulut, Murtaza and Lee, Chi-Chun and Kazemzadeh, Abe
        and Mower, Emily and Kim, Samuel and Chang, Jeannette N. and Lee, Sungbok and
        Narayanan, Shrikanth S.},
      journal={Language Resources and Evaluation},
      volume={42},
      number={4},
      pages={335--359},
      year={2008}
    }
  """
