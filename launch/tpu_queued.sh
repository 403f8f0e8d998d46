#!/usr/bin/env bash
# A queued TPU: requests it, waits for it, runs launch/tpu_pod.sh on it, deletes it. Usage:
#
#   TPU=NAME ZONE=ZONE TYPE=v5litepod-16 RUNTIME=v2-alpha-tpuv5-lite [SPOT=1 HOSTS=4] \
#       launch/tpu_queued.sh [--dry-run] run configs/llama2_7b.py model=DIR run.dir=/shared/runs/mine
#
# After a preemption it queues again and repeats the command, which goes on where it stopped: run.dir must outlive the
# TPU. However this script ends, it deletes the TPU, also one of that name that it found there.
set -euo pipefail
show() { (PS4='' && set -x && : "$@") 2>&1 | cut -c3-; } # as it would be typed
act() { if [ "$dry" ]; then show "$@"; else "$@"; fi; }
dry=''
if [ "${1-}" = --dry-run ]; then dry=--dry-run && shift; fi
if [ -z "${TPU-}" ] || [ -z "${ZONE-}" ] || [ -z "${TYPE-}" ] || [ -z "${RUNTIME-}" ] || [ $# = 0 ]; then
    echo "usage: TPU=NAME ZONE=ZONE TYPE=TYPE RUNTIME=VERSION launch/tpu_queued.sh [--dry-run] ARGUMENTS..." >&2
    exit 2
fi
queue=(gcloud compute tpus queued-resources)
state() { "${queue[@]}" describe "$TPU" --zone="$ZONE" --format='value(state.state)' 2>/dev/null || true; }
delete() { act "${queue[@]}" delete "$TPU" --zone="$ZONE" --force --quiet; }
ready() { case $1 in ACTIVE) ;; FAILED | SUSPEND*) echo "$TPU: $1" >&2 && exit 1 ;; *) false ;; esac }
trap delete EXIT
while true; do
    if [ "$dry" ] || [ -z "$(state)" ]; then
        act "${queue[@]}" create "$TPU" --node-id="$TPU" --zone="$ZONE" --accelerator-type="$TYPE" \
            --runtime-version="$RUNTIME" ${SPOT:+--spot}
    fi
    until [ "$dry" ] || ready "$(state)"; do sleep "${POLL:-30}"; done
    code=0
    "$(dirname "$0")/tpu_pod.sh" $dry "$@" || code=$?
    if [ "$dry" ] || [ "$code" = 0 ]; then exit; fi
    sleep "${POLL:-30}" # the state shows a preemption only after some seconds
    if [ "$(state)" = ACTIVE ]; then exit "$code"; fi
    delete
done
