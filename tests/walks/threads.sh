#!/bin/bash
# OMP_NUM_THREADS is respected where hardware.threads is null, and recorded.
set -eu
run="train experiment=smoke optimizer=sgd epochs=1 hardware.device=cpu"
fail() { echo "threads.sh: $1" >&2; exit 1; }

OMP_NUM_THREADS=1 deeprelax $run output_dir=one >one.log || fail "status $? with OMP_NUM_THREADS=1"
grep -q '"threads": 1,' one/smoke/*/seed-0/provenance.json || fail "provenance.json has another number than 1"
OMP_NUM_THREADS=1 deeprelax $run hardware.threads=2 output_dir=two >two.log || fail "status $? with hardware.threads=2"
grep -q '"threads": 2,' two/smoke/*/seed-0/result.json || fail "hardware.threads=2 does not go before OMP_NUM_THREADS"
tail -n 1 two.log | grep -q '^test error .* two/smoke/' || fail "unexpected last line: $(tail -n 1 two.log)"
