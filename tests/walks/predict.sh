#!/usr/bin/env bash
# Train on one's own pictures, look at the errors by class, then ask the network about other pictures.
set -eu

fail() { echo "predict: $*" >&2; exit 1; }

python - <<'PY'
import numpy as np
from pathlib import Path
from PIL import Image
random = np.random.default_rng(0)
for folder, count in (("mine/train", 12), ("mine/test", 4), ("later", 2)):
    for name, level in (("dark", 60), ("light", 190)):
        (Path(folder) / name).mkdir(parents=True)
        for i in range(count):
            pixels = random.normal(level, 20, (9, 12, 3)).clip(0, 255).astype("uint8")
            Image.fromarray(pixels).save(Path(folder) / name / f"{i}.png")
PY
deeprelax train dataset=image_folder dataset.path=mine dataset.image_size=8 model=mlp model.hidden=32 model.dropout=0 \
  optimizer=sgd optimizer.lr=0.03 batch_size=4 epochs=4 hardware.threads=1 >out 2>err || fail "train ended with $?: $(cat err)"
[ "$(tail -n 2 out | head -n 1)" = "error by class (confusion.png): mean 0.00 %, largest 0.00 % of class dark" ] \
  || fail "no errors by class: $(tail -n 3 out)"
run=$(echo outputs/train/*/seed-0)
for file in model.json confusion.png; do [ -s "$run/$file" ] || fail "the run has no $file"; done
mv mine gone

deeprelax predict "$run" later/light/1.png later/dark/0.png --top 2 --out two.csv >out || fail "predict ended with $?"
[ "$(tail -n 1 out)" = "2 rows in two.csv" ] || fail "another last line: $(tail -n 1 out)"
[ "$(head -n 1 two.csv)" = "file,class,probability,class_2,probability_2" ] || fail "another heading: $(cat two.csv)"
grep -q '^later/light/1.png,light,' two.csv || fail "light is not light: $(cat two.csv)"
deeprelax predict "$run" later >out || fail "predict of a folder ended with $?"
[ "$(tail -n 2 out)" = "$(printf 'dark      2      0       2  100.00 %%\nlight     0      2       2  100.00 %%')" ] \
  || fail "another confusion matrix: $(cat out)"

deeprelax predict "$run" nowhere.png >out 2>err && fail "a file that is not there was taken"
[ "$(cat err)" = "deeprelax: nowhere.png is not there: give image files, or a folder of them" ] || fail "$(cat err)"
