#!/bin/sh
# tessera db: texts in and out, merging, pruning, checking, and what is refused.
. "$(dirname "$0")/expect.sh"

# trial FILE MINUTE MR STATUS SAMPLES: a line as 'db export' writes it.
trial() {
  printf '{"trial": {"workload": "00000000000000ab", "workload_version": 1, "dims": "64", "target": "cpu:x86-64-v4", "device": "l1d=32768", "threads": 1, "mode": "warm", "schedule": "{mr = %s}", "status": "%s", "message": "", "samples_ns": [%s], "ceilings": "", "compiler": "llvm 19.1", "driver": "", "source": "1", "commit": "abc", "time_s": %s}}\n' "$3" "$4" "$5" "$2" >>"$1"
}
for file in ours theirs; do
  echo '{"tessera_tuning_database": 2}' >$file.text
  echo '{"workload": {"hash": "00000000000000ab", "version": 1, "text": "graph"}}' >>$file.text
done
trial ours.text 60 6 right "2100, 2000, 2200"
trial ours.text 61 8 right "1500, 1600, 1400"
trial theirs.text 61 8 right "1500, 1600, 1400"
trial theirs.text 62 12 right "1800"
trial theirs.text 63 14 wrong "900"

expect 1 '^error: ours.db: ' "$TESSERA" db stats --db ours.db
expect 0 '^ours.text: 2 new trials' "$TESSERA" db import ours.text --db ours.db
expect 0 '^theirs.text: 3 new trials' "$TESSERA" db import theirs.text --db theirs.db
expect 0 '^theirs.db: 2 new trials' "$TESSERA" db merge theirs.db --db ours.db
expect 0 '^theirs.db: 0 new trials' "$TESSERA" db merge theirs.db --db ours.db
expect 0 '^ours.db: 1 new trials' "$TESSERA" db merge ours.db --db theirs.db
expect 0 '^trials     4 of 1 keys' "$TESSERA" db stats --db ours.db
expect 0 '^wrong      1' "$TESSERA" db stats --db ours.db
expect 0 '00000000000000ab .* 1.50 us  right  1970-01-01  [{]mr = 8[}]' "$TESSERA" db list --db ours.db
expect 0 '^4 trials, all as they were written' "$TESSERA" db check --db ours.db
"$TESSERA" db export --db ours.db -o a.text || fail "export to a file"
"$TESSERA" db export --db theirs.db >b.text || fail "export to standard output"
cmp a.text b.text || fail "merging both ways gives different sets"
sort a.text >a.sorted
sort -u ours.text theirs.text | cmp - a.sorted || fail "the export is not the union of what was imported"
# What a terminal would act on is written out.
cp ours.text escapes.text
sed -i 's/{mr = 6}/{mr = 6\\u001b[2J}/; s/"message": ""/"message": "two\\u000alines'"$(printf '\302\233')"'"/' escapes.text
expect 0 '^escapes.text: 2 new trials' "$TESSERA" db import escapes.text --db escapes.db
expect 0 '[{]mr = 6.x1b.2J[}]  two.x0alines.xc2.x9b$' "$TESSERA" db list --db escapes.db
[ "$(wc -l <out)" -eq 2 ] || fail "a message is more than one line"

expect 0 '^2 trials dropped' "$TESSERA" db prune --keep 2 --db ours.db
expect 0 '^right      2' "$TESSERA" db stats --db ours.db

expect 2 "^error: db knows no 'vacuum'" "$TESSERA" db vacuum --db ours.db
expect 2 '^error: --db FILE is missing' "$TESSERA" db stats
expect 2 '^error: db merge needs a file' "$TESSERA" db merge --db ours.db
expect 2 "^error: db stats takes no file 'x'" "$TESSERA" db stats x --db ours.db
expect 1 '^error: absent.text: ' "$TESSERA" db import absent.text --db ours.db
expect 1 '^error: absent.db: ' "$TESSERA" db merge absent.db --db ours.db
echo "not a database, but some text that goes on for longer than a header of SQLite would, a hundred bytes" >text.db
expect 1 '^error: text.db: ' "$TESSERA" db check --db text.db
expect 1 "^error: text.db:1: no text of a tuning database" "$TESSERA" db import text.db --db ours.db
sed 's/"mr = 8"/"mr = 9"/; s/1500/-1500/' ours.text >negative.text
expect 1 '^error: negative.text:4: ' "$TESSERA" db import negative.text --db ours.db
expect 0 '^right      2' "$TESSERA" db stats --db ours.db
expect 1 '^error: /dev/full: ' "$TESSERA" db export --db ours.db -o /dev/full
exit $failed
