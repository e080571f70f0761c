#!/bin/sh
# tessera report: a page that is well formed and holds every case, the same from the same files; names that are markup stay
# text; files that are damaged, hostile or of another kind are refused by name, line and cause, and no page is written.
. "$(dirname "$0")/expect.sh"

# page FILE... -o PAGE: is written, without a word.
page() {
  "$TESSERA" report "$@" >out 2>&1 || fail "no page of $*"
  [ ! -s out ] || fail "words about $*"
}

# peers FILE DATE COMMIT MS NAME: results of two cases; the second loses and has figures for all plots.
peers() {
  cat >"$1" <<JSON
{"kind": "peers", "device": "test <b>device</b>", "date": "$2", "commit": "$3",
 "ceilings": {"1": {"fma f32": {"median": 100, "unit": "GFLOP/s"}, "memory read": {"median": 10, "unit": "GB/s"}}},
 "cases": [
  {"name": "$5", "group": "first & second", "threads": 1, "unit": "ns", "tessera": {"median": 2000, "min": 1900, "p95": 2500},
   "peers": {"onnxruntime": {"median": 3000}}, "ratio": {"onnxruntime": 1.49}, "goal": {"onnxruntime": 1.3, "best": 0.85},
   "bar": {"onnxruntime": 1.2, "best": 0.85}},
  {"name": "gemm 512", "group": "gemm", "threads": 1, "tessera": {"median": $4e6}, "flops": 268435456, "bytes": 3145728,
   "peers": {"onednn": {"median": 2e6, "min": 2e6, "p95": 2.1e6}, "onnxruntime": {"median": 2.5e6}}}],
 "groups": [{"name": "gemm", "threads": 1, "peer": "onednn", "goal": 1.0, "bar": 0.9}],
 "limits": [{"name": "compile", "seconds": 3, "limit": 5}, {"name": "load", "seconds": 7, "limit": 5}]}
JSON
}

hostile='</title><script>alert(1)</script>&amp;\" onload=\"x'
peers new.json 2026-11-02 bbbbbbb 4 "$hostile"
peers old.json 2026-11-01 aaaaaaa 8 "$hostile"
echo '{"model": "a/<i>m.tsm", "target": "cpu", "threads": 1, "precision": "f32", "kernels": 3, "load_ns": 5, "runs": 9,
  "latency_ns": {"min": 1000, "median": 1500, "p95": 4000}, "commit": "c"}' >bench.json
echo '{"kind": "tuning", "model": "net.onnx", "device": "d", "date": "2026-11-02", "commit": "c", "threads": 2, "target": "cpu",
  "points": [[0, 0, 9e6], [1.5, 10, 7e6], [60, 400, 5e6]], "rank_correlation": 0.91, "top1_regret": 0.125, "top10_regret": null}' >tune.json

echo '{"kind": "goals", "device": "d", "date": "2026-11-02", "commit": "c", "goals": [
  {"name": "re<g>ret", "value": 7.5, "unit": "%", "limit": 5, "met": false}, {"name": "seconds of it", "device": "d", "value": 3, "unit": "s", "limit": 5},
  {"name": "rank", "device": "e<1>", "value": -0.25, "unit": ""}]}' >goals.json

page new.json tune.json bench.json goals.json old.json -o page.html
page old.json bench.json goals.json new.json tune.json -o again.html
grep -qF '<td>re&lt;g&gt;ret</td><td>7.5 %</td><td>5 %</td><td class="bad">' page.html || fail "a goal that is missed"
grep -qF '<td>seconds of it</td><td>3 s</td><td>5 s</td><td class="good">' page.html || fail "a goal that is met"
grep -qF '<td>rank, on e&lt;1&gt;</td><td>-0.25 </td><td></td><td></td>' page.html || fail "a figure without a goal"
sed 's/"value": 3, //' goals.json >valueless.json
expect 1 '^error: valueless.json:2: seconds of it: "value" must be a number$' "$TESSERA" report valueless.json -o none.html
cmp page.html again.html || fail "the order of the files changes the page"

# Other precisions of a device stand apart.
sed '1s/{/{"precision": "bf16", /' old.json >bf16.json
page bf16.json old.json -o bf16.html
[ "$(grep -c '<h2>' bf16.html)" -eq 2 ] || fail "precisions are mixed"
grep -qF ', bf16</h2>' bf16.html || fail "the precision is not said"
! grep -qF History bf16.html || fail "precisions are one history"

# Every tag that is opened is closed, in order.
balanced() {
  tr '\n' ' ' <"$1" | awk 'BEGIN {RS = "<"} NR > 1 {
    end = index($0, ">")
    if (end == 0) {print "an open tag: " $0; bad = 1; exit}
    tag = substr($0, 1, end - 1)
    if (tag ~ /^!/ || tag ~ /\/$/) next
    split(tag, words, " ")
    if (tag !~ /^\//) stack[++depth] = words[1]
    else if (depth == 0 || stack[depth--] != substr(words[1], 2)) {print "a wrong end: " tag; bad = 1; exit}
  } END {exit bad || depth != 0}'
}
balanced page.html >out || fail "the page is not well formed"
if command -v python3 >/dev/null; then
  python3 -c 'import sys, xml.etree.ElementTree as e; e.parse(sys.argv[1])' page.html 2>out || fail "the page is no XML"
fi
for text in '&lt;script&gt;alert(1)&lt;/script&gt;' 'gemm 512' 'first &amp; second' '&lt;b&gt;device' '&lt;i&gt;m.tsm' \
  'net.onnx' '<td>1.50' '<td>0.91' '<td>12.50 %' 'class="bad">0.50' 'class="loss"' 'class="win"' 'over commits, 1 thread' 'Roofline' 'Tuning' \
  'class="good">✓ 1.20' 'class="bad">✗ 0.90' 'kept' 'passed' 'aaaaaaa' 'prefers-color-scheme:dark'; do
  grep -qF -- "$text" page.html || fail "the page lacks '$text'"
done
for text in '<script' '<b>' '<i>' 'onload="' 'http:' 'https:' 'src=' '@import'; do
  ! grep -qF -- "$text" page.html || fail "the page has '$text'"
done

# refused PATTERN FILE...: and the page that is there stays.
refused() {
  pattern=$1
  shift
  echo untouched >kept.html
  expect 1 "$pattern" "$TESSERA" report "$@" -o kept.html
  [ "$(cat kept.html)" = untouched ] || fail "a page was written from $*"
}

refused '^error: absent.json: ' absent.json
refused '^error: absent.json: ' new.json absent.json
refused '^error: \.: ' .
: >empty.json
refused '^error: empty.json:1: .*not whole' empty.json
printf 'MZ\220\000\003' >binary.json
refused '^error: binary.json:1: ' binary.json
size=$(wc -c <new.json)
for part in 1 2 3 4 5 6 7 8 9; do
  head -c $((size * part / 10)) new.json >part.json
  refused '^error: part.json:[0-9]+: .*not whole|^error: part.json:[0-9]+: a (colon|comma)' part.json
done
awk 'BEGIN {while (i++ < 100000) printf "["}' >deep.json
refused '^error: deep.json:1: .*deeper' deep.json
echo '[1, 2]' >list.json
refused '^error: list.json:1: .*"kind"' list.json
echo '{"kind": "spine"}' >other.json
refused '^error: other.json:1: .*"kind" must be' other.json

# change FROM TO LINE CAUSE: one change of the results, and what is said about it.
change() {
  sed "s/$1/$2/" new.json >changed.json
  ! cmp -s new.json changed.json || fail "nothing matches $1"
  refused "^error: changed.json:$3: $4" changed.json
}
change '"median": 2000' '"median": 0' 4 '.*"median" must be a number above 0'
change '"median": 2000' '"median": -1' 4 '.*"median" must be'
change '"median": 2000' '"median": 1e300' 4 '.*"median" must be'
change '"median": 2000' '"median": 1e999' 4 'a number that is too large'
change '"median": 2000' '"median": "2000"' 4 '.*"median" must be'
change '"median": 2000, ' '' 4 '.*"median" must be'
change '"threads": 1, "unit"' '"threads": 1.5, "unit"' 4 '.*"threads" must be a whole number'
change '"unit": "ns"' '"unit": "ms"' 4 '.*"unit" must be "ns"'
change '"group": "gemm", ' '' 7 '.*gemm 512: "group" must be'
change '"cases": \[' '"cases": [7, ' 3 '.*"cases" must be'
change '"cases"' '"case"' 1 '.*"cases" must be a list'
change '"1": {"fma' '"one": {"fma' 2 'ceilings: "one" must be a number of threads'
change '"seconds": 3' '"seconds": []' 10 'compile: "seconds" must be'
sed 's/\[1.5, 10, 7e6\]/[1.5, 10]/' tune.json >changed.json
refused '^error: changed.json:2: .*"points" must be' changed.json
sed 's/0.91/"0.91"/' tune.json >changed.json
refused '^error: changed.json:2: .*"rank_correlation" must be' changed.json
sed 's/"threads": 1, //' bench.json >changed.json
refused '^error: changed.json:1: .*"threads" must be' changed.json

echo '{"kind": "peers", "cases": []}' >none.json
page none.json -o none.html
balanced none.html >out || fail "the page without cases is not well formed"
expect 2 '^error: -o FILE.html is missing' "$TESSERA" report new.json
expect 2 '^error: RESULTS.json... is missing' "$TESSERA" report -o page.html
expect 1 '^error: nowhere/page.html: ' "$TESSERA" report new.json -o nowhere/page.html
expect 1 '^error: /dev/full: ' "$TESSERA" report new.json -o /dev/full

expect 0 '^{"commit": ".*"features": ".*"caches": {"l1d": ' "$TESSERA" doctor --json -
exit $failed
