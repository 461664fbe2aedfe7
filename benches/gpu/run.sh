#!/usr/bin/env bash
# All that a machine with a GPU is needed for, in one go; neither Rust nor CUDA's toolkit need be there.
#
#   benches/gpu/run.sh --cosmogan BINARY [--recorder BINARY] [--python PYTHON] [--device cuda:N]
#                      [--out DIR] [--case WHAT:SIZE/BASE/BATCH]... [--rounds N]
#                      [--maps PATH] [--long-steps N] [--parts PART,PART...]
#
# Elsewhere, on the same kind of processor:
#   cargo build --release
#   cargo test --release --no-run --test emulator_goldens        # names the recorder
#   strip target/release/cosmogan target/release/deps/emulator_goldens-HASH
#
# Its parts, in this order, all unless --parts names some:
#   check      every kernel and whole steps against the CPU (check.json), v3's where the device has bf16
#   goldens    what the GPU makes of the emulator's sample kernels (goldens-GPU.safetensors, for
#              tests/emulator/goldens), with --recorder
#   times      steps and generation in f32 and bf16, beside PyTorch where PYTHON has it (times.json,
#              times.md)
#   kernels    every version of the strided layers' kernels at paper-256, beside cuBLAS and cuDNN where they are
#              installed, and every launch of a step in bf16 and in f32 (kernels.json, step-*.json)
#   scaling    time and memory of a step against batch, size of the maps and base filters (scaling.json)
#   precision  training in bf16 beside f32, paper-64 on the maps in PATH or on synthetic ones: 50 steps
#              (precision-50.json), then N, 2000 unless given (precision-N.json)
#   profile    Nsight Compute on one bf16 step of paper-256 (profile.csv), where ncu is installed
#   sanitizer  compute-sanitizer on the kernels, where it is installed
# Results go to DIR (benches/results/DATE-GPU unless given). What fails is told at the end, and the
# exit status is 1.
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

all=check,goldens,times,kernels,scaling,precision,profile,sanitizer
cosmogan='' recorder='' python=python3 device=cuda out='' rounds=5 maps='' long=2000 parts=$all
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
    --maps) maps=$2 ;;
    --long-steps) long=$2 ;;
    --parts) parts=$2 ;;
    *) usage ;;
    esac
    shift 2
done
[ -n "$cosmogan" ] || usage
[ -x "$cosmogan" ] || fail "no program at $cosmogan"
[ -z "$recorder" ] || [ -x "$recorder" ] || fail "no program at $recorder"
[ -z "$maps" ] || [ -e "$maps" ] || fail "no maps at $maps"
for part in ${parts//,/ }; do
    [[ ,$all, == *,$part,* ]] || fail "no part '$part'; there are $all"
done

# The first line of any measurement names the device, or says why there is none.
said=$("$cosmogan" bench generate --preset demo --batch 2 --steps 1 --device "$device" 2>&1) ||
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

# cuDNN and cuBLAS of PYTHON's wheels, under the names that a program without a version of CUDA asks for.
links=$(mktemp -d) || fail "cannot make a folder for links"
trap 'rm -rf "$links"' EXIT
while IFS= read -r folder; do
    [ -n "$folder" ] || continue
    for name in cublas cudnn; do
        for library in "$folder/lib$name.so".*; do
            [ ! -e "$library" ] || [ -e "$links/lib$name.so" ] || ln -s "$library" "$links/lib$name.so"
        done
    done
    links_path=${links_path:-}:$folder
done < <("$python" -c '
import glob, sysconfig
for kind in ("purelib", "platlib"):
    print(*glob.glob(sysconfig.get_path(kind) + "/nvidia/*/lib"), sep="\n")
' 2>/dev/null | sort -u)
export LD_LIBRARY_PATH=$links${links_path:-}${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}

failed=()
# run NAME COMMAND...: what it says goes to the terminal and to NAME.log.
run() {
    local name=$1
    shift
    echo "+ $*"
    if ! "$@" 2>&1 | tee "$out/$name.log"; then
        failed+=("$name (see $out/$name.log)")
        return 1
    fi
}
wanted() {
    [[ ,$parts, == *,$1,* ]]
}
has_bf16() {
    "$cosmogan" bench generate --preset demo --batch 2 --steps 1 --device "$device" \
        --precision bf16 >/dev/null 2>&1
}

if wanted check; then
    run check "$cosmogan" check --device "$device" --json "$out/check.json"
fi

if wanted goldens && [ -n "$recorder" ] && [ "$device" != emulator ]; then
    run goldens env CARGO_MANIFEST_DIR="$root" \
        COSMOGAN_RECORD_GOLDENS="$out/goldens-$gpu.safetensors" \
        "$recorder" --exact samples_are_recorded_on_the_first_gpu --nocapture
fi

if wanted times; then
    if "$python" -c 'import torch, numpy' 2>/dev/null; then
        run times "$python" "$root/benches/peers/gpu.py" --cosmogan "$cosmogan" --python "$python" \
            --device "$device" --rounds "$rounds" "${cases[@]}" \
            --json "$out/times.json" --markdown "$out/times.md"
    else
        echo "$python has no PyTorch (or no numpy): only cosmogan is timed"
        [ ${#cases[@]} -gt 0 ] || cases=(--case step:64/64/64 --case step:128/64/64 \
            --case step:256/64/64 --case generate:256/64/64)
        precisions=f32
        has_bf16 && precisions='f32 bf16'
        for ((i = 1; i < ${#cases[@]}; i += 2)); do
            IFS=:/ read -r what size base batch <<<"${cases[i]}"
            for precision in $precisions; do
                name=time-$what-$size-${base:-64}-${batch:-64}-$precision
                run "$name" "$cosmogan" bench "$what" --size "$size" --base "${base:-64}" \
                    --batch "${batch:-64}" --device "$device" --precision "$precision" \
                    --json "$out/$name.json"
            done
        done
    fi
fi

if wanted kernels && [ "$device" = emulator ]; then
    echo "kernels are not timed: the emulator has no clock"
elif wanted kernels; then
    run kernels "$cosmogan" bench kernels --device "$device" --json "$out/kernels.json"
    precisions=f32
    has_bf16 && precisions='f32 bf16'
    for precision in $precisions; do
        run "step-$precision" "$cosmogan" bench account --device "$device" --precision "$precision" \
            --json "$out/step-$precision.json"
    done
fi

if wanted scaling && [ "$device" = emulator ]; then
    echo "growing steps are not timed: the emulator is too slow"
elif wanted scaling; then
    run scaling "$cosmogan" bench scaling --preset paper-256 --device "$device" --json "$out/scaling.json"
fi

if wanted precision && [ "$device" = emulator ]; then
    echo "bf16 and f32 are not compared: the emulator is too slow for paper-64"
elif wanted precision; then
    data=()
    [ -z "$maps" ] || data=(--data "$maps")
    # How the losses part is seen early; how the maps come out, at the end of a longer training.
    for steps in 50 "$long"; do
        run "precision-$steps" "$cosmogan" bench precision --preset paper-64 "${data[@]}" \
            --device "$device" --steps "$steps" --seeds 3 --json "$out/precision-$steps.json"
    done
fi

if wanted profile; then
    if [ "$device" = emulator ] || ! command -v ncu >/dev/null; then
        echo "ncu is not used: it is not installed, or this is no GPU"
    elif ! has_bf16; then
        echo "ncu is not used: $device has no bf16"
    else
        # A measurement warms up with two steps: their launches are as those of the third.
        if ! run profile ncu --graph-profiling node --csv --page raw --log-file "$out/profile.csv" \
            --section SpeedOfLight --section MemoryWorkloadAnalysis --section ComputeWorkloadAnalysis \
            --section Occupancy --section LaunchStats \
            "$cosmogan" bench step --preset paper-256 --batch 64 --device "$device" \
            --precision bf16 --steps 1 && grep -q ERR_NVGPUCTRPERM "$out"/profile.{csv,log}; then
            echo "ncu may not read this GPU's counters: not counted as a failure"
            unset 'failed[-1]'
        fi
    fi
fi

if wanted sanitizer; then
    if [ "$device" != emulator ] && command -v compute-sanitizer >/dev/null; then
        for tool in memcheck racecheck initcheck synccheck; do
            run "sanitizer-$tool" compute-sanitizer --tool "$tool" --error-exitcode 1 \
                "$cosmogan" check --device "$device" --small --cases 2
        done
    else
        echo "compute-sanitizer is not used: it is not installed, or this is no GPU"
    fi
fi

echo "results: $out"
if [ ${#failed[@]} -gt 0 ]; then
    printf 'FAILED: %s\n' "${failed[@]}" >&2
    exit 1
fi
