#!/usr/bin/env bash
# Every measured table and figure of docs/PERFORMANCE.md for this machine's CPU, and the page itself.
#
#   benches/cpu.sh [--cosmogan BINARY] [--python PYTHON] [--name NAME] [--parts PART,PART...]
#
# Its parts, in this order, all unless --parts names some:
#   compare  training steps and generation in turns with PyTorch, which PYTHON (python3) must have
#   profile  two steps taken apart, beside what this CPU reaches in matrix products and copies
#   scaling  time and memory against batch, size of the maps, base filters and threads
#   report   docs/PERFORMANCE.md with its figures: counts of the kernels, and all results that are kept
# Results go to benches/results/DATE-NAME*.json and .md (NAME: cpu). Run it on a machine that does nothing else:
# it takes a quarter of an hour on two cores.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cosmogan=$root/target/release/cosmogan python=python3 name=cpu parts=compare,profile,scaling,report
while [ $# -gt 0 ]; do
    case $1 in
        --cosmogan | --python | --name | --parts)
            [ $# -ge 2 ] || { echo "$1 needs a value" >&2; exit 2; }
            declare "${1#--}=$2"
            shift 2
            ;;
        *)
            sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}" >&2
            exit 2
            ;;
    esac
done
[ -x "$cosmogan" ] || { echo "no program at $cosmogan; build it with: cargo build --release" >&2; exit 1; }
results=$root/benches/results
stem=$results/$(date +%F)-$name
wants() { case ",$parts," in *",$1,"*) ;; *) return 1 ;; esac; }

if wants compare; then
    "$python" "$root/benches/peers/compare.py" --cosmogan "$cosmogan" --pairs 7 \
        --json "$stem.json" --markdown "$stem.md"
fi
if wants profile; then
    "$cosmogan" bench profile --preset paper-64 --batch 64 --json "$stem-profile-64.json"
    "$cosmogan" bench profile --preset paper-256 --batch 8 --json "$stem-profile-256.json"
fi
if wants scaling; then
    "$cosmogan" bench scaling --preset paper-64 --batch 4 --steps 5 --limit 600 \
        --device cpu --json "$stem-scaling.json"
fi
if wants report; then
    (cd "$root" && "$cosmogan" bench report)
fi
