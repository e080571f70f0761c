#!/bin/sh
# Models that the host runs: a loop, lists, optionals and strings through compile, run, inspect and bench, and what must be refused.
. "$(dirname "$0")/expect.sh"

# npy FILE DESCR SHAPE BYTES: an .npy file with a header of 118 bytes.
npy() {
  {
    printf '\223NUMPY\001\000\166\000'
    printf "%-117s\\n" "{'descr': '$2', 'fortran_order': False, 'shape': $3, }"
    printf '%b' "$4"
  } >"$1"
}
one='\0000\0000\0200\0077'
two='\0000\0000\0000\0100'
npy one.npy '<f4' '(1,)' "$one"
npy two.npy '<f4' '(1,)' "$two"
npy pair.npy '<f4' '(2,)' "$one$two"
npy 'a,b.npy' '<f4' '(1,)' "$two"
npy square.npy '<f4' '(1, 1)' "$one"
npy words.npy '<U2' '(3,)' 'a\0000\0000\0000b\0000\0000\0000\0344\0000\0000\0000\0000\0000\0000\0000\0000\0000\0000\0000\0000\0000\0000\0000'
npy zero.npy '<i8' '()' '\0000\0000\0000\0000\0000\0000\0000\0000'

# --- a loop whose carried tensor grows ---
cat >loop.tsr <<'MODEL'
dim N in 1..64
dim S in 0..1000
dim T in 0..1000

graph @main {
  %x = input {name = "x"} : f32[N]
  %turns = input {name = "turns"} : f32[T]
  %zero = const {value = 0} : i64[]
  %one = const {value = 1} : i64[]
  %go = const {value = true} : bool[]
  %count, %all = loop carry(%i = %zero, %acc: f32[S] = %x) {limit = T} {
    %next = add %i, %one : i64[]
    %more = concat %acc, %x {axis = 0} : f32[N + S] from "grow"
    yield %go, %next, %more
  } : i64[], f32[S] from "loop"
  output %all {name = "all"}
  output %count {name = "count"}
}
MODEL
"$TESSERA" compile loop.tsr -o loop.tsm >out 2>&1 || fail "compile of a loop"
expect 0 '^all: f32\[6\] min 1 max 2 mean 1\.5$' "$TESSERA" run loop.tsm --input x=pair.npy --input turns=pair.npy
expect 0 '^count: i64\[\] min 2 max 2 mean 2$' "$TESSERA" run loop.tsr --input x=pair.npy --input turns=pair.npy
npy none.npy '<f4' '(0,)' ''
expect 0 '^all: f32\[2\] ' "$TESSERA" run loop.tsm --input x=pair.npy --input turns=none.npy
expect 0 '^dim     S in 0\.\.1000, known during a run$' "$TESSERA" inspect loop.tsm
expect 0 '^step    loop: loop$' "$TESSERA" inspect loop.tsm
expect 0 "^step      call part 0" "$TESSERA" inspect loop.tsm
expect 0 '^part    0: [0-9]+ kernels' "$TESSERA" inspect loop.tsm
expect 0 '^loop.tsm: median ' "$TESSERA" bench loop.tsm --runs 3 --dim T=4 --quiet

# Each part has files of its own, and the texts on standard output say where it begins.
"$TESSERA" compile loop.tsr --emit model --emit tile --emit ll --emit manifest --emit-dir texts >out 2>&1 || fail "--emit-dir"
[ "$(cd texts && echo *)" = "ll.main.0.ll manifest.json model.tsr tile.main.0.tsr" ] || fail "wrong files: $(ls texts)"
expect 0 '^// @main\.0$' "$TESSERA" compile loop.tsr --emit tile
expect 0 '^; @main\.0$' "$TESSERA" compile loop.tsr --emit ll
expect 0 '^// @main\.0$' "$TESSERA" compile loop.tsr --target cuda:sm_80 --emit cu
expect 0 '"function": ' "$TESSERA" compile loop.tsr --target cuda:sm_80 --emit manifest
expect 0 'call %i, %acc, %x' "$TESSERA" compile loop.tsr --emit model
grep -q '"op": "loop", .*"limit": "T"' texts/manifest.json || fail "no loop in the manifest"
grep -q '"kind": "tensor", "dtype": "f32", "dims": \["S"\], "binds": \["S"\]' texts/manifest.json || fail "S is bound nowhere"
grep -q '"name": "main.0"' texts/manifest.json || fail "no part in the manifest"

# --- lists, an optional, strings ---
cat >lists.tsr <<'MODEL'
dim K in 0..100

graph @main {texts = ["", "!"]} {
  %list = input {name = "list"} : list f32[K]
  %maybe = input {name = "maybe"} : maybe f32[1]
  %words = input {name = "words", text = true} : i64[3]
  %at = input {name = "at"} : i64[]
  %mark = const {value = 1} : i64[]
  %loud = text_concat %words, %mark : i64[3] from "loud"
  %less = list_erase %list, %at : list f32[K]
  %length = list_length %list : i64[]
  %has = maybe_has %maybe : bool[]
  output %less {name = "less"}
  output %length {name = "length"}
  output %maybe {name = "maybe again"}
  output %has {name = "has"}
  output %loud {name = "loud", text = true}
}
MODEL
"$TESSERA" compile lists.tsr -o lists.tsm >out 2>&1 || fail "compile of lists"
expect 0 '^input   list: list of f32\[K\]$' "$TESSERA" inspect lists.tsm
expect 0 '^input   maybe: optional f32\[1\]$' "$TESSERA" inspect lists.tsm
expect 0 '^output  loud: text\[3\]$' "$TESSERA" inspect lists.tsm
given="--input words=words.npy --input at=zero.npy"
"$TESSERA" run lists.tsm $given --input 'list=one.npy,a\,b.npy,pair.npy' --output-dir made >out 2>&1 || fail "run of lists"
grep -q '^maybe again: absent$' out || fail "an absent optional is not said"
[ "$(cd made && echo *)" = "has.npy length.npy less.0.npy less.1.npy loud.npy" ] || fail "wrong files: $(ls made)"
expect 0 '^all: f32\[2\] min 2 max 2 ' "$TESSERA" run loop.tsm --input x=made/less.0.npy --input turns=one.npy
expect 0 '^loud: text\[3\] "ab!!", "ä!!", "!!"$' "$TESSERA" run lists.tsm --input words=made/loud.npy --input at=zero.npy --input list=one.npy
expect 0 '^length: i64\[\] min 2 max 2 ' "$TESSERA" run lists.tsm $given --input list=one.npy,two.npy --input maybe=one.npy
expect 0 '^maybe again: f32\[1\] min 1 ' "$TESSERA" run lists.tsm $given --input list=one.npy --input maybe=one.npy
expect 0 '^maybe again: absent$' "$TESSERA" run lists.tsm $given --input list=one.npy --input maybe=
expect 0 '^less: list of 2$' "$TESSERA" run lists.tsm --dim K=2 --input at=zero.npy
expect 0 '^lists.tsm: median ' "$TESSERA" bench lists.tsm --runs 3 --quiet --input at=zero.npy

expect 1 '^error: lists.tsm: .*list.*position' "$TESSERA" run lists.tsm $given --input list=
expect 1 "^error: lists.tsm: input 'words' takes strings, not numbers" "$TESSERA" run lists.tsm --input words=zero.npy
expect 1 "^error: one.npy: .*i64" "$TESSERA" run lists.tsm --input words=one.npy
expect 1 "^error: lists.tsm: input 'at' takes numbers, not strings" "$TESSERA" run lists.tsm --input at=words.npy
expect 1 "^error: absent.npy: " "$TESSERA" run lists.tsm --input list=one.npy,absent.npy
expect 1 "^error: words.npy: .*f32" "$TESSERA" run lists.tsm --input list=one.npy,words.npy
expect 1 "^error: lists.tsm: .*'list'.* rank " "$TESSERA" run lists.tsm $given --input list=one.npy,square.npy
expect 1 "^error: lists.tsm: .*'maybe'" "$TESSERA" run lists.tsm $given --input list=one.npy --input maybe=pair.npy
expect 2 "^error: --input at= names no file; only a list can be empty" "$TESSERA" run lists.tsm --input at=
expect 1 "^error: one.npy,two.npy: " "$TESSERA" run loop.tsm --input x=one.npy,two.npy

cat >ranks.tsr <<'MODEL'
graph @main {
  %list = input {name = "list"} : list f32[..]
  %length = list_length %list : i64[]
  output %length {name = "length"}
  output %list {name = "list again"}
}
MODEL
expect 0 '^list again\.1: f32\[1, 1\] min 1 ' "$TESSERA" run ranks.tsr --input list=pair.npy,square.npy
expect 0 '^length: i64\[\] min 0 ' "$TESSERA" run ranks.tsr --input list=
expect 1 "^error: input 'list' is a list of tensors of any rank: give it by --input" "$TESSERA" bench ranks.tsr

# Files of a list and of other outputs do not overwrite each other.
cat >clash.tsr <<'MODEL'
graph @main {
  %list = input {name = "list"} : list f32[1]
  %x = input {name = "x"} : f32[1]
  output %list {name = "y"}
  output %x {name = "y.1"}
  output %x {name = "y/1"}
  output %list {name = "y"}
}
MODEL
"$TESSERA" run clash.tsr --input list=one.npy,two.npy --input x=one.npy --output-dir clash >out 2>&1 || fail "run with clashing names"
printf '%s\n' y.0.npy y.1.npy y.1.1.npy y_1.npy y_3.0.npy y_3.1.npy | sort >wanted
ls clash | sort | cmp -s - wanted || fail "wrong files: $(ls clash)"
exit $failed
