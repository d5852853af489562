#!/usr/bin/env bash
# Train, type the same again, look at the runs, compare them.
set -eu

fail() { echo "first_run: $*" >&2; exit 1; }
quick="experiment=smoke epochs=1 hardware.threads=1"

deeprelax train -m $quick optimizer=sgd,heat >out 2>err || fail "train ended with $?: $(cat err)"
grep -q '^test error .* gradient evaluations .* s  outputs/smoke/.*/seed-0$' out || fail "no closing line: $(tail -n 3 out)"
deeprelax train $quick optimizer=sgd >out 2>err || fail "the same again ended with $?"
tail -n 1 out | grep -qxF '(force=true starts it again)' || fail "a finished run was not left alone: $(tail -n 3 out)"

deeprelax runs >out || fail "runs ended with $?"
[ "$(grep -c '^finished ' out)" = 2 ] || fail "not two finished runs: $(cat out)"
deeprelax compare outputs/smoke >out || fail "compare ended with $?"
[ "$(tail -n 1 out)" = "Written to outputs/smoke/compare: table.md, table.csv, table.json, curves.png, curves.pdf" ] \
  || fail "another last line: $(tail -n 1 out)"

deeprelax train $quick optimizer=sgdd >out 2>err && fail "a wrong choice was taken"
grep -q '^deeprelax: .*sgdd' err || fail "the wrong choice was not named: $(cat err)"
