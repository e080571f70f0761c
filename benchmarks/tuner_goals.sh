#!/bin/sh
# Usage: benchmarks/tuner_goals.sh [PART...] [OPTION...]
# What is promised of the tuner, measured and held to its limits. Without a PART all of them:
#
#   regret      how well the analytic model alone ranks, over the forty products of contractions.txt on one thread: mean top-1
#               regret under 15 %, mean top-10 regret under 5 %
#   bert        BERT-base on two threads from an empty database: `tune` is done in 5 minutes, and its module within 10 % of
#               one from a longer search, both timed in turns (5 minutes, and the longer search)
#   resnet      the same of ResNet-50, in 10 minutes
#   compile     BERT-base compiled from the database that `bert` left (else from one of a minute's tuning): each time in less
#               than 5 s, twice the same bytes
#   correction  the learned correction on and off: a layer of BERT tuned with the same trials, the modules timed in turns;
#               then, on the rows that `regret` left of each shape, rank correlation and regret of the analytic model and of
#               the one corrected by what the other shapes' rows teach; figures without a limit
#
#   --long SECONDS    length of the longer searches; 3600. A search ends by itself when nothing is expected to gain: a longer
#                     one is followed by others with other seeds that go on from its database until the time is over
#   --trials N        of `regret`, of each of its two searches per shape; 24. Of `correction`: 20 times as many
#   --only REGEX      of `regret`, shapes whose names match (figures of a part of the shapes are held to nothing)
#   --threads N       of `regret`; 1
#   --keep            go on with the databases of the last run, where they are there, in place of empty ones
#
# The sample of `regret`: two searches measure a shape's candidates into one database, in turns with an incumbent. The first
# is told by the analytic model alone where to look: the default, the model's best candidates (of 384 random ones and their
# descendants) and a tenth at random. The second knows nothing of the model: it starts from random legal candidates and goes
# on from those that were measured to be fast. The model's regret is that of its first one and of its first ten of all of
# them, against the fastest of all, as `tessera tune` prints it; so both searches have to find something fast for the figure
# to say much. Times are those that rank rows in the database.
#
# Writes benchmarks/results/tuner_goals.json, with --only build/tuner_goals/partial.json; parts that were not run keep the
# figures that the file has of them. Status 1: a limit was missed, or something failed. Nothing else should run meanwhile.
# PYTHON and TESSERA_BUILD as in cpu_peers.sh.
set -eu
case " $* " in *" -h "* | *" --help "*) sed -n '2,/^set/s/^# \{0,1\}//p' "$0"; exit 0 ;; esac
cd "$(dirname "$0")/.."
work=$PWD/build/tuner_goals
results=$PWD/benchmarks/results/tuner_goals.json
for word in "$@"; do
  case $word in --only | --only=*) results=$work/partial.json ;; esac
done
mkdir -p "$work" benchmarks/results

tests/setup.sh python3 python3-pip python3-venv
if [ -z "${PYTHON:-}" ]; then
  PYTHON=$work/venv/bin/python
  if [ ! -f "$work/venv/complete" ]; then
    python3 -m venv "$work/venv"
    "$PYTHON" -m pip install -q --disable-pip-version-check numpy==2.4.6 onnx==1.23.2
    touch "$work/venv/complete"
  fi
fi
if [ -z "${TESSERA_BUILD:-}" ]; then
  TESSERA_BUILD=build/release
  if ! { cmake --preset release && cmake --build $TESSERA_BUILD -t tessera cpu_time bert_onnx; } >build/tuner_goals.log 2>&1; then
    grep -vE "^\[[0-9]+/[0-9]+\] (Building|Linking)" build/tuner_goals.log | tail -n 40
    echo "error: the build failed; all of its output is in build/tuner_goals.log" >&2
    exit 1
  fi
fi
cp "$TESSERA_BUILD/benchmarks/bert_onnx" "$work/"
exec "$PYTHON" -B benchmarks/tuner_goals.py "$TESSERA_BUILD" "$work" "$results" "$@"
