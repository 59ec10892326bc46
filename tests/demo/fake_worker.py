"""A worker without a model: the name of a clip says what it does with it."""

import json
import os
import pathlib
import sys
import time


def main():
  settings = json.loads(sys.argv[1])
  say = lambda **values: print(json.dumps(values), flush=True)
  if settings["workdir"] == "none":
    return say(refused="none holds no run.", kind="UserError")
  say(facts={"label": settings["workdir"], "process": os.getpid()})
  for line in sys.stdin:
    job = json.loads(line)
    number, name = job["number"], job["name"]
    size = pathlib.Path(job["clip"]).stat().st_size
    words = pathlib.Path(job["words"]).read_text() if job["words"] else None
    say(number=number, stage="Decoding", share=0.5)
    if name == "slow.mp4":
      time.sleep(60)
    if name == "fatal.mp4":
      os._exit(7)
    if name == "broken.mp4":
      say(number=number, refused=f"{name} is\nno clip.", kind="UserError")
    else:
      say(number=number, result=f"<p>{size} {words}</p>")


main()
