#!/usr/bin/env bash
# All that a machine with a GPU is needed for, in one go; neither Rust nor CUDA's toolkit need be there.
#
#   benches/gpu/run.sh --cosmogan BINARY [--recorder BINARY] [--python PYTHON] [--device cuda:N]
#                      [--out DIR] [--case WHAT:SIZE/BASE/BATCH]... [--rounds N]
#
# Elsewhere, on the same kind of processor:
#   cargo build --release
#   cargo test --release --no-run --test emulator_goldens        # names the recorder
#   strip target/release/cosmogan target/release/deps/emulator_goldens-HASH
#
# It checks every kernel against the CPU (check.json), records what the GPU makes of the emulator's sample
# kernels (goldens-GPU.safetensors, for tests/emulator/goldens), lets compute-sanitizer look at the
# kernels where it is installed, and times steps and generation, beside PyTorch where PYTHON has it
# (times.json, times.md). Results go to DIR (benches/results/DATE-GPU unless given). What fails is
# told at the end, and the exit status is 1.
set -uo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
usage() {
    sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}" >&2
    exit 2
}
fail() {
    echo "run.sh: $*" >&2
    exit 1
}

cosmogan='' recorder='' python=python3 device=cuda out='' rounds=5
cases=()
while [ $# -gt 0 ]; do
    [ $# -ge 2 ] || usage
    case $1 in
    --cosmogan) cosmogan=$2 ;;
    --recorder) recorder=$2 ;;
    --python) python=$2 ;;
    --device) device=$2 ;;
    --out) out=$2 ;;
    --case) cases+=(--case "$2") ;;
    --rounds) rounds=$2 ;;
    *) usage ;;
    esac
    shift 2
done
[ -n "$cosmogan" ] || usage
[ -x "$cosmogan" ] || fail "no program at $cosmogan"
[ -z "$recorder" ] || [ -x "$recorder" ] || fail "no program at $recorder"

# The first line of any measurement names the device, or says why there is none.
said=$("$cosmogan" bench generate --preset demo --batch 1 --steps 1 --device "$device" 2>&1) ||
    fail "$device cannot be used: $said"
echo "${said%%$'\n'*}"
if [ "$device" = emulator ]; then
    gpu=emulator
else
    gpu=$(sed -n '1s/.*, cuda:[0-9]*, \([^,]*\), compute.*/\1/p' <<<"$said" | tr -cs 'A-Za-z0-9\n' '-')
fi
[ -n "$gpu" ] || fail "$device is no GPU"
out=${out:-$root/benches/results/$(date +%F)-$gpu}
mkdir -p "$out" || fail "cannot make $out"

failed=()
# run NAME COMMAND...: what it says goes to the terminal and to NAME.log.
run() {
    local name=$1
    shift
    echo "+ $*"
    if ! "$@" 2>&1 | tee "$out/$name.log"; then
        failed+=("$name (see $out/$name.log)")
    fi
}

run check "$cosmogan" check --device "$device" --json "$out/check.json"

if [ -n "$recorder" ]; then
    run goldens env CARGO_MANIFEST_DIR="$root" \
        COSMOGAN_RECORD_GOLDENS="$out/goldens-$gpu.safetensors" \
        "$recorder" --exact samples_are_recorded_on_the_first_gpu --nocapture
fi

if [ "$device" != emulator ] && command -v compute-sanitizer >/dev/null; then
    for tool in memcheck racecheck initcheck synccheck; do
        run "sanitizer-$tool" compute-sanitizer --tool "$tool" --error-exitcode 1 \
            "$cosmogan" check --device "$device" --small --cases 2
    done
else
    echo "compute-sanitizer is not used: it is not installed, or this is no GPU"
fi

if "$python" -c 'import torch, numpy' 2>/dev/null; then
    run times "$python" "$root/benches/peers/gpu.py" --cosmogan "$cosmogan" --python "$python" \
        --device "$device" --rounds "$rounds" "${cases[@]}" \
        --json "$out/times.json" --markdown "$out/times.md"
else
    echo "$python has no PyTorch (or no numpy): only cosmogan is timed"
    [ ${#cases[@]} -gt 0 ] || cases=(--case step:64/64/64 --case step:128/64/64 \
        --case step:256/64/64 --case generate:256/64/64)
    for ((i = 1; i < ${#cases[@]}; i += 2)); do
        IFS=:/ read -r what size base batch <<<"${cases[i]}"
        run "time-$what-$size-${base:-64}-${batch:-64}" "$cosmogan" bench "$what" --size "$size" \
            --base "${base:-64}" --batch "${batch:-64}" --device "$device" \
            --json "$out/time-$what-$size-${base:-64}-${batch:-64}.json"
    done
fi

echo "results: $out"
if [ ${#failed[@]} -gt 0 ]; then
    printf 'FAILED: %s\n' "${failed[@]}" >&2
    exit 1
fi
