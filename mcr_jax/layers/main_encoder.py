"""Fusions in which one modality, mostly the text, is not encoded as the others are."""

from mcr_jax.field import field
from mcr_jax.layers.utterance import ENCODERS, Fusion
from mcr_jax.ops.fusion import main_and_auxiliaries


class MainEncoder(Fusion):
  """The base of models whose papers read a vector of the text off a language model.

  Recurrent encoders are those of the papers for the other modalities. A modality of
  one step is a vector already, and no LSTM reads it.
  """

  main: str = field(
    "", modalities=True, doc="The modality with main_encoder; the first if empty."
  )
  main_encoder: str = field(
    "mean", choices=ENCODERS, doc="As encoder, of the main modality."
  )

  def how(self, modality: str) -> str:
    main, _ = main_and_auxiliaries(self.modalities, self.main)
    how = self.main_encoder if modality == main else self.encoder
    return "mean" if how == "lstm" and self.spec.lengths[modality] == 1 else how
