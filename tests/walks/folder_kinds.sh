#!/bin/bash
# A folder with train/ and test/: kinds that are taken, kinds that are not, hidden names, EXIF, a class without a test.
set -eu
fail() { echo "$0: $1" >&2; exit 1; }
python - <<'PYTHON'
import numpy as np
from pathlib import Path
from PIL import Image

rng = np.random.default_rng(0)
for part, count in (("train", 12), ("test", 6)):
    for name in ("lying", "standing", "rare")[: 3 if part == "train" else 2]:
        folder = Path("photos", part, name)
        folder.mkdir(parents=True)
        for i in range(count):
            pixels = rng.integers(0, 100, (24, 24, 3), dtype=np.uint8)
            if name == "lying":
                pixels[::4] += 100
            if name == "standing":
                pixels[:, ::4] += 100
            Image.fromarray(pixels).save(folder / f"{i}.{('jpg', 'png', 'webp', 'bmp', 'tif', 'tiff')[i % 6]}")
Image.fromarray(pixels).save("photos/train/rare/a.gif")
Path("photos/train/.thumbs").mkdir()
Path("photos/train/rare/.DS_Store").write_text("")
PYTHON
run=(deeprelax train dataset=image_folder dataset.path=photos dataset.image_size=28 optimizer=sgd epochs=2 batch_size=6
    optimizer.lr=0.01 hardware.threads=1 data_dir=cache)
"${run[@]}" > out 2> err || fail "the run ended with $?: $(cat err)"
grep -q "photos/train: 1 .gif not taken, as rare/a.gif; taken are .jpg, .jpeg, .png, .webp, " out || fail "no word of .gif"
grep -qx "there are no test images of rare" out || fail "the class without test images is not named"
grep -q "decoding 48 images of " out || fail "not 48 images"
[[ $(tail -n 1 out) == "test error "*" gradient evaluations "* ]] || fail "last line: $(tail -n 1 out)"

mkdir photos/test/extra
cp photos/test/lying/1.png photos/test/extra
status=0; "${run[@]}" seed=1 > out 2> err || status=$?
[[ $status == 1 ]] || fail "status $status for a class that only the test set has"
[[ $(cat err) == "deeprelax: "*"/photos/test/extra is a class that "*"/photos/train lacks: remove it or add training images" ]] ||
    fail "message: $(cat err)"
rm -r photos/test/extra
head -c 300 photos/train/rare/2.webp > photos/train/rare/cut.webp
status=0; "${run[@]}" seed=1 > out 2> err || status=$?
[[ $status == 1 && $(cat err) == "deeprelax: "*"/photos/train/rare/cut.webp is not a whole image ("*"): replace or remove it" ]] ||
    fail "status $status, message: $(cat err)"
