"""The process that decodes a clip: it knows an open file, and no path.

Started by `media` with the clip as standard input. Clips are hostile input, and
decoders of media are large: this process can open no file, write none, and take no more
memory and time than it is given. What it decodes leaves by standard output as messages,
each a kind (one byte), a length (4 bytes) and so many bytes:

  I  JSON: format, seconds, whether there is sound, and the size of the picture
  A  place of the first sample (int64), and samples (float32, mono, 16 kHz)
  V  number of the step (int64), age of the frame (float64), height and width (uint16),
     and the frame (uint8, RGB)
  G  JSON: where nothing was decoded, seconds
  X  text: why the clip cannot be read
  E  JSON: seconds of what was decoded
"""

import json
import math
import os
import resource
import select
import struct
import sys
import threading

import av
import av.subtitles.codeccontext
import av.subtitles.stream
import numpy as np

SAMPLE_RATE = 16_000
# Containers that hold what they play: no list of other files is among them.
FORMATS = (
  "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,wav,mp3,flac,ogg,mpegts,mpeg,aac,amr,flv"
)
PIXELS = 36_000_000  # the most of a frame: 8K
SIDE = 480  # the most of a frame that is handed on
DRIFT = 0.02  # seconds by which a time may be off without being a gap


class Unreadable(Exception):
  """What is wrong with the clip."""


def main() -> None:
  """Decodes standard input as the first argument, JSON, says."""
  settings = json.loads(sys.argv[1])
  av.logging.set_level(av.logging.PANIC)
  _confine(settings["bytes"], settings["cpu_seconds"])
  threading.Thread(target=_end_with_reader, daemon=True).start()
  try:
    _decode(settings)
  except Unreadable as error:
    _say(b"X", str(error).encode())
  except MemoryError:
    _say(b"X", b"it needs more memory than a clip may")
  except (av.FFmpegError, ValueError, OverflowError, IndexError) as error:
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    _say(b"X", f"FFmpeg: {text}".encode()[:300])
  except Exception as error:
    # Such as a PyAV that is not known; nobody would see a traceback.
    _say(b"X", f"{type(error).__name__}: {error}".encode()[:300])


def _confine(memory: int, cpu_seconds: int) -> None:
  for kind, value in (
    (resource.RLIMIT_AS, memory),
    (resource.RLIMIT_CPU, cpu_seconds),
    (resource.RLIMIT_NOFILE, 3),
    (resource.RLIMIT_FSIZE, 0),
    (resource.RLIMIT_CORE, 0),
  ):
    hard = resource.getrlimit(kind)[1]
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    # At the hard limit on time the kernel kills; before it, SIGXCPU says why.
    more = 5 if kind == resource.RLIMIT_CPU and hard == resource.RLIM_INFINITY else 0
    resource.setrlimit(kind, (value, value + more))


def _end_with_reader() -> None:
  """Ends this process when nobody reads it any more, whatever it is doing."""
  pipe = select.poll()
  pipe.register(1, 0)  # the end of the reader is told unasked
  pipe.poll()
  os._exit(1)


def _say(kind: bytes, *parts: bytes) -> None:
  size = sum(map(len, parts))
  with memoryview(b"".join((kind, struct.pack("<I", size), *parts))) as message:
    sent = 0
    while sent < len(message):
      sent += os.write(1, message[sent:])


def _json(message: bytes, /, **values) -> None:
  _say(message, json.dumps(values).encode())


def _decode(settings: dict) -> None:
  source = open(0, "rb", closefd=False)
  given = {"options": {"format_whitelist": FORMATS}}
  # Nobody reads the names in it, whose letters may be of any code; PyAV 19 knows that.
  if int(av.__version__.partition(".")[0]) < 19:
    given["metadata_errors"] = "replace"
  with av.open(source, **given) as box:
    picture = next((s for s in box.streams.video if not s.disposition & _STILL), None)
    sound = next(iter(box.streams.audio), None)
    for stream, wanted, what in (
      (picture, settings["rate"], "picture"),
      (sound, settings["sound"], "sound"),
    ):
      if stream and wanted and stream.codec_context is None:
        raise Unreadable(f"its {what} is of a kind that is not known here")
    most = settings["max_seconds"]
    seconds = _seconds(box, (picture, sound))
    begin, end = settings["start"], settings["end"] or math.inf
    if min(seconds, end) - begin > most:
      raise Unreadable(
        f"it lasts {min(seconds, end) - begin:.0f} s, the most is {most:g} s"
      )
    size = _size(picture) if picture else None
    told = {"format": box.format.name, "seconds": seconds, "picture": size}
    _json(b"I", **told, sound=sound is not None)
    zero = _zero(box, (picture, sound)) + begin
    takers = {}
    if sound and settings["sound"]:
      takers[sound.index] = _Sound(sound, zero)
    if picture and settings["rate"]:
      takers[picture.index] = _Picture(picture, zero, settings["rate"])
    if not takers:
      return _json(b"E", seconds=0.0)
    if begin:
      box.seek(int((zero - 1) * av.time_base))
    _run(box, takers, min(end - begin, most + 1), most)


def _run(box, takers, until: float, most: float) -> None:
  streams = [s for s in box.streams if s.index in takers]
  done = set()
  for packet in box.demux(streams):
    taker = takers[packet.stream.index]
    if packet.stream.index in done:
      continue
    for frame in _frames(packet, taker):
      if taker.take(frame, until):
        done.add(packet.stream.index)
        break
    if len(done) == len(takers):
      break
  seconds = max(taker.end(until) for taker in takers.values())
  if seconds > most + DRIFT:
    raise Unreadable(f"it lasts more than {most:g} s, which is the most")
  if not seconds > 0:
    raise Unreadable("nothing of it can be decoded")
  _json(b"E", seconds=seconds)


def _frames(packet, taker):
  """What a packet decodes to; one that is damaged leaves a gap."""
  try:
    yield from packet.decode()
  except (av.InvalidDataError, av.error.PermissionError):  # the latter of AAC
    taker.damaged += 1


class _Sound:
  """Samples in one row, by their times."""

  def __init__(self, stream, zero: float):
    stream.thread_type = "NONE"
    self.resampler = av.AudioResampler("flt", "mono", SAMPLE_RATE)
    self.zero, self.place, self.damaged = zero, None, 0

  def take(self, frame, until: float) -> bool:
    """Whether the frame lies behind what is wanted."""
    time = frame.time
    if time is not None:
      place = round((time - self.zero) * SAMPLE_RATE)
      if self.place is None or abs(place - self.place) > DRIFT * SAMPLE_RATE:
        if self.place is not None and place > self.place:
          a, b = self.place / SAMPLE_RATE, place / SAMPLE_RATE
          _json(b"G", kind="sound", start=a, end=b)
        self._flush(until)
        self.place = place if self.place is None else max(place, self.place)
    frame.pts = None
    for piece in self.resampler.resample(frame):
      self._hand_on(piece, until)
    return self.place is not None and self.place >= until * SAMPLE_RATE

  def _flush(self, until: float) -> None:
    if self.place is not None:
      for piece in self.resampler.resample(None):
        self._hand_on(piece, until)
      self.resampler = av.AudioResampler("flt", "mono", SAMPLE_RATE)

  def _hand_on(self, piece, until: float) -> None:
    samples = piece.to_ndarray()[0]
    self.place = 0 if self.place is None else self.place
    first = max(0, -self.place)
    last = len(samples)
    if until < math.inf:
      last = min(last, int(until * SAMPLE_RATE) - self.place)
    if first < last:
      place = struct.pack("<q", self.place + first)
      _say(b"A", place, np.ascontiguousarray(samples[first:last], "<f4").tobytes())
    self.place += len(samples)

  def end(self, until: float) -> float:
    """Hands the rest on: seconds of sound."""
    self._flush(until)
    if self.damaged:
      _json(b"G", kind="sound", packets=self.damaged)
    return min((self.place or 0) / SAMPLE_RATE, until)


class _Picture:
  """The frame that is shown in the middle of every step."""

  def __init__(self, stream, zero: float, rate: float):
    stream.thread_type = "NONE"
    stream.codec_context.options = {"max_pixels": str(PIXELS)}
    self.aspect = float(stream.sample_aspect_ratio or 1)
    self.zero, self.rate, self.step, self.damaged = zero, rate, 0, 0
    self.shown, self.since, self.length = (
      None,
      0.0,
      1 / float(stream.average_rate or 25),
    )

  def take(self, frame, until: float) -> bool:
    """Whether the frame lies behind what is wanted."""
    time = frame.time
    time = self.since + self.length if time is None else time - self.zero
    if self.shown is not None:
      if time > self.since + max(0.2, 3 * self.length):
        _json(b"G", kind="picture", start=self.since + self.length, end=time)
      self._show(min(time, until))
    if time >= until:
      return True
    if self.shown is None or time >= self.since:
      self.shown, self.since = frame, time
    return False

  def _show(self, until: float) -> None:
    """Hands the frame on for every step whose middle lies before `until`."""
    data = None
    while (middle := (self.step + 0.5) / self.rate) < until:
      if middle >= self.since:
        data = _pixels(self.shown, self.aspect) if data is None else data
        age = middle - self.since
        height, width = data.shape[:2]
        header = struct.pack("<qdHH", self.step, age, height, width)
        _say(b"V", header, data.tobytes())
      self.step += 1

  def end(self, until: float) -> float:
    """Hands the last frame on: seconds of the picture."""
    if self.shown is None:
      return 0.0
    last = min(self.since + self.length, until)
    # What ends before the middle of the first step is seen in it all the same.
    self._show(last if self.step else max(last, 1 / self.rate))
    if self.damaged:
      _json(b"G", kind="picture", packets=self.damaged)
    return last


def _pixels(frame, aspect: float) -> np.ndarray:
  """(height, width, 3) of a frame as it is to be seen, no larger than `SIDE`."""
  width, height = frame.width * aspect, frame.height
  scale = min(1.0, SIDE / max(width, height))
  size = max(2, round(width * scale)), max(2, round(height * scale))
  data = frame.reformat(*size, format="rgb24").to_ndarray()
  turns = round(getattr(frame, "rotation", 0) / 90) % 4
  return np.ascontiguousarray(np.rot90(data, turns))


def _size(picture) -> list[int]:
  if (codec := picture.codec_context) is None:
    return [0, 0]
  width, height = codec.width, codec.height
  if width * height > PIXELS:
    raise Unreadable(
      f"its picture has {width} x {height} pixels, the most is {PIXELS:,}"
    )
  return [width, height]


def _seconds(box, streams) -> float:
  """What the container says that it lasts; 0 if it does not."""
  said = [box.duration / av.time_base] if box.duration else []
  said += [float(s.duration * s.time_base) for s in streams if s and s.duration]
  return max([x for x in said if 0 < x < 1e9], default=0.0)


def _zero(box, streams) -> float:
  """When the clip begins."""
  if box.start_time is not None and abs(box.start_time) < 1e15:
    return box.start_time / av.time_base
  starts = [float(s.start_time * s.time_base) for s in streams if s and s.start_time]
  return min(starts, default=0.0)


_STILL = av.stream.Disposition.attached_pic


if __name__ == "__main__":
  main()
