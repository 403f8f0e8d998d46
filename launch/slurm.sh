#!/usr/bin/env bash
# A Slurm job: the script submits itself, then starts one process for each GPU of every node. Usage:
#
#   NODES=2 GPUS=8 HOURS=24 launch/slurm.sh [--dry-run] run configs/llama2_7b.py model=DIR run.dir=/shared/runs/mine
#
# GPUS: per node. sbatch's own variables set partition, account and so on (SBATCH_PARTITION, SBATCH_ACCOUNT, ...). Every
# node must see run.dir and the inputs. Two minutes before the time limit the processes get SIGTERM and the job goes
# back into the queue, as it does when preempted; the same command then goes on where it stopped.
set -euo pipefail
show() { (PS4='' && set -x && : "$@") 2>&1 | cut -c3-; } # as it would be typed
dry=''
if [ "${1-}" = --dry-run ]; then dry=1 && shift; fi
if [ $# = 0 ]; then
    echo "usage: [NODES=1 GPUS=8 HOURS=24] launch/slurm.sh [--dry-run] ARGUMENTS..." >&2
    exit 2
fi
nodes=${NODES:-1} gpus=${GPUS:-8}
tasks=$((nodes * gpus))
submit=(sbatch --job-name=jaxunlearn --nodes="$nodes" --ntasks="$tasks" --ntasks-per-node="$gpus" --exclusive
    --gpus-per-node="$gpus" --time="${HOURS:-24}:00:00" --requeue --open-mode=append --signal=B:USR1@120 "$0" "$@")
# JAX reads the rest from the Slurm step; the count prevents one run per process
start=(srun --kill-on-bad-exit=1 --cpu-bind=none env JAXUNLEARN_DISTRIBUTED=auto JAXUNLEARN_PROCESSES="$tasks"
    JAX_PLATFORMS="${JAX_PLATFORMS:-cuda,cpu}" "${PYTHON:-python}" -P -m jaxunlearn "$@")
if [ "$dry" ]; then show "${submit[@]}" && show "${start[@]}" && exit; fi
if [ -z "${SLURM_JOB_ID-}" ]; then exec "${submit[@]}"; fi

late=''
trap 'late=1; kill -TERM "$step"' USR1
"${start[@]}" &
step=$!
until code=0 && wait "$step" || code=$? && ! kill -0 "$step" 2>/dev/null; do :; done # a signal ends a wait early
if [ "$code" = 75 ] || { [ "$late" ] && [ "$code" != 0 ]; }; then # 75: stopped by SIGTERM, everything saved
    exec scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
