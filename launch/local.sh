#!/usr/bin/env bash
# Several processes of one run on one machine; on GPUs, process I has GPU I. Usage:
#
#   launch/local.sh [--dry-run] N run configs/llama2_7b.py model=DIR run.dir=runs/mine
#
# Process 0 writes to the terminal, process I to $LOGS/process_I.log. All processes get SIGTERM and Ctrl-C. After a
# failure or a signal the rest have GRACE (30) seconds to end by themselves; the exit code is that of the first failure.
set -u
show() { (PS4='' && set -x && : "$@") 2>&1 | cut -c3-; } # as it would be typed
dry='' && [ "${1-}" = --dry-run ] && dry=1 && shift
case ${1-} in '' | *[!0-9]* | 0*) echo "usage: launch/local.sh [--dry-run] N ARGUMENTS..." >&2 && exit 2 ;; esac
count=$1 && shift
address=127.0.0.1:${PORT:-$((20000 + RANDOM % 10000))}
logs=${LOGS:-${TMPDIR:-/tmp}/jaxunlearn-$$}
[ "$dry" ] || mkdir -p "$logs" || exit 1
pids=() first=0 limit=''
trap 'kill "${pids[@]}" 2>/dev/null && limit=$((SECONDS + ${GRACE:-30}))' INT TERM
for ((i = 0; i < count; i++)); do
    one=(env JAXUNLEARN_COORDINATOR="$address" JAXUNLEARN_PROCESSES="$count" JAXUNLEARN_PROCESS="$i"
        JAX_CUDA_VISIBLE_DEVICES="$i" "${PYTHON:-python}" -P -m jaxunlearn "$@")
    if [ "$dry" ]; then show "${one[@]}" && continue; fi
    if [ "$i" = 0 ]; then "${one[@]}" & else "${one[@]}" >"$logs/process_$i.log" 2>&1 & fi
    pids[i]=$!
done
while [ ${#pids[@]} -gt 0 ]; do
    for i in "${!pids[@]}"; do
        kill -0 "${pids[i]}" 2>/dev/null && continue
        code=0 && wait "${pids[i]}" || code=$?
        unset "pids[i]"
        if [ "$code" = 0 ]; then continue; fi
        echo "launch/local.sh: process $i of $count ended with $code; the output of processes 1 and up is in $logs" >&2
        [ "$i" = 0 ] || tail -n 5 "$logs/process_$i.log" >&2
        [ "$first" != 0 ] || first=$code
        limit=${limit:-$((SECONDS + ${GRACE:-30}))}
    done
    if [ "$limit" ] && [ "$SECONDS" -ge "$limit" ] && [ ${#pids[@]} -gt 0 ]; then kill -KILL "${pids[@]}"; fi
    sleep 0.2
done
exit "$first"
