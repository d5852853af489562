#!/bin/bash
# A folder of class folders is split, the split is written down, and training sees larger pictures augmented.
set -eu
fail() { echo "$0: $1" >&2; exit 1; }
python - <<'PYTHON'
import numpy as np
from pathlib import Path
from PIL import Image

rng = np.random.default_rng(0)
for name, count in (("lying", 40), ("standing", 20)):
    folder = Path("photos", name)
    folder.mkdir(parents=True)
    for i in range(count):
        pixels = rng.integers(0, 100, (36, 48, 3), dtype=np.uint8)
        pixels[(slice(None, None, 4),) if name == "lying" else (slice(None), slice(None, None, 4))] += 100
        Image.fromarray(pixels).save(folder / f"{i}.jpg")
PYTHON
run=(deeprelax train dataset=image_folder dataset.path=photos dataset.image_size=36 optimizer=sgd epochs=3 batch_size=14
    optimizer.lr=0.01 hardware.threads=1 data_dir=cache dataset.augment=resized_crop dataset.mirror=true
    dataset.color_jitter=0.2 dataset.train_size=21 dataset.parts=stratified)
"${run[@]}" > out 2> err || fail "the run ended with $?: $(cat err)"
grep -q "/photos is split into 42 train, 9 validation and 9 test images (dataset.split_seed=0)$" out || fail "$(cat out)"
[[ $(tail -n 1 out) == "test error "*" 4 gradient evaluations "* ]] || fail "last line: $(tail -n 1 out)"
directory=$(tail -n 1 out | sed 's/.*  //')
python - "$directory/split.json" <<'PYTHON' || fail "split.json"
import json, sys
from pathlib import Path

split = json.load(open(sys.argv[1]))
counts = {part: [sum(file.startswith(name) for file in files) for name in ("lying", "standing")] for part, files in split.items()}
assert counts == {"train": [14, 7], "validation": [6, 3], "test": [6, 3]}, counts
files = {file for part in split.values() for file in part}
assert len(files) == 39 and all(Path("photos", file).is_file() for file in files)
PYTHON
[[ $(deeprelax evaluate "$directory" | tail -n 1) == "as in result.json" ]] || fail "evaluate"

refused() {
    status=0; "${run[@]}" "${@:2}" > out 2> err || status=$?
    [[ $status == 1 && $(cat err) == "deeprelax: $1"* ]] || fail "${*:2}: status $status, $(cat err)"
}
refused "dataset.split=[0.5, 0.5] is out of range: it must be three shares that add up to 1, " "dataset.split=[0.5,0.5]"
refused "dataset.validation=4, but there are 9 validation images already: leave it out" dataset.validation=4
refused "dataset.crop_padding does nothing with dataset.augment=resized_crop: take dataset.augment=crop" dataset.crop_padding=4
