"""The ways a run can end early, each with the exit code the command line gives it."""

import signal as signals


class McrJaxError(Exception):
  """An end that is not our bug; `exit_code` is what the process returns."""

  exit_code = 1


class UserError(McrJaxError, ValueError):
  """A mistake in a config, a file or an argument that its user can mend."""

  exit_code = 2


class NonFiniteLoss(McrJaxError, FloatingPointError):
  """The training loss became NaN or infinite."""

  exit_code = 3


class DamagedCheckpoint(McrJaxError):
  """A checkpoint cannot be read, or is not what was written."""

  exit_code = 4


class Interrupted(McrJaxError):
  """A signal stopped the run after it left a checkpoint (130 or 143)."""

  def __init__(self, number: int, message: str):
    super().__init__(message)
    self.exit_code = 128 + number
    self.name = signals.Signals(number).name
