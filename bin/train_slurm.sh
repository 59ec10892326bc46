#!/usr/bin/env bash
# One run over the GPUs of several nodes, one process a GPU.
#
#   sbatch --nodes=2 bin/train_slurm.sh mcr_mosei runs/mosei \
#     --config.data.path=/shared/mosei.npz --config.mesh.seed=16 \
#     --config.seeds=0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15
#
# Seeds are what many GPUs are for: each trains alone, and a batch of 16 samples cannot be
# divided by more than 16 (`--config.mesh.data`; benchmarks/README.md has the arithmetic).
# Submit it from the checkout, with the environment active that has mcr_jax. The workdir
# and the data must be on a file system that all nodes share. Nodes with other than eight
# GPUs: give both --gpus-per-node=N and --ntasks-per-node=N.
#
# One process a GPU, because that is what JAX makes of SLURM's variables: the process of
# local rank i takes the i-th GPU of its node. So each must see all GPUs of the node
# (--gpu-bind=none; --gpus-per-task and --ntasks-per-gpu would hide them). For one process
# a node, set --ntasks-per-node=1 and JAX_LOCAL_DEVICE_IDS=0,1,2,3,4,5,6,7.
#
# A run that is stopped leaves a checkpoint and goes on from it: SLURM sends SIGTERM two
# minutes before the time is up, and at once when another job takes the nodes. It is put
# back into the queue after a signal (143) or after a process was lost (5, or what JAX's
# own abort gives), at most ten times; not after a mistake (2), a loss that is not finite
# (3) or a damaged checkpoint (4).
#SBATCH --job-name=mcr_jax
#SBATCH --gpus-per-node=8
#SBATCH --ntasks-per-node=8
#SBATCH --cpus-per-task=8
#SBATCH --time=04:00:00
#SBATCH --signal=TERM@120
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=%x_%j.log
set -uo pipefail

if [ $# -lt 2 ]; then
  echo "usage: sbatch [options] $0 CONFIG WORKDIR [--config.group.field=value ...]" >&2
  exit 2
fi
config=$1 workdir=$2
shift 2
resume=()
[ -f "$workdir/config.json" ] && resume=(--resume)

# The signal is for the processes; this shell lives on to put the job back.
trap : TERM
# --wait: processes stop within seconds of each other, or will not stop at all.
srun --gpu-bind=none --kill-on-bad-exit=0 --wait=180 \
  python -m mcr_jax.train --coordinator auto \
  --config "$config" --workdir "$workdir" "${resume[@]+"${resume[@]}"}" "$@" &
step=$!
# A signal ends `wait`, not the processes.
wait "$step"
code=$?
while kill -0 "$step" 2>/dev/null; do
  wait "$step"
  code=$?
done

case $code in
  0 | 1 | 2 | 3 | 4 | 130) ;;
  *)
    # A job that was cancelled is no longer running, and stays out of the queue.
    state=$(squeue --noheader --job="$SLURM_JOB_ID" --format=%T)
    if [ "$state" = RUNNING ] && [ "${SLURM_RESTART_COUNT:-0}" -lt 10 ]; then
      echo "exit code $code: back into the queue, to go on with --resume"
      scontrol requeue "$SLURM_JOB_ID"
    fi
    ;;
esac
exit "$code"
