#!/usr/bin/env bash
# The speed table of docs/benchmarks.md on one GPU of 80 GB, in at most BUDGET (480) seconds, what matters most first.
# Usage:
#
#   [BUDGET=480 OUT=runs/bench_gpu] launch/bench_gpu.sh [--dry-run] [KEY=VALUE...]
#
# OUT gets a JSON file and a table a command, written anew after each part of it. A part that fails or finds no time
# left is named, and the others go on. PyTorch is timed where it is installed, with Liger where that is.
set -uo pipefail
dry=()
if [ "${1-}" = --dry-run ]; then dry=(--dry-run) && shift; fi
out=${OUT:-runs/bench_gpu} until=$((SECONDS + ${BUDGET:-480})) failed=0 more=("$@")
[ "${dry[*]}" ] || mkdir -p "$out" || exit
smollm2=(init.V=49152 init.D=576 init.L=30 init.N=9 init.K=3 init.H=64 init.F=1536 init.tied=true eval.batch=64)
bench() { # NAME ARGUMENTS...: one command, killed when no time is left
    local name=$1 left=$((until - SECONDS)) way=()
    shift
    if [ "$left" -lt 20 ]; then echo "$name: no time left" >&2 && failed=1 && return; fi
    [ "${dry[*]}" ] || way=(timeout "$left")
    "${way[@]}" "$(dirname "$0")/gpu_node.sh" "${dry[@]}" bench configs/bench_7b.py "${more[@]}" \
        --out "$out/$name.json" --force --budget "$left" "$@" || failed=1
}
bench 7b --whole
bench 7b_65536_tokens unlearn.accumulate=8 --only train
bench 7b_adafactor unlearn.optimiser=adafactor --only train
bench smollm2 "${smollm2[@]}" --only score --only generate
bench 7b_torch --only torch
bench smollm2_torch "${smollm2[@]}" --only torch
exit "$failed"
