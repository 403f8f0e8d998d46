#!/usr/bin/env bash
# One node with all of its GPUs in one process; the mesh of the configuration is over them. Usage:
#
#   [GPUS=0,1] launch/gpu_node.sh [--dry-run] run configs/llama2_7b.py model=DIR run.dir=runs/mine
#
# It stops where JAX finds no GPU, instead of running on the CPU. After a kill at any moment the same command goes on.
set -euo pipefail
show() { (PS4='' && set -x && : "$@") 2>&1 | cut -c3-; } # as it would be typed
dry=''
if [ "${1-}" = --dry-run ]; then dry=1 && shift; fi
if [ $# = 0 ]; then
    echo "usage: [GPUS=0,1] launch/gpu_node.sh [--dry-run] ARGUMENTS..." >&2
    exit 2
fi
one=(env JAX_PLATFORMS="${JAX_PLATFORMS:-cuda,cpu}" JAX_CUDA_VISIBLE_DEVICES="${GPUS:-all}"
    "${PYTHON:-python}" -P -m jaxunlearn "$@")
if [ "$dry" ]; then show "${one[@]}"; else exec "${one[@]}"; fi
