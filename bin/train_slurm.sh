#!/usr/bin/env bash
# One run over the GPUs of several nodes, one process a GPU.
#
#   sbatch --nodes=4 --gpus-per-node=8 bin/train_slurm.sh configs/mcr_mosei.py runs/mosei \
#     --config.data.path=/shared/mosei.npz
#
# The workdir and the data must be on a file system that all nodes share. A job that ran
# out of time goes on where it stopped when it is submitted again: SLURM sends SIGTERM
# two minutes before the end, and the run leaves a checkpoint.
#SBATCH --job-name=mcr_jax
#SBATCH --ntasks-per-gpu=1
#SBATCH --cpus-per-task=8
#SBATCH --time=04:00:00
#SBATCH --signal=TERM@120
#SBATCH --requeue
#SBATCH --output=%x_%j.log
set -euo pipefail

if [ $# -lt 2 ]; then
  echo "usage: sbatch [options] $0 CONFIG WORKDIR [--config.group.field=value ...]" >&2
  exit 2
fi
config=$1 workdir=$2
shift 2
resume=()
[ -f "$workdir/config.json" ] && resume=(--resume)
# --kill-on-bad-exit: the others would wait for a lost process for ever.
exec srun --kill-on-bad-exit=1 python -m mcr_jax.train --coordinator auto \
  --config "$config" --workdir "$workdir" "${resume[@]}" "$@"
