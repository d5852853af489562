#!/bin/bash
# find-lr suggests a rate in its last line, draws, and leaves no run; what makes no sense is refused with status 1.
set -eu
fail() { echo "find_lr.sh: $1" >&2; exit 1; }

deeprelax find-lr optimizer=sgd dataset.train_size=200 batch_size=32 hardware.threads=1 --steps 40 >found.log ||
    fail "status $?"
tail -n 1 found.log | grep -Eq '^suggested optimizer.lr=0.0[0-9]+  [0-9]+ gradient evaluations  [0-9.]+ s  outputs/find_lr/' ||
    fail "last line: $(tail -n 1 found.log)"
[ -s outputs/find_lr/*/seed-0/find_lr.png ] || fail "no figure"
[ -s outputs/find_lr/*/seed-0/find_lr.json ] || fail "no find_lr.json"
[ "$(deeprelax runs)" = "no runs under outputs" ] || fail "it left a run"

status=0
deeprelax find-lr optimizer=lbfgs 2>err.log || status=$?
[ $status = 1 ] || fail "optimizer=lbfgs: status $status"
grep -q '^deeprelax: optimizer=lbfgs finds the length of each step by a line search' err.log || fail "$(cat err.log)"
