#!/usr/bin/env bash
# Runs that differ by one of 360 test images in each seed: no interval of rounding, and a note.
set -eu

fail() { echo "compare_alike: $*" >&2; exit 1; }

run() { # OPTIMIZER SEED WRONG
  mkdir -p "runs/$1/seed-$2"
  cd "runs/$1/seed-$2"
  printf 'seed: %s\ndataset: {name: digits}\nmodel: {name: lenet}\noptimizer: {name: %s}\n' "$2" "$1" >config.yaml
  echo '{"metrics": {"error": {"unit": "%", "decimals": 2, "share_of": "images"}}}' >provenance.json
  python - "$3" >result.json <<'PYTHON'
import json, sys
error = 100 * int(sys.argv[1]) / 360
print(json.dumps(dict(test_error=error, test_images=360, epochs=5, batch_size=10, budget=100,
                      gradient_evaluations=100, seconds=1)))
PYTHON
  cd - >/dev/null
}

run sgd 0 17; run sgd 1 23; run heat 0 16; run heat 1 22; run hj 0 14; run hj 1 18

deeprelax compare runs >out || fail "compare ended with $?"
grep -q -- '-0\.28 (all pairs alike)' out || fail "heat is not one image better in all pairs: $(cat out)"
grep -qF '! heat: its difference is under two test images (one is 0.28 %)' out || fail "no note on heat: $(cat out)"
grep -q 'hj.*under two' out && fail "a note on hj, which is three images better"
grep -q -- '-1\.11 \[-4\.64, +2\.42\]' out || fail "hj has not the interval of Student's t: $(cat out)"
[ "$(tail -n 1 out)" = "Written to runs/compare: table.md, table.csv, table.json, curves.png, curves.pdf" ] \
  || fail "another last line: $(tail -n 1 out)"
