#!/usr/bin/env bash
# Export a run's network, and use what was written without this package.
set -eu

fail() { echo "export: $*" >&2; exit 1; }

deeprelax train epochs=1 optimizer=sgd model=mlp hardware.threads=1 >out 2>err || fail "train ended with $?: $(cat err)"
run=$(echo outputs/train/*/seed-0)
deeprelax export "$run" net.pt2 >out || fail "export ended with $?"
[ "$(tail -n 1 out | cut -d ';' -f 1)" = "net.pt2: uint8 (N, 1, 28, 28) to probabilities (N, 10)" ] || fail "$(cat out)"
python - <<'PY' || fail "what was written cannot be used"
import torch
module = torch.export.load("net.pt2").module()
for n in (1, 7):
    found = module(torch.zeros(n, 1, 28, 28, dtype=torch.uint8))
    assert found.shape == (n, 10) and torch.allclose(found.sum(1), torch.ones(n)), found
PY
python - "$run" <<'PY' || fail "load_model returns something else"
import sys, torch, deeprelax
model, images = deeprelax.load_model(sys.argv[1]), torch.randint(256, (7, 1, 28, 28), dtype=torch.uint8)
assert torch.allclose(torch.export.load("net.pt2").module()(images), model(images), atol=1e-6)
PY

deeprelax export "$run" net.txt >out 2>err && fail "another ending was taken"
[ "$(cat err)" = "deeprelax: net.txt ends in neither .pt2 (torch.export) nor .onnx: give a name that does" ] \
  || fail "$(cat err)"
