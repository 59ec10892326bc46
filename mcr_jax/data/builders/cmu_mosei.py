"""CMU-MOSEI: the sentiment of monologues on many topics, in some 23,000 clips."""

from mcr_jax.data.builders.corpus import Corpus, Labels


class CmuMosei(Corpus):
  """Sentiment in [-3, 3] of every clip."""

  BUILDER_CONFIGS = [Labels(name="sentiment", description="A number in [-3, 3].")]
  DESCRIPTION = (
    "Sentences that more than a thousand speakers say to a camera, each with the mean "
    "of three annotators' sentiment between -3 and 3."
  )
  HOMEPAGE = "http://multicomp.cs.cmu.edu/resources/cmu-mosei-dataset/"
  LICENSE = "For research; the videos belong to their authors."
  CITATION = """
    @inproceedings{zadeh2018mosei,
      title={Multimodal Language Analysis in the Wild: {CMU-MOSEI} Dataset and
        Interpretable Dynamic Fusion Graph},
      author={Zadeh, AmirAli Bagher and Liang, Paul Pu and Poria, Soujanya and
        Cambria, Erik and Morency, Louis-Philippe},
      booktitle={Proceedings of the 56th Annual Meeting of the Association for
        Computational Linguistics},
      pages={2236--2246},
      year={2018}
    }
  """
