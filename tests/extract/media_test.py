"""Clips by their times, and files that are none."""

import json
import os
import struct
import subprocess
import sys

import numpy as np
import pytest

from mcr_jax.errors import UserError
from mcr_jax.extract import media
from tests.extract.made import RATE, clip, tone

FRAMES = np.arange(0, 1, 0.04)


@pytest.fixture(scope="module")
def whole():
  return clip(tone(), FRAMES)


def events(tmp_path, data, **kwargs):
  path = tmp_path / "clip.mkv"
  path.write_bytes(data)
  return list(media.read(path, **{"rate": 10.0} | kwargs))


def of(kind, found):
  return [x for x in found if isinstance(x, kind)]


def altered(tmp_path, monkeypatch, old, new):
  """Has clips decoded by a decoder with another line."""
  spy = tmp_path / "decoder.py"
  code = media.Path(media.__file__).with_name("decoder.py").read_text()
  assert old in code
  spy.write_text(code.replace(old, new))
  monkeypatch.setattr(media, "_decoder", lambda: str(spy))


def level(frame):
  return float(frame.pixels.mean()) / 200


def test_frames_are_those_shown_and_samples_in_their_place(tmp_path, whole):
  found = events(tmp_path, whole)
  assert of(media.Info, found)[0].sound and of(media.Info, found)[0].picture
  sound = np.concatenate([x.samples for x in of(media.Sound, found)])
  np.testing.assert_allclose(sound[: RATE // 2], tone()[: RATE // 2], atol=2e-4)
  frames = of(media.Frame, found)
  assert [x.step for x in frames] == list(range(10))
  shown = np.floor(((np.arange(10) + 0.5) / 10 + 1e-9) / 0.04) * 0.04
  np.testing.assert_allclose([level(x) for x in frames], shown, atol=0.02)
  assert of(media.End, found)[0].seconds == pytest.approx(1.0, abs=0.03)


def test_times_count_from_the_beginning_of_the_clip(tmp_path, whole):
  later = events(tmp_path, clip(tone(), FRAMES, start=7.0))
  plain = events(tmp_path, whole)
  pairs = zip(of(media.Frame, later), of(media.Frame, plain), strict=True)
  for a, b in pairs:
    np.testing.assert_array_equal(a.pixels, b.pixels)


def test_a_frame_is_held_where_none_follows_and_the_gap_is_told(tmp_path):
  times = np.concatenate([FRAMES[FRAMES < 0.3], FRAMES[FRAMES > 0.7]])
  found = events(tmp_path, clip(None, times))
  frames = {x.step: x for x in of(media.Frame, found)}
  assert level(frames[5]) == pytest.approx(0.28, abs=0.02)
  assert frames[5].age > 0.2
  assert len(of(media.Gap, found)) == 1


def test_a_part_of_a_clip_is_that_part(tmp_path, whole):
  found = events(tmp_path, whole, start=0.4, end=0.8)
  assert [x.step for x in of(media.Frame, found)] == list(range(4))
  assert level(of(media.Frame, found)[0]) == pytest.approx(0.44, abs=0.03)
  assert sum(len(x.samples) for x in of(media.Sound, found)) == pytest.approx(
    0.4 * RATE, abs=RATE * 0.03
  )


def test_only_what_is_wanted_is_decoded(tmp_path, whole):
  assert not of(media.Frame, events(tmp_path, whole, rate=0.0))
  assert not of(media.Sound, events(tmp_path, whole, sound=False))


def test_longer_clips_are_refused_also_where_they_do_not_say(
  tmp_path, whole, monkeypatch
):
  with pytest.raises(UserError, match="it lasts 1 s"):
    events(tmp_path, whole, max_seconds=0.5)
  altered(tmp_path, monkeypatch, "_seconds(box, (picture, sound))", "0.0")
  with pytest.raises(UserError, match="more than 0.5 s"):
    events(tmp_path, whole, max_seconds=0.5)


def test_a_name_in_other_letters_is_no_damage(tmp_path, whole):
  assert whole.count(b"DURATION") == 2
  data = whole.replace(b"DURATION", b"CAF\xe9 NOW")  # Latin-1, as old programs write it
  assert of(media.Frame, events(tmp_path, data))


def test_a_damaged_packet_leaves_a_gap_whatever_its_decoder_calls_it(
  tmp_path, whole, monkeypatch
):
  old = "    yield from packet.decode()"
  worse = "    if packet.pts == 128: raise av.error.PermissionError(1, 'as of AAC')\n"
  altered(tmp_path, monkeypatch, old, worse + old)
  gaps = of(media.Gap, events(tmp_path, whole))
  assert "1 damaged packets of the sound were left out" in [x.text for x in gaps]


def test_an_unknown_codec_is_named_where_it_is_wanted(tmp_path, whole):
  assert whole.count(b"V_MPEG4/ISO/ASP") == 1
  data = whole.replace(b"V_MPEG4/ISO/ASP", b"V_NOBODY/KNOWS/")
  with pytest.raises(UserError, match="its picture is of a kind"):
    events(tmp_path, data)
  assert of(media.Sound, events(tmp_path, data, rate=0.0))


@pytest.mark.parametrize("kind", ["empty", "text", "cut", "list", "playlist", "zip"])
def test_what_is_no_clip_is_refused(tmp_path, whole, kind):
  secret = tmp_path / "secret.mkv"
  secret.write_bytes(whole)
  data = {
    "empty": b"",
    "text": b"no clip at all\n" * 99,
    "cut": clip(tone(), FRAMES, form="mp4")[:900],
    "list": f"ffconcat version 1.0\nfile {secret}\n".encode(),
    "playlist": f"#EXTM3U\n#EXTINF:9,\nfile://{secret}\n#EXT-X-ENDLIST\n".encode(),
    "zip": b"PK\3\4" + bytes(200),
  }[kind]
  with pytest.raises(UserError):
    events(tmp_path, data)


def test_no_mutation_ends_in_anything_but_frames_or_one_error(tmp_path, whole):
  rng = np.random.default_rng(0)
  for _ in range(6):
    data = bytearray(whole)
    for place in rng.integers(0, len(data), 40):
      data[place] = rng.integers(256)
    try:
      events(tmp_path, bytes(data))
    except UserError:
      continue


def test_the_decoder_can_open_no_file(tmp_path, whole, monkeypatch):
  spy = tmp_path / "decoder.py"
  code = (media.Path(media.__file__).with_name("decoder.py")).read_text()
  # As if a decoder had been taken over.
  code = code.replace(
    '  _json(b"E", seconds=seconds)', f'  open({str(spy)!r}); _json(b"E", seconds=1)'
  )
  spy.write_text(code)
  monkeypatch.setattr(media, "_decoder", lambda: str(spy))
  with pytest.raises(UserError):
    events(tmp_path, whole)


@pytest.mark.parametrize(
  "message",
  [
    ("A", struct.pack("<q", 1 << 60) + bytes(8)),
    ("A", struct.pack("<q", 0) + np.float32(np.nan).tobytes()),
    ("V", struct.pack("<qdHH", 0, 0.0, 9000, 9000)),
    ("V", struct.pack("<qdHH", 1 << 50, 0.0, 1, 1) + bytes(3)),
    ("I", b"[1]"),
    ("E", b'{"seconds": 1e300}'),
    ("Z", b"?"),
  ],
)
def test_a_decoder_that_was_taken_over_is_not_believed(
  tmp_path, whole, monkeypatch, message
):
  kind, data = message
  spy = tmp_path / "decoder.py"
  answer = kind.encode() + struct.pack("<I", len(data)) + data
  spy.write_text(f"import os\nos.write(1, {answer!r})\n")
  monkeypatch.setattr(media, "_decoder", lambda: str(spy))
  with pytest.raises(UserError):
    events(tmp_path, whole)


def test_a_clip_that_takes_too_much_time_is_told_so(tmp_path, whole, monkeypatch):
  altered(tmp_path, monkeypatch, "  source =", "  while True: pass\n  source =")
  monkeypatch.setattr(media, "CPU_SECONDS", 1)
  monkeypatch.setattr(media, "CPU_A_SECOND", 0)
  with pytest.raises(UserError, match="time"):
    events(tmp_path, whole)


def test_folders_and_devices_are_no_clips(tmp_path):
  for path in (tmp_path, "/dev/null", tmp_path / "none.mp4"):
    with pytest.raises(UserError):
      next(media.read(path))
    assert not media.is_clip(path)


def test_a_pipe_is_no_clip_and_is_not_waited_for(tmp_path):
  os.mkfifo(tmp_path / "pipe.mp4")
  code = (
    "import sys\n"
    "from mcr_jax.errors import UserError\n"
    "from mcr_jax.extract import media\n"
    "assert not media.is_clip(sys.argv[1])\n"
    "try: list(media.read(sys.argv[1]))\n"
    "except UserError as error: assert 'a pipe' in str(error)\n"
    "else: raise AssertionError\n"
  )
  subprocess.run(
    [sys.executable, "-c", code, tmp_path / "pipe.mp4"], check=True, timeout=30
  )


def test_a_clip_of_one_frame_has_a_step(tmp_path):
  frames = of(media.Frame, events(tmp_path, clip(None, FRAMES[:1])))
  assert [x.step for x in frames] == [0]
  frames = of(media.Frame, events(tmp_path, clip(tone(), FRAMES[:1])))
  assert [x.step for x in frames] == [0]


@pytest.mark.parametrize("quarters", [0, 1, 2, 3])
def test_a_picture_is_turned_as_its_container_says(tmp_path, quarters):
  data = bytearray(clip(None, FRAMES, form="mp4", corner=255))
  # The matrix of ISO 14496-12: turned clockwise by so many quarters.
  a, b = ((1, 0), (0, 1), (-1, 0), (0, -1))[quarters]
  at = data.index(b"tkhd") + 44
  ones = [x * 65536 for x in (a, b, 0, -b, a, 0, 0, 0)]
  data[at : at + 36] = struct.pack(">8iI", *ones, 1 << 30)
  frames = of(media.Frame, events(tmp_path, bytes(data)))
  pixels = frames[0].pixels
  height, width = pixels.shape[:2]
  assert (height, width) == ((48, 64), (64, 48))[quarters % 2]
  halves = [
    pixels[y : y + height // 2, x : x + width // 2].mean()
    for y, x in ((0, 0), (0, width // 2), (height // 2, width // 2), (height // 2, 0))
  ]
  assert int(np.argmax(halves)) == quarters


def test_films_of_old_quicktime_are_clips_and_text_is_none(tmp_path):
  path = tmp_path / "x"
  size = struct.pack(">I", 1000)
  for atom in (b"moov", b"mdat", b"wide", b"free"):
    path.write_bytes(size + atom + bytes(400))
    assert media.is_clip(path)
    path.write_bytes(b"text" + atom + b"\n" * 400)
    assert not media.is_clip(path)


def test_a_decoder_ends_with_the_program_that_reads_it(tmp_path, whole, monkeypatch):
  altered(tmp_path, monkeypatch, "  source =", "  while True: pass\n  source =")
  path = tmp_path / "clip.mkv"
  path.write_bytes(whole)
  reader, writer = os.pipe()
  settings = {"bytes": media.MEMORY, "cpu_seconds": 60}
  with (
    open(path, "rb") as clip,
    subprocess.Popen(
      [sys.executable, "-P", media._decoder(), json.dumps(settings)],
      stdin=clip,
      stdout=writer,
      env=media._environment(),
    ) as process,
  ):
    os.close(writer)
    try:
      with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.5)
      os.close(reader)  # as at the death of whoever holds it
      assert process.wait(20) == 1
    finally:
      process.kill()


def test_what_breaks_in_the_decoder_itself_is_named(tmp_path, monkeypatch, whole):
  old = "av.open(source, **given)"
  altered(tmp_path, monkeypatch, old, "av.open(source, unknown=1, **given)")
  with pytest.raises(UserError, match="clip.mkv.*TypeError.*unknown"):
    events(tmp_path, whole)
