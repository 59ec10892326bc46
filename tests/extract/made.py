"""Clips that a test draws: a tone under a grey picture whose brightness is its time."""

import fractions
import io

import numpy as np
import pytest

RATE = 16_000


def tone(seconds=1.0, f0=220.0):
  """(N,) float32: five harmonics."""
  t = np.arange(int(seconds * RATE)) / RATE
  wave = sum(np.sin(2 * np.pi * f0 * k * t) / k for k in range(1, 6))
  return (0.2 * wave).astype(np.float32)


def clip(
  sound=None, times=None, size=(64, 48), form="matroska", start=0.0, corner=0
) -> bytes:
  """A container with a frame at each of `times`, whose grey level is 200 times that.

  Args:
    sound: samples at 16 kHz, or None.
    times: seconds, or None for no picture.
    size: of the picture.
    form: FFmpeg's name of the container.
    start: seconds added to every time.
    corner: grey level of the upper left quarter, where it is another.
  """
  av = pytest.importorskip("av")
  out = io.BytesIO()
  base = fractions.Fraction(1, 1000)
  with av.open(out, "w", format=form) as box:
    video = audio = None
    if times is not None:
      video = box.add_stream("mpeg4", rate=25)
      video.width, video.height = size
      video.pix_fmt, video.time_base = "yuv420p", base
      video.codec_context.time_base = base
    if sound is not None:
      audio = box.add_stream("pcm_s16le" if form != "mp4" else "aac", rate=RATE)
      audio.layout = "mono"
    for time in () if times is None else times:
      grey = np.full((size[1], size[0], 3), min(255, int(200 * time)), np.uint8)
      if corner:
        grey[: size[1] // 2, : size[0] // 2] = corner
      frame = av.VideoFrame.from_ndarray(grey, format="rgb24")
      frame.pts, frame.time_base = round((time + start) * 1000), base
      box.mux(video.encode(frame))
    if video:
      box.mux(video.encode())
    if audio:
      ints = (np.clip(sound, -1, 1) * 32767).astype(np.int16)
      for first in range(0, len(ints), 1024):
        frame = av.AudioFrame.from_ndarray(
          ints[None, first : first + 1024], format="s16", layout="mono"
        )
        frame.sample_rate = RATE
        frame.pts = first + round(start * RATE)
        frame.time_base = fractions.Fraction(1, RATE)
        if form == "mp4":
          frame = av.AudioResampler("fltp", "mono", RATE).resample(frame)[0]
        box.mux(audio.encode(frame))
      box.mux(audio.encode())
  return out.getvalue()
