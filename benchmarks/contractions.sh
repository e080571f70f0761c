#!/bin/sh
# Usage: benchmarks/contractions.sh TESSERA PEERS THREADS SECONDS constant|computed [PATTERN]
# Measures the cases of contractions.txt whose names match PATTERN (a case pattern of sh; all when it is not given) against
# oneDNN by the program PEERS (contraction_peers), SECONDS for each, weights as constants or as inputs; lines of JSON on
# standard output. Ends with 1 when a result is wrong.
set -eu
tessera=$1 peers=$2 threads=$3 seconds=$4 operand=$5 wanted=${6:-*}
cases=$(dirname "$0")/contractions.txt
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
status=0

# graph NAME OPERAND SHAPE_X SHAPE_W SHAPE_Y OPERATION
graph() {
  case $2 in
  constant) w='const {random = 1}' ;;
  *) w='input {name = "w"}' ;;
  esac
  printf 'graph @g {\n  %%x = input {name = "x"} : f32[%s]\n  %%w = %s : f32[%s]\n' "$3" "$w" "$4"
  printf '  %%y = %s : f32[%s] from "%s"\n  output %%y {name = "y"}\n}\n' "$6" "$5" "$1"
}

while read -r kind name a b c d e stride padding groups; do
  case $kind in gemm | conv) ;; *) continue ;; esac
  # shellcheck disable=SC2254
  case $name in $wanted) ;; *) continue ;; esac
  if [ "$kind" = gemm ]; then
    shape_w="$c, $b" rest=
    graph "$name" "$operand" "$a, $c" "$shape_w" "$a, $b" 'einsum %x, %w {spec = "mk,kn->mn"}' >"$work/g.tsr"
  else
    height=$(((b + 2 * padding - e) / stride + 1)) width=$(((c + 2 * padding - e) / stride + 1))
    # What the last window does not reach needs no padding.
    high=$(((height - 1) * stride + e - b - padding)) wide=$(((width - 1) * stride + e - c - padding))
    shape_w="$d, $((a / groups)), $e, $e" rest="$stride $padding $groups"
    graph "$name" "$operand" "1, $a, $b, $c" "$shape_w" "1, $d, $height, $width" "conv %x, %w {dilations = [1, 1], \
groups = $groups, high = [$high, $wide], low = [$padding, $padding], strides = [$stride, $stride]}" >"$work/g.tsr"
  fi
  "$tessera" compile "$work/g.tsr" -o "$work/g.tsm" --threads "$threads" --quiet
  weights=-
  if [ "$operand" = constant ]; then
    printf 'graph @g {\n  %%w = const {random = 1} : f32[%s]\n  output %%w {name = "w"}\n}\n' "$shape_w" >"$work/w.tsr"
    "$tessera" compile "$work/w.tsr" -o "$work/w.tsm" --threads 1 --quiet
    weights=$work/w.tsm
  fi
  echo "$name $kind $work/g.tsm $weights $rest" >"$work/list"
  "$peers" "$threads" "$seconds" "$work/list" || status=1
done <"$cases"
exit $status
