"""The launch scripts: they parse, and they do what they say."""

import os
import pathlib
import re
import shlex
import subprocess

import pytest
import yaml

from mcr_jax import cli
from mcr_jax.config.files import shipped
from mcr_jax.errors import DamagedCheckpoint, NonFiniteLoss, UserError

BIN = pathlib.Path(__file__).resolve().parents[2] / "bin"
FINAL = [error.exit_code for error in (UserError, NonFiniteLoss, DamagedCheckpoint)]


@pytest.fixture
def slurm(tmp_path):
  """Runs the script with SLURM's programs replaced by ones that take notes."""
  programs = tmp_path / "programs"
  programs.mkdir()
  notes = tmp_path / "notes"

  def program(name, last):
    path = programs / name
    path.write_text(f'#!/bin/sh\necho "{name} $*" >> {notes}\n{last}\n')
    path.chmod(0o755)

  def run(*arguments, code=0, state="RUNNING", restarts="0"):
    notes.write_text("")
    program("srun", f"exit {code}")
    program("squeue", f"echo {state}")
    program("scontrol", "exit 0")
    environment = os.environ | {
      "PATH": f"{programs}:{os.environ['PATH']}",
      "SLURM_JOB_ID": "17",
      "SLURM_RESTART_COUNT": restarts,
    }
    done = subprocess.run(
      ["bash", BIN / "train_slurm.sh", *map(str, arguments)],
      env=environment,
      capture_output=True,
      text=True,
      timeout=60,
    )
    calls = [shlex.split(line) for line in notes.read_text().splitlines()]
    return done.returncode, {call[0]: call[1:] for call in calls}

  return run


def training(arguments):
  """What the command line of the training program says."""
  start = arguments.index("mcr_jax.train") + 1
  return cli.parse(arguments[start:], "")


def test_the_slurm_script_trains_what_it_is_given(slurm, tmp_path):
  code, calls = slurm("a.py", tmp_path / "run", "--config.data.path=b.npz")
  assert code == 0 and "scontrol" not in calls
  given = training(calls["srun"])
  assert (given.coordinator, given.config, given.resume) == ("auto", "a.py", False)
  assert given.overrides == ["--config.data.path=b.npz"]
  # JAX takes the GPU of the local rank, so each process has to see all of them.
  assert "--gpu-bind=none" in calls["srun"]


def test_the_slurm_script_goes_on_with_a_run_that_began(slurm, tmp_path):
  (tmp_path / "config.json").write_text("{}")
  assert training(slurm("a.py", tmp_path)[1]["srun"]).resume


@pytest.mark.parametrize("code", [143, 5, 134, 137])
def test_a_job_that_was_stopped_is_put_back(slurm, tmp_path, code):
  found, calls = slurm("a.py", tmp_path, code=code)
  assert found == code and calls["scontrol"] == ["requeue", "17"]


@pytest.mark.parametrize(
  "how",
  [
    *({"code": code} for code in (0, 1, *FINAL, 130)),
    {"code": 143, "state": "CANCELLED"},
    {"code": 5, "restarts": "10"},
  ],
  ids=str,
)
def test_a_job_that_failed_or_was_cancelled_is_not(slurm, tmp_path, how):
  assert "scontrol" not in slurm("a.py", tmp_path, **how)[1]


def test_the_slurm_script_says_how_it_is_used(slurm):
  assert slurm("a.py") == (2, {})


@pytest.fixture(scope="module")
def manifest():
  documents = yaml.safe_load_all((BIN / "train_gke.yaml").read_text())
  return {document["kind"]: document for document in documents}


def test_the_pods_of_the_job_find_each_other(manifest):
  job, service = manifest["Job"], manifest["Service"]
  pod = job["spec"]["template"]["spec"]
  # What JAX asks for: an indexed Job, one process an index, in a headless service.
  assert job["spec"]["completionMode"] == "Indexed"
  assert job["spec"]["completions"] == job["spec"]["parallelism"]
  assert service["spec"]["clusterIP"] == "None"
  assert service["spec"]["selector"] == {"job-name": job["metadata"]["name"]}
  assert pod["subdomain"] == service["metadata"]["name"]
  account = pod["serviceAccountName"]
  assert manifest["ServiceAccount"]["metadata"]["name"] == account
  binding = manifest["RoleBinding"]
  assert [x["name"] for x in binding["subjects"]] == [account]
  assert binding["roleRef"]["name"] == manifest["Role"]["metadata"]["name"]
  allowed = {r: x["verbs"] for x in manifest["Role"]["rules"] for r in x["resources"]}
  assert "list" in allowed["pods"] and "get" in allowed["jobs"]


def test_the_job_gives_up_where_trying_again_is_in_vain(manifest):
  spec = manifest["Job"]["spec"]
  (codes,) = (
    rule["onExitCodes"]
    for rule in spec["podFailurePolicy"]["rules"]
    if rule["action"] == "FailJob"
  )
  assert codes["values"] == FINAL
  (container,) = spec["template"]["spec"]["containers"]
  assert codes["containerName"] == container["name"]
  assert spec["template"]["spec"]["restartPolicy"] == "Never"  # the policy needs it


def test_the_job_trains_and_goes_on(manifest, tmp_path):
  (container,) = manifest["Job"]["spec"]["template"]["spec"]["containers"]
  (script,) = container["args"]
  mounts = [mount["mountPath"] for mount in container["volumeMounts"]]
  assert mounts == ["/data"] and script.count("/data/") >= 3
  script = script.replace("/data/", f"{tmp_path}/").replace(
    "exec python", "echo python"
  )
  for begun in (False, True):
    if begun:
      workdir = pathlib.Path(re.search(r"--workdir (\S+)", script)[1])
      workdir.mkdir(parents=True)
      (workdir / "config.json").write_text("{}")
    done = subprocess.run(
      [*container["command"], script], capture_output=True, text=True, timeout=60
    )
    given = training(done.stdout.split())
    assert given.coordinator == "auto" and given.resume == begun
    assert given.config in shipped()
