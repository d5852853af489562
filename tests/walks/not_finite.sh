#!/bin/bash
# A run that diverges ends with status 1 and one sentence, which names what can be the cause and not what cannot.
set -eu
fail() { echo "not_finite.sh: $1" >&2; exit 1; }

status=0
deeprelax train optimizer=entropy_sgd optimizer.inner_lr=1e6 dataset.train_size=200 batch_size=32 epochs=6 \
    hardware.threads=1 >out.log 2>err.log || status=$?
[ $status = 1 ] || fail "status $status"
[ "$(wc -l <err.log)" = 1 ] || fail "not one sentence: $(cat err.log)"
grep -q 'not finite .*; lower optimizer.inner_lr=1e+06 .*; deeprelax find-lr with the same keys' err.log ||
    fail "$(cat err.log)"
if grep -q 'temperature' err.log; then fail "a temperature of 1e-8 is named: $(cat err.log)"; fi
