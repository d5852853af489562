#!/usr/bin/env bash
# Three gammas in three names that can be read, labels, and a directory that an earlier version named.
set -eu

fail() { echo "run_names: $*" >&2; exit 1; }
quick="experiment=smoke epochs=1 hardware.threads=1"

deeprelax train -m $quick optimizer=hj optimizer.gamma=0.1,0.2,0.3 name='the paper' tags=[paper] >out 2>err \
  || fail "the sweep ended with $?: $(cat err)"
for gamma in 0.1 0.2 0.3; do
  [ -f "outputs/smoke/optimizer-hj+optimizer.gamma-$gamma+epochs-1/seed-0/result.json" ] \
    || fail "gamma=$gamma is not in a name: $(find outputs -name result.json)"
done
deeprelax train $quick optimizer=sgd schedule=step schedule.milestones=[0.5] >out 2>err || fail "train ended with $?: $(cat err)"

deeprelax runs >out || fail "runs ended with $?"
[ "$(grep -c '^  *optimizer=hj' out)" = 0 ] || fail "what was given stands below a name that is whole: $(cat out)"
tail -n 1 out | grep -q '^  *optimizer=sgd schedule=step schedule.milestones=\[0.5\] epochs=1$' \
  || fail "a name that is cut is not shown whole: $(cat out)"
[ "$(deeprelax runs --tag paper | grep -c '^finished .* the paper  paper  outputs')" = 3 ] || fail "not three with the tag"
deeprelax compare outputs --tag paper >out || fail "compare --tag ended with $?"
[ "$(grep -c '^  gamma=0' out)" = 3 ] || fail "compare --tag has not three groups: $(cat out)"
deeprelax runs --tag papre >out 2>err && fail "an unknown tag was taken"
[ "$(cat err)" = "deeprelax: --tag papre: no run has it (did you mean paper?): there are paper" ] || fail "$(cat err)"

mv outputs/smoke/optimizer-hj+optimizer.gamma-0.1+epochs-1 \
  outputs/smoke/epochs-1+optimizer-hj+optimizer.gamma-0.1
deeprelax train $quick optimizer=hj optimizer.gamma=0.1 >out 2>err || fail "train ended with $?: $(cat err)"
grep -q '^finished before: .*outputs/smoke/epochs-1+optimizer-hj+optimizer.gamma-0.1/seed-0$' out \
  || fail "the run of an earlier version was not found: $(cat out)"
