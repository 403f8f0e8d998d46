#!/usr/bin/env bash
# An existing TPU slice: copies this checkout to every host, installs it, starts one process on each. Usage:
#
#   TPU=NAME ZONE=ZONE [HOSTS=4] launch/tpu_pod.sh [--dry-run] run configs/llama2_7b.py model=DIR run.dir=/shared/mine
#
# Every host must see run.dir and the inputs (Filestore, gcsfuse). JAX finds the hosts by itself; with HOSTS=n a run of
# fewer stops at once. After a kill or a preemption the same command goes on where it stopped.
set -euo pipefail
show() { (PS4='' && set -x && : "$@") 2>&1 | cut -c3-; } # as it would be typed
act() { if [ "$dry" ]; then show "$@"; else "$@"; fi; }
dry=''
if [ "${1-}" = --dry-run ]; then dry=1 && shift; fi
if [ -z "${TPU-}" ] || [ -z "${ZONE-}" ] || [ $# = 0 ]; then
    echo "usage: TPU=NAME ZONE=ZONE [HOSTS=n] launch/tpu_pod.sh [--dry-run] ARGUMENTS..." >&2
    exit 2
fi
pack=jaxunlearn.tgz
if [ -z "$dry" ]; then
    pack=$(mktemp -d)/jaxunlearn.tgz
    trap 'rm -r "${pack%/*}"' EXIT
fi
act tar -czf "$pack" -C "$(dirname "$0")/.." --exclude='./.*' --exclude=./runs .
act gcloud compute tpus tpu-vm scp "$pack" "$TPU:jaxunlearn.tgz" --worker=all --zone="$ZONE" --quiet

on_all() { act gcloud compute tpus tpu-vm ssh "$TPU" --worker=all --zone="$ZONE" --quiet --command="$1"; }
on_all "mkdir -p jaxunlearn && tar -xzf jaxunlearn.tgz -C jaxunlearn && cd jaxunlearn &&
    python3 -m pip install -q --user uv && python3 -m uv venv -q --allow-existing --python 3.12 .venv &&
    python3 -m uv pip install -q -e '.[tpu]'"
on_all "cd jaxunlearn && . .venv/bin/activate && export JAXUNLEARN_DISTRIBUTED=auto JAXUNLEARN_PROCESSES=${HOSTS-} &&
    JAX_PLATFORMS=tpu,cpu exec python -P -m jaxunlearn$(printf ' %q' "$@")"
