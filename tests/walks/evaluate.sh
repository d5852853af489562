#!/usr/bin/env bash
# Evaluate a run whose folder of pictures has moved, and on another test set.
set -eu

fail() { echo "evaluate: $*" >&2; exit 1; }

python - <<'PY'
import numpy as np
from pathlib import Path
from PIL import Image
random = np.random.default_rng(0)
for folder, count in (("mine/train", 12), ("mine/test", 4), ("later", 3)):
    for name, level in (("dark", 60), ("light", 190)):
        (Path(folder) / name).mkdir(parents=True)
        for i in range(count):
            pixels = random.normal(level, 20, (8, 8)).clip(0, 255).astype("uint8")
            Image.fromarray(pixels).save(Path(folder) / name / f"{i}.png")
PY
deeprelax train dataset=image_folder dataset.path=mine model=mlp model.hidden=32 model.dropout=0 \
  optimizer=sgd optimizer.lr=0.03 batch_size=4 epochs=4 hardware.threads=1 >out 2>err || fail "train ended with $?: $(cat err)"
run=$(echo outputs/train/*/seed-0)
mv mine moved

deeprelax evaluate "$run" >out 2>err && fail "images that have gone were evaluated"
[ "$(wc -l <err)" = 1 ] || fail "no sentence for a folder that has gone: $(cat err)"
deeprelax evaluate "$run" dataset.path=moved >out || fail "evaluate of the moved folder ended with $?"
[ "$(tail -n 1 out)" = "as in result.json" ] || fail "other numbers than before: $(cat out)"
deeprelax evaluate "$run" dataset.path=later >out || fail "evaluate of another test set ended with $?"
[ "$(tail -n 1 out)" = "(6 images of later, which are not those of the run)" ] || fail "another last line: $(cat out)"
grep -qx 'test_error 0 %' out || fail "dark and light are not told apart: $(cat out)"

deeprelax evaluate "$run" optimizer.lr=3 >out 2>err && fail "a key of training was taken"
grep -q '^deeprelax: optimizer.lr cannot be set here: evaluate takes data_dir, dataset.path,' err || fail "$(cat err)"
