#!/usr/bin/env bash
# Transfer learning on pictures: weights of a file, a frozen part, a rate of its own for the head.
set -eu
fail() { echo "transfer.sh: $1" >&2; exit 1; }

python - <<'PYTHON'
from pathlib import Path
import numpy as np
import torch, torchvision
from PIL import Image

random = np.random.default_rng(0)
for split, count in (("train", 12), ("test", 6)):
    for shade, name in ((60, "dark"), (180, "light")):
        folder = Path("pictures", split, name)
        folder.mkdir(parents=True)
        for i in range(count):
            Image.fromarray(random.integers(shade, shade + 50, (32, 32, 3), dtype=np.uint8)).save(folder / f"{i}.png")
torch.save(torchvision.models.get_model("shufflenet_v2_x0_5", weights=None).state_dict(), "weights.pth")
PYTHON

train() {
    deeprelax train dataset=image_folder dataset.path=pictures data_dir=cache optimizer=sgd epochs=2 batch_size=8 \
        hardware.threads=1 model=torchvision model.architecture=shufflenet_v2_x0_5 model.weights=weights.pth "$@"
}
train 'model.freeze=[conv1.*,stage?.*]' 'optimizer.groups=[{match: "fc.*", lr: 0.01}]' > out || fail "a transfer did not train"
grep -q "parameters of fc.\*: lr=0.01" out || fail "the group is not told of"
tail -n 1 out | grep -q "^test error" || fail "the last line is no result"
run=$(dirname outputs/train/*/seed-0/result.json)
rm weights.pth
[ "$(deeprelax evaluate "$run" | tail -n 1)" = "as in result.json" ] || fail "evaluate needs the weights file"
deeprelax predict "$run" pictures/test > predicted || fail "predict needs the weights file"
status=0; train 2> error || status=$?
[ $status = 1 ] || fail "a missing file of weights ended with $status"
tail -n 1 error | grep -q "model.weights=weights.pth is not there" || fail "the missing file is not named"
status=0; train model.weights=null 'model.freeze=[head.*]' 2> error || status=$?
[ $status = 1 ] && grep -q "model.freeze: head.\* matches no parameter" error || fail "a pattern without a match passed"
