#!/bin/sh
# --db of the commands that compile: which rows are taken, which never, and that the same rows give the same bytes.
. "$(dirname "$0")/expect.sh"

cat >layer.tsr <<'TSR'
graph @layer {
  %x = input {name = "x"} : f32[24, 48]
  %w = const {random = 1} : f32[48, 40]
  %h = einsum %x, %w {spec = "mk,kn->mn"} : f32[24, 40] from "MatMul_0"
  %s = reduce %h {axes = [1], combine = "max"} : f32[24] from "Max_1"
  output %h {name = "h"}
  output %s {name = "s"}
}
TSR
header='{"tessera_tuning_database": 1}'

# The rows of a tuner tell the keys of both kernels; the trials below are made from them.
"$TESSERA" tune layer.tsr --db first.db --trials 4 --threads 1 --quiet >out 2>&1 || fail "tune"
"$TESSERA" db export --db first.db | grep '"strategy = \\"contract\|strategy = \\"contract' |
  grep '"predicted_ns": [0-9]' | head -n 1 >one.text
[ -s one.text ] || fail "no row of the contraction with a prediction"

# row FILE SCHEDULE STATUS NANOSECONDS [SED]: adds a trial of the contraction.
row() {
  sed -e "s/\"schedule\": \"[^}]*}\"/\"schedule\": \"$2\"/" -e "s/\"status\": \"[a-z]*\"/\"status\": \"$3\"/" \
    -e "s/\"samples_ns\": \[[^]]*\]/\"samples_ns\": [$4]/" -e 's/"adjusted_ns": [0-9]*, //' -e "${5:-}" one.text >>"$1"
}
contract() {
  printf '{grain = 20000, kc = 0, mc = 24, mr = %s, nc = %s, nr = %s, outer = 1, pack_a = 0, pack_b = 0, strategy = \\\\"contract\\\\", unroll = 1}' "$1" "$2" "$2"
}
# database NAME: from NAME.text.
database() {
  { echo "$header"; cat "$1.text"; } >import.text
  rm -f "$1.db"
  expect 0 'new trials' "$TESSERA" db import import.text --db "$1.db"
}
plan() {
  "$TESSERA" compile layer.tsr --threads 1 --emit plan --db "$1.db" -o "$1.tsm" 2>err
}

"$TESSERA" compile layer.tsr --threads 1 --emit plan -o model.tsm >model.plan || fail "compile"

# The fastest right row.
row good.text "$(contract 3 16)" right 900
row good.text "$(contract 2 16)" right 500
row good.text "$(contract 6 16)" right 700
database good
plan good >good.plan || fail "compile --db"
grep -q ' mc = 24, mr = 2, ' good.plan || fail "not the fastest row: $(cat good.plan)"
grep -q '^warning: cpu: 1 of 2 kernels have a measured schedule in good.db; 1 have none and take the model.s$' err ||
  fail "no word on the kernels: $(cat err)"
expect 0 '^h' "$TESSERA" run layer.tsr --threads 1 --db good.db

# What stood beside an incumbent ranks by the time that is made up for.
row turns.text "$(contract 3 16)" right 900 's/"samples_ns": [^]]*\], /&"adjusted_ns": 480, /'
row turns.text "$(contract 2 16)" right 500 's/"samples_ns": [^]]*\], /&"adjusted_ns": 490, /'
row turns.text "$(contract 6 16)" right 485
database turns
plan turns >turns.plan || fail "compile --db of rows with made up times"
grep -q ' mc = 24, mr = 3, ' turns.plan || fail "not the row that is faster in turns: $(cat turns.plan)"

# Never: wrong, predicted, refused, crashed rows; schedules that are illegal or no schedules; other threads, caches, targets, dims, work.
row bad.text "$(contract 2 16)" wrong 1
row bad.text "$(contract 3 16)" crashed ""
row bad.text "$(contract 4 16)" predicted ""
row bad.text "$(contract 5 16)" right 2
row bad.text "{speed = 11}" right 3
row bad.text "}\\\\u000a}\\\\u000agraph @evil {" right 4
row bad.text "$(contract 6 16)" right 5 's/"threads": 1/"threads": 2/'
row bad.text "$(contract 8 16)" right 6 's/"device": "l1d=/"device": "l1d=1/'
row bad.text "$(contract 12 16)" right 7 's/"target": "cpu:/"target": "cpu:x/'
row bad.text "$(contract 1 16)" right 8 's/"dims": ""/"dims": "1"/'
row bad.text "$(contract 2 32)" right 9 's/"workload": "./"workload": "-/;s/"-/"0/'
database bad
plan bad >bad.plan || fail "compile with bad rows: $(cat err)"
cmp bad.plan model.plan || fail "a bad row was taken"
cmp bad.tsm model.tsm || fail "bad rows change the module"
grep -q '0 of 2 kernels' err || fail "bad rows count: $(cat err)"
# Behind illegal ones the first legal one counts.
cat good.text >>bad.text
database bad
plan bad >bad.plan || fail "compile"
cmp bad.plan good.plan || fail "an illegal row hides a legal one"

# The order in which rows came in, how often, and what else is there change nothing.
sort -r bad.text >shuffled.text
database shuffled
expect 0 ' 0 new trials' "$TESSERA" db merge good.db --db shuffled.db
plan shuffled >shuffled.plan || fail "compile"
cmp shuffled.tsm bad.tsm || fail "the order of rows changes the module"
cmp good.tsm bad.tsm || fail "rows that are not taken change the module"

expect 1 '^error: absent.db: ' "$TESSERA" compile layer.tsr --db absent.db -o x.tsm
[ ! -e x.tsm ] || fail "a module without its database"
expect 1 '^error: layer.tsr: .*database' "$TESSERA" compile layer.tsr --db layer.tsr -o x.tsm
exit $failed
