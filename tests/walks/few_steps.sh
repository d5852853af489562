#!/bin/bash
# Before the start: how many outer steps there will be, a warning under 20, and budgets that end on a whole one.
set -eu
fail() { echo "few_steps.sh: $1" >&2; exit 1; }

run="train optimizer=entropy_sgd dataset.train_size=200 batch_size=32 train.bn_batches=2 hardware.threads=1"
deeprelax $run epochs=4 >few.log || fail "status $?"
grep -q '= 25 gradient evaluations of 32 images, 1 outer step$' few.log || fail "the outer steps are not said"
grep -q '^epochs=4 is only 1 outer step of 20 .* epochs=64 makes 20 whole ones, epochs=6.4 makes 2;' few.log ||
    fail "no warning: $(cat few.log)"
deeprelax $run epochs=6.4 >whole.log || fail "status $?"
grep -q '= 40 gradient evaluations of 32 images, 2 outer steps$' whole.log || fail "epochs=6.4 is not two outer steps"
tail -n 1 whole.log | grep -q '^test error .*  40 gradient evaluations ' || fail "last line: $(tail -n 1 whole.log)"
