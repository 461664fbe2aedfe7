#!/usr/bin/env bash
# Compiles the sample kernels to PTX for the targets that their `// targets:` lines name, and lets
# ptxas assemble every file, since nvcc does not look at inline assembly.
#
#   tests/emulator/build.sh NVCC [OUTPUT]
#
# NVCC is the pinned one (kernels/tools/install_nvcc.sh); OUTPUT is tests/emulator/ptx unless given.
# Paths in the PTX are made relative: those of this repository to its root, those of CUDA's headers
# to `cuda/`.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
fail() {
    echo "build.sh: $*" >&2
    exit 1
}
[ $# -ge 1 ] || fail "usage: build.sh NVCC [OUTPUT]"
nvcc=$1
output=${2:-$here/ptx}
pinned=$(sed -n 's/^nvidia-cuda-nvcc==\([0-9.]*\).*/\1/p' "$root/kernels/tools/nvcc.txt")
"$nvcc" --version | grep -q "V$pinned\$" || fail "$nvcc is not version $pinned, which wrote the committed PTX"
ptxas=$(dirname "$nvcc")/ptxas
mkdir -p "$output"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

build() {
    local source=$1 target=$2
    local name
    name=$(basename "$source" .cu)
    local raw=$scratch/$name.$target.ptx ptx=$output/$name.$target.ptx
    "$nvcc" --ptx --generate-code "arch=compute_${target#sm_},code=$target" -lineinfo -std=c++17 \
        -Werror all-warnings --output-file "$raw" "$source" || fail "nvcc refuses $source for $target"
    # The 8 digits after `_INTERNAL_` in inlined functions' names are a hash of the source's path.
    sed -e "s#\"$root/#\"#" -e 's#"/[^"]*/include/#"cuda/#' \
        -e 's/\(95,73,78,84,69,82,78,65,76,95\)\(,[0-9]*\)\{8\},95/\1,48,48,48,48,48,48,48,48,95/' \
        "$raw" >"$ptx"
    if grep -n '^[[:space:]]*\.file.*"/' "$ptx"; then
        fail "$ptx names a path outside of the repository and of CUDA"
    fi
    "$ptxas" -arch="$target" -o "$raw.cubin" "$ptx" || fail "ptxas refuses $ptx"
}
export -f build fail
export nvcc ptxas root scratch output

for source in "$here"/*.cu; do
    targets=$(sed -n 's#^// targets: ##p' "$source")
    [ -n "$targets" ] || fail "$source has no line '// targets: sm_NN ...'"
    printf "$source\0%s\0" $targets
done | xargs -0 -n 2 -P "$(getconf _NPROCESSORS_ONLN)" bash -c 'set -euo pipefail; build "$@"' build
