#!/bin/sh
# tessera tune: trials into a database, what compile takes of them, going on, signals, crowds and full disks.
# With TESSERA_LONG set: fifty kills and four tuners at once.
. "$(dirname "$0")/expect.sh"

kills=3
tuners=2
if [ -n "${TESSERA_LONG:-}" ]; then
  kills=50
  tuners=4
fi

cat >layer.tsr <<'TSR'
dim N in 1..64 hint 24

graph @layer {
  %x = input {name = "x"} : f32[N, 48]
  %w = const {random = 1} : f32[48, 40]
  %h = einsum %x, %w {spec = "mk,kn->mn"} : f32[N, 40] from "MatMul_0"
  %0 = const {value = 0} : f32[]
  %y = max %h, %0 : f32[N, 40] from "Relu_1"
  output %y {name = "y"}
}
TSR
cat >sums.tsr <<'TSR'
graph @sums {
  %x = input {name = "x"} : f32[300, 70]
  %s = reduce %x {axes = [1], combine = "add"} : f32[300] from "Sum_0"
  output %s {name = "s"}
}
TSR

# rows DB: how many trials it has.
rows() {
  "$TESSERA" db stats --db "$1" | sed -n 's/^trials *\([0-9]*\) .*/\1/p'
}

# added FILE.json: the rows that a tuner says it added: one per trial, and better figures of the best ones.
added() {
  sed -n 's/.*"rows": \([0-9]*\),.*/\1/p' "$1"
}

clean() {
  expect 0 'all as they were written' "$TESSERA" db check --db "$1"
}

expect 2 '^error: --db FILE is missing' "$TESSERA" tune layer.tsr
expect 2 "^error: --trials needs a number, not 'x'" "$TESSERA" tune layer.tsr --db a.db --trials x
expect 2 '^error: a model is tuned for one --target at a time' \
  "$TESSERA" tune layer.tsr --db a.db --target cpu --target cpu:x86-64-v2
expect 1 '^error: absent.tsr: ' "$TESSERA" tune absent.tsr --db a.db
[ ! -e a.db ] || fail "a database was made for a model that is not there"
expect 1 '^error: layer.tsr: ' "$TESSERA" tune layer.tsr --db layer.tsr
expect 1 '^error: no/such/a.db: ' "$TESSERA" tune layer.tsr --db no/such/a.db

# From nothing; the table, the curve, the models.
expect 0 'MatMul_0, Relu_1 .* 12$' "$TESSERA" tune layer.tsr --db a.db --trials 12 --json a.json --quiet
grep -q '^layer.tsr: kernels .*; 12 trials in ' out || fail "no summary"
grep -qE '^with correction: +rank correlation ' out || fail "no word on the models"
grep -qE '^analytic model: +rank correlation ' out || fail "no word on the analytic model"
[ "$(added a.json)" -ge 12 ] || fail "not every trial became a row"
[ "$(added a.json)" = "$(rows a.db)" ] || fail "it says $(added a.json) rows, there are $(rows a.db)"
clean a.db
expect 0 '"kind": "tuning", "model": "layer.tsr".*"points": \[\[' cat a.json
"$TESSERA" report a.json -o a.html || fail "the report does not take the curve"
expect 1 '^error: /dev/full: ' "$TESSERA" tune layer.tsr --db a.db --trials 1 --json /dev/full --quiet

# What compile takes of it.
expect 0 '1 of 1 kernels have a measured schedule in a.db' "$TESSERA" compile layer.tsr --db a.db -o a.tsm
"$TESSERA" compile layer.tsr --db a.db -o b.tsm 2>out || fail "compile with a database"
cmp a.tsm b.tsm || fail "the same inputs gave two modules"
expect 0 '0 of 1 kernels have a measured schedule in a.db' "$TESSERA" compile sums.tsr --db a.db -o s.tsm
expect 0 '^y' "$TESSERA" run a.tsm

# Going on measures nothing twice.
before=$(rows a.db)
"$TESSERA" db list --db a.db | sed 's/.*[0-9]  {/{/' | sort -u >known
"$TESSERA" tune layer.tsr --db a.db --trials 9 --resume --quiet --json r.json >out 2>&1 || fail "resume"
[ $((before + $(added r.json))) = "$(rows a.db)" ] || fail "trials and rows differ after going on"
"$TESSERA" db list --db a.db | sed 's/.*[0-9]  {/{/' | sort -u >all
trials=$(sed -n 's/.*; \([0-9]*\) trials in .*/\1/p' out)
[ $(($(wc -l <all) - $(wc -l <known))) = "$trials" ] || fail "a schedule that was known was measured again"

# Progress: plain lines where there is no terminal, none with --quiet; each model can be left out.
"$TESSERA" tune sums.tsr --db b.db --trials 3 --no-learned >out 2>lines || fail "tune of a sum"
grep -q '^tune: .* trials' lines || fail "no progress"
! grep -q 'with correction' out || fail "a correction although it was off"
"$TESSERA" tune sums.tsr --db b.db --trials 2 --no-analytic --quiet >out 2>lines || fail "tune without a model"
[ ! -s lines ] || fail "progress although it was to be quiet"
! grep -q 'analytic model' out || fail "an analytic model although it was off"

# Where nothing can run, nothing is measured.
expect 0 'predicted, this machine cannot run them' "$TESSERA" tune layer.tsr --db c.db --target cuda:sm_80 --trials 2 --quiet
expect 0 '^predicted  [12]' "$TESSERA" db stats --db c.db
clean c.db

# An interrupt ends it in order.
"$TESSERA" tune layer.tsr --db i.db --time 60 --quiet --seed 3 --json i.json >out 2>&1 &
tuner=$!
i=0
until [ -s i.db ] || [ $i -eq 300 ]; do
  i=$((i + 1))
  sleep 0.1
done
sleep 1
kill -INT $tuner
wait $tuner || fail "status $? after an interrupt"
[ "$(added i.json)" = "$(rows i.db)" ] || fail "trials and rows differ after an interrupt"
clean i.db

# Killed at any moment: what was there stays, and no process is left over.
: >moments
seed=$$
killed=killed-$$.db # a name that no other run of this test has
i=0
while [ $i -lt $kills ]; do
  before=$([ -e $killed ] && rows $killed || echo 0)
  "$TESSERA" tune layer.tsr --db $killed --time 60 --resume --quiet --seed $i >/dev/null 2>&1 &
  tuner=$!
  seed=$(((seed * 1103515245 + 12345) % 2147483648))
  sleep "$((seed / 65536 % 2)).$((seed / 1024 % 10))"
  kill -KILL $tuner 2>/dev/null
  wait $tuner 2>/dev/null
  if [ -e $killed ] && "$TESSERA" db stats --db $killed >/dev/null 2>&1; then
    clean $killed
    [ "$(rows $killed)" -ge "$before" ] || fail "a kill lost rows that were there before"
  elif [ "$before" -gt 0 ]; then
    fail "the database does not open after a kill"
  fi
  i=$((i + 1))
done
expect 0 '; 2 trials in ' "$TESSERA" tune layer.tsr --db $killed --trials 2 --quiet
clean $killed
i=0
while pgrep -f "tune layer.tsr --db $killed" >/dev/null; do
  i=$((i + 1))
  [ $i -lt 50 ] || { fail "processes of a killed tuner are left over"; break; }
  sleep 0.1
done

# Several on one file.
i=0
pids=
while [ $i -lt $tuners ]; do
  "$TESSERA" tune layer.tsr --db m.db --trials 6 --quiet --seed $i --json m.$i >out.$i 2>&1 &
  pids="$pids $!"
  i=$((i + 1))
done
sum=0
i=0
for pid in $pids; do
  wait "$pid" || fail "one of several tuners ended with status $?: $(cat out.$i)"
  [ -e m.$i ] && sum=$((sum + $(added m.$i)))
  ! grep -i locked out.$i || fail "a tuner met a lock"
  i=$((i + 1))
done
[ "$sum" = "$(rows m.db)" ] || fail "$tuners tuners added $sum rows, $(rows m.db) are there"
clean m.db

# A full disk, here a limit on the size of files: an error with the file's name, and what was there stays.
cp a.db f.db
before=$(rows f.db)
(
  ulimit -f 40
  exec "$TESSERA" tune layer.tsr --db f.db --trials 200 --quiet
) >out 2>&1
got=$?
[ $got = 1 ] || fail "status $got on a full disk"
grep -q '^error: f.db: ' out || fail "no error about the file on a full disk"
[ "$(rows f.db)" -ge "$before" ] || fail "a full disk lost rows"
clean f.db
exit $failed
