"""CMU-MOSI: the sentiment of opinion videos, in 2,199 clips."""

from mcr_jax.data.builders.corpus import Corpus, Labels


class CmuMosi(Corpus):
  """Sentiment in [-3, 3] of every clip."""

  BUILDER_CONFIGS = [Labels(name="sentiment", description="A number in [-3, 3].")]
  DESCRIPTION = (
    "Clips of people who review films on YouTube, each with the mean of several "
    "annotators' sentiment between -3 and 3."
  )
  HOMEPAGE = "http://multicomp.cs.cmu.edu/resources/cmu-mosi-dataset/"
  LICENSE = "For research; the videos belong to their authors."
  CITATION = """
    @article{zadeh2016mosi,
      title={{MOSI}: Multimodal Corpus of Sentiment Intensity and Subjectivity
        Analysis in Online Opinion Videos},
      author={Zadeh, Amir and Zellers, Rowan and Pincus, Eli and
        Morency, Louis-Philippe},
      journal={arXiv preprint arXiv:1606.06259},
      year={2016}
    }
  """
