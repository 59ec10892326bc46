"""`python -m mcr_jax.extract`: a folder of clips to a feature file."""

import argparse
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from mcr_jax import cli
from mcr_jax.errors import UserError
from mcr_jax.extract import places, weights, whisper
from mcr_jax.extract import recipe as recipes

SILENCE = 5.0  # seconds between lines


def main(argv: list[str]) -> int:
  """Extracts the clips of a folder, or brings the weights."""
  arguments = cli.parse(
    argv,
    "Makes the features of clips: words, sound and face, with their times.",
    flags=(),
    required=(),
    extra=_arguments,
    examples=[
      "python -m mcr_jax.extract --get-models",
      "python -m mcr_jax.extract clips/ --labels labels.csv --out mine.npz",
      "python -m mcr_jax.extract clips/ --out mine.npz --vision none --jobs 2",
    ],
  )
  if arguments.get_models:
    for name in weights.SOURCES:
      if name != "whisper" or whisper.installed():
        weights.bring(name)
      else:
        print(f"whisper: not without faster-whisper ({whisper.INSTALL})")
    return 0
  if not arguments.clips or not arguments.out:
    raise UserError("A folder of clips and --out FILE.npz are needed; or --get-models.")
  cli.output_file(arguments.out)
  return _extract(arguments, argv)


def _extract(arguments, argv) -> int:
  from mcr_jax.extract import collect, table
  from mcr_jax.extract.clip import Extractor

  begin = time.monotonic()
  if arguments.helper:
    threading.Thread(target=_end_with_starter, daemon=True).start()
  labels = Path(arguments.labels) if arguments.labels else None
  chosen = {}
  for name, _, domain in recipes.fields():
    chosen[name] = getattr(arguments, name)
    domain.check(_flag(name), chosen[name])
  recipe = recipes.Recipe(**chosen)
  words = recipe.text != "none"
  found, notes = table.jobs(Path(arguments.clips), labels, words=words)
  silent = [job.id for job in found if job.cues is None] if words else []
  own = places.Places.of(arguments)
  if silent:  # told before the work begins
    some = f"{len(silent):,} of {len(found):,} clips have no transcript: "
    places.check_words(f"{some}{', '.join(silent[:3])}.", own.asr)
  extractor = Extractor(recipe, own, recognise=bool(silent))
  number, count = _share(arguments.share)
  share = found[number - 1 :: count]
  where = collect.parts_of(arguments.out)
  cli.prepare()
  helpers = _start(arguments, argv, number, count)
  if helpers:
    # Else `kill` would end this process alone, and the helpers go on.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
  try:
    mine = share[:: len(helpers) + 1]
    failed = collect.extract(mine, extractor, where, _Teller(len(mine)))
    for helper in helpers:
      helper.wait()
  finally:
    for helper in helpers:
      helper.terminate()
  if helpers:
    failed = collect.extract(share, extractor, where, _Teller(0))
  if failed and not arguments.skip_bad:
    some = "; ".join(f"{x.id}: {x.why}" for x in failed[:3])
    raise UserError(
      f"{len(failed):,} of {len(share):,} clips cannot be used: {some} The others are "
      "kept; --skip-bad writes the file without these."
    )
  if count > 1:
    print(f"share {number} of {count}: {len(share) - len(failed):,} clips are there.")
    print("When all shares are done, the same command without --share writes the file.")
    return 0
  bad = {x.id for x in failed}
  good = [job for job in found if job.id not in bad]
  if not good:
    raise UserError(f"None of {len(found):,} clips can be used.")
  clips = [collect.read(collect.part_of(job, extractor, where)) for job in good]
  source = str(arguments.labels or arguments.clips)
  made = collect.dataset(good, clips, extractor.recipe.to_json(), source)
  collect.write_file(arguments.out, made)
  for note in (*notes, *made.notes):
    print(f"note: {note}", file=sys.stderr)
  for x in failed:
    print(f"left out: {x.id}: {x.why}", file=sys.stderr)
  _report(arguments.out, made, clips, time.monotonic() - begin)
  return 0


def _flag(name: str) -> str:
  return f"--{name.replace('_', '-')}"


def _share(text: str) -> tuple[int, int]:
  try:
    number, count = map(int, text.split("/"))
    if 1 <= number <= count:
      return number, count
  except ValueError:
    pass
  raise UserError(f"--share {text!r} must be I/N, I from 1 to N, such as 2/8.")


def _start(arguments, argv, number, count) -> list[subprocess.Popen]:
  """Processes that do all shares of `--jobs` but the first, of a share of all clips."""
  if arguments.jobs < 1:
    raise UserError(f"--jobs {arguments.jobs} must be at least 1.")
  command = [
    sys.executable,
    "-m",
    "mcr_jax.extract",
    *argv,
    "--jobs",
    "1",
    "--skip-bad",
    "--helper",
  ]
  return [
    subprocess.Popen(
      [*command, "--share", f"{number + count * i}/{count * arguments.jobs}"],
      stdin=subprocess.PIPE,  # which closes when this process ends, however it does
      stdout=subprocess.DEVNULL,
      stderr=subprocess.DEVNULL,
    )
    for i in range(1, arguments.jobs)
  ]


def _end_with_starter() -> None:
  """Ends a helper when the process is gone that holds the other end of its input."""
  sys.stdin.buffer.read()
  os._exit(1)


class _Teller:
  """Says how far it is, at most every few seconds, and at once of what failed."""

  def __init__(self, count: int):
    self._count, self._begin, self._last = count, time.monotonic(), time.monotonic()

  def __call__(self, i, job, result) -> None:
    from mcr_jax.runs.progress import duration

    if not self._count:
      return
    now, done = time.monotonic(), i + 1
    bad = not hasattr(result, "features")
    if bad:
      print(f"{job.id}: {result.why}", file=sys.stderr, flush=True)
    if now - self._last >= SILENCE or done == self._count:
      left = (now - self._begin) / done * (self._count - done)
      what = f"{done:,} of {self._count:,} clips"
      print(f"{what} ({duration(left)} left)", file=sys.stderr, flush=True)
      self._last = now


def _report(out, made, clips, seconds) -> None:
  from mcr_jax.runs.progress import duration

  length = sum(clip.seconds for clip in clips)
  print(
    f"{out}: {len(made):,} clips, {duration(length)} of them in {duration(seconds)}."
  )
  for name, x in made.modalities.items():
    some = int(x.present.sum())
    share = x.mask.mean() if len(x.mask) else 0.0
    print(
      f"  {name:7} {len(x.values):,} steps of {x.width} features in {some:,} clips, "
      f"{share:.0%} of the steps with something in them"
    )
  counts: dict[str, int] = {}
  for clip in clips:
    for note in clip.notes:
      counts[note] = counts.get(note, 0) + 1
  for note in sorted(counts, key=counts.get, reverse=True)[:10]:
    number = counts[note]
    print(f"  {number:,} clip{'s' * (number != 1)}: {note}")


def _arguments(parser: argparse.ArgumentParser) -> None:
  parser.add_argument("clips", nargs="?", metavar="DIR", help="folder of clips")
  parser.add_argument("--labels", metavar="CSV", help="table of the clips")
  parser.add_argument("--out", metavar="FILE.npz", help="feature file to write")
  for name, field, domain in recipes.fields():
    parser.add_argument(
      _flag(name),
      default=field.default,
      type=type(field.default),
      choices=domain.choices or None,
      help=f"{domain.doc} ({field.default})",
    )
  places.add_arguments(parser)
  parser.add_argument(
    "--jobs", default=1, type=int, metavar="N", help="processes side by side (1)"
  )
  parser.add_argument(
    "--share", default="1/1", metavar="I/N", help="every N-th clip, for many machines"
  )
  parser.add_argument(
    "--skip-bad", action="store_true", help="write the file without clips that fail"
  )
  parser.add_argument("--helper", action="store_true", help=argparse.SUPPRESS)
  parser.add_argument(
    "--get-models", action="store_true", help="bring the weights, once"
  )


if __name__ == "__main__":
  cli.run(main)
