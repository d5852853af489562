#!/usr/bin/env bash
# Input that is refused leaves no run; failed runs and decoded images are deleted after a yes.
set -eu

fail() { echo "refused_and_clean: $*" >&2; exit 1; }
quick="experiment=smoke epochs=1 hardware.threads=1"
export DEEPRELAX_DATA=$PWD/data

for given in "dataset=image_folder dataset.path=nowhere" "init_from=nowhere"; do
  deeprelax train $quick $given >out 2>err && fail "$given was taken"
  [ "$(wc -l <err)" = 1 ] || fail "more than a sentence on $given: $(cat err)"
  [ -z "$(find outputs -mindepth 1)" ] || fail "$given left $(find outputs -mindepth 1)"
done

# What a version left that did not clean up: a run that failed, and one that can resume
for seed in 0 1; do
  run=outputs/smoke/old/seed-$seed
  mkdir -p $run
  printf 'seed: %s\ndataset: {name: digits}\nmodel: {name: lenet}\noptimizer: {name: sgd}\n' $seed >$run/config.yaml
  echo '2026-01-02 03:04:05,678 ERROR nowhere is not a folder' >$run/train.log
done
touch outputs/smoke/old/seed-1/checkpoint.pt
deeprelax runs --clean failed </dev/null >out 2>err && fail "deleted without an answer"
[ "$(cat err)" = "deeprelax: nothing is deleted, for there is no answer to be read: --yes deletes without asking" ] \
  || fail "another message: $(cat err)"
echo n | deeprelax runs --clean failed >out || fail "a no ended with $?"
tail -n 1 out | grep -q 'Delete 1 failed run? \[y/N\] nothing is deleted' || fail "after a no: $(tail -n 1 out)"
echo y | deeprelax runs --clean failed >out || fail "a yes ended with $?"
tail -n 1 out | grep -q 'deleted 1 failed run$' || fail "after a yes: $(tail -n 1 out)"
grep -q '^  outputs/smoke/old/seed-1$' out || fail "the one that is kept is not named: $(cat out)"
[ "$(ls outputs/smoke/old)" = seed-1 ] || fail "there is $(ls outputs/smoke/old)"

python - <<'PYTHON'
from pathlib import Path
from PIL import Image
for split, n in (("train", 20), ("test", 8)):
    for i, name in enumerate(("dark", "light")):
        Path("mine", split, name).mkdir(parents=True)
        for k in range(n):
            Image.new("L", (28, 28), 40 + 150 * i + k).save(f"mine/{split}/{name}/{k}.png")
PYTHON
deeprelax train $quick dataset=image_folder dataset.path=mine dataset.train_size=null \
  dataset.validation=0 train.bn_batches=1 batch_size=8 optimizer=sgd >out 2>err || fail "training ended with $?: $(cat err)"
deeprelax data >out
tail -n 1 out | grep -qE "^decoded images: 1 file, 0\.0 MB in $DEEPRELAX_DATA/image_folder \(--clean" || fail "$(tail -n 1 out)"
deeprelax data --clean --yes >out || fail "data --clean ended with $?"
[ "$(tail -n 1 out)" = deleted ] || fail "after data --clean: $(tail -n 1 out)"
[ "$(find "$DEEPRELAX_DATA" -name '*.pt' | wc -l)" = 0 ] || fail "there still is $(find "$DEEPRELAX_DATA" -name '*.pt')"
