#!/usr/bin/env bash
# A mean of x, the best weights and patience: what a run says of them, and the commands that take weights.
set -eu
fail() { echo "average.sh: $*" >&2; exit 1; }

run="train optimizer=sgd dataset.train_size=200 dataset.validation=50 batch_size=32 train.bn_batches=2 train.evaluate_every=1"
deeprelax $run epochs=4 hardware.threads=1 train.average=lawa train.average_last=2 train.keep=best output_dir=a >out ||
    fail "status $?"
grep -q '^pass 2.08/4  test loss .*  test error .* % (average .* %)  validation error .* % (average .* %)$' out ||
    fail "the mean has no score: $(cat out)"
grep -q '^weights=average: test error .* %$' out || fail "no line of the mean at the end: $(cat out)"
grep -q '^weights=best: test error .* % (pass .*)$' out || fail "no line of the best at the end: $(cat out)"
here=$(echo a/train/*/seed-0)
[ -f "$here/best.pt" ] || fail "the best weights are nowhere"
for kind in last best average; do
    deeprelax evaluate "$here" weights=$kind >"$kind" || fail "evaluate weights=$kind ended with $?"
    tail -n 2 "$kind" | head -n 1 | grep -q "^(weights=$kind, after [0-9]* gradient evaluations)$" || fail "$(cat $kind)"
    [ "$(tail -n 1 "$kind")" = "as in result.json" ] || fail "other numbers than in the run: $(cat $kind)"
done
deeprelax export "$here" net.pt2 weights=best | grep -q '(weights=best, after ' || fail "export says no weights"
python - "$here" <<'PY' || fail "load_model takes no weights"
import sys, deeprelax
assert deeprelax.load_model(sys.argv[1], weights="average").of.startswith("weights=average, after ")
PY
deeprelax compare a --metric test_error_average >out || fail "compare ended with $?"
grep -q 'test error average (%)' out || fail "no table of means: $(cat out)"

deeprelax $run epochs=40 hardware.threads=1 optimizer.lr=1e-12 train.patience=2 output_dir=b >out || fail "status $?"
grep -q '^validation error no better than at pass 1.12: the run ends here (train.patience=2)$' out || fail "$(cat out)"
tail -n 2 out | head -n 1 | grep -q '  19 gradient evaluations (stopped early)  ' || fail "last lines: $(cat out)"
there=$(echo b/train/*/seed-0)
deeprelax $run epochs=40 hardware.threads=1 optimizer.lr=1e-12 train.patience=2 output_dir=b | grep -q '^finished before' ||
    fail "a run that stopped early is trained again"
deeprelax evaluate "$there" weights=best >out 2>err && fail "weights that were not kept were evaluated"
[ "$(wc -l <err)" = 1 ] || fail "no sentence: $(cat err)"
deeprelax train optimizer=sgd train.patience=2 epochs=1 hardware.threads=1 output_dir=c >out 2>err &&
    fail "patience without validation data was taken"
grep -q '^deeprelax: train.patience=2 goes by the score on validation data, and this run has none: ' err || fail "$(cat err)"
