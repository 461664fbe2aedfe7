#!/usr/bin/env bash
# Writes kernels/ptx anew: the PTX of all kernels and, for every architecture, resources.csv, what
# ptxas says of them, and instructions.csv, what nvdisasm shows of them. Fails if a kernel spills
# registers.
#
#   kernels/tools/build_ptx.sh NVCC
#
# NVCC is the pinned one (kernels/tools/install_nvcc.sh prints its path); any other is refused.
set -euo pipefail

tools=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
if [ $# -ne 1 ]; then
    echo "usage: build_ptx.sh NVCC" >&2
    exit 1
fi
nvcc=$(command -v "$1") || {
    echo "build_ptx: $1 is no program" >&2
    exit 1
}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
target=${CARGO_TARGET_DIR:-$tools/../../target}
cargo run --quiet --release --locked --manifest-path "$tools/rebuild/Cargo.toml" \
    --target-dir "$target/rebuild-ptx" -- "$(realpath -s "$nvcc")" "$scratch"
