#!/usr/bin/env bash
# Installs the pinned nvcc, ptxas and nvdisasm from PyPI into a directory: no root, no GPU, no driver.
# Needs python3 with pip (or with the venv module) and, to run nvcc, a host g++.
#
#   kernels/tools/install_nvcc.sh DIRECTORY
#
# Prints the path of nvcc as its last line. A directory that already holds the pinned version is
# left as it is; versions and hashes are those of nvcc.txt beside this script.
set -euo pipefail

tools=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
requirements=$tools/nvcc.txt
release=$(sed -n 's/^nvidia-cuda-nvcc==\([0-9.]*\).*/\1/p' "$requirements")

fail() {
    echo "install_nvcc: $*" >&2
    exit 1
}

[ $# -eq 1 ] || fail "usage: install_nvcc.sh DIRECTORY"
mkdir -p "$1" || fail "cannot create the directory $1"
directory=$(cd "$1" && pwd)
stamp=$directory/installed.txt
nvcc=$directory/nvidia/cu13/bin/nvcc
nvdisasm=$directory/nvidia/cu13/bin/nvdisasm

complete() {
    cmp -s "$requirements" "$stamp" && "$nvcc" --version 2>/dev/null | grep -q "V$release\$" &&
        "$nvdisasm" --version >/dev/null 2>&1
}

# Root inside a container is no mistake here: pip writes to the directory only.
export PIP_ROOT_USER_ACTION=ignore

install() {
    "$@" -m pip install --quiet --disable-pip-version-check --no-deps --only-binary=:all: \
        --require-hashes --upgrade --target "$directory" --requirement "$requirements"
}

if ! complete; then
    command -v python3 >/dev/null 2>&1 || fail "python3 is missing; install Python 3.8 or later"
    # A half-written installation is never taken for a whole one: the stamp comes last.
    rm -f "$stamp"
    if python3 -m pip --version >/dev/null 2>&1; then
        install python3 || fail "pip could not install the packages of $requirements (see above)"
    else
        venv=$(mktemp -d)
        trap 'rm -rf "$venv"' EXIT
        python3 -m venv "$venv" ||
            fail "python3 has neither pip nor venv; install one (Debian: python3-pip or python3-venv)"
        install "$venv/bin/python3" ||
            fail "pip could not install the packages of $requirements (see above)"
    fi
    # Wheels cannot carry executable bits through every installer.
    chmod +x "$directory"/nvidia/cu13/bin/* "$directory"/nvidia/cu13/nvvm/bin/* 2>/dev/null || true
    cp "$requirements" "$stamp"
    complete || fail "$nvcc does not report version $release after the installation, or $nvdisasm does not run"
fi
command -v g++ >/dev/null 2>&1 ||
    echo "install_nvcc: warning: nvcc needs a host g++ and none is in the path" >&2
echo "$nvcc"
