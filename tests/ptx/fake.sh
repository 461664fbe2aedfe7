#!/bin/sh
# Stands for nvcc and for ptxas, by the name that it is called by. A file `nvcc.sh` or `ptxas.sh`
# beside that name says what it does; $output is where the result is to go.
arguments=$*
output=
version=99.1.2
if [ "${0##*/}" = nvcc ] && [ "$1" = --version ]; then
    asked=version
fi
while [ $# -gt 0 ]; do
    case $1 in
    --output-file | -o) output=$2 ;;
    esac
    source=$1
    shift
done
here=$(dirname "$0")
[ ! -e "$here/version.sh" ] || . "$here/version.sh"
if [ "$asked" = version ]; then
    echo "Cuda compilation tools, release ${version%.*}, V$version"
    exit 0
fi
. "$here/${0##*/}.sh"
