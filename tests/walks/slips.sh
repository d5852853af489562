#!/usr/bin/env bash
# The commonest slips: one sentence, exit status 1, no traceback, nothing started.
set -eu

slip() {  # what the message must have, then the arguments
    local expected=$1 said status=0
    shift
    said=$(deeprelax "$@" 2>&1) || status=$?
    if [ "$status" != 1 ] || [[ $said != "deeprelax: "*"$expected"* ]] || [[ $said == *Traceback* ]]; then
        echo "deeprelax $*: status $status, $said" >&2
        exit 1
    fi
}

slip "(did you mean optimizer.lr=0.1?)" train lr=0.1
slip "write epochs=5" train --epochs 5
slip "add -m" train optimizer=sgd,heat
slip "write optimizer=sgd,heat" train -m optimizer=sgd, heat
slip "write +sweep=paper_mnist" train sweep=paper_mnist
slip "the keys of optimizer=sgd are" train -m optimizer=heat,sgd optimizer.sigma=0.1
if [ -n "$(find . -type f)" ]; then
    echo "a slip has left files: $(find . -type f)" >&2
    exit 1
fi
deeprelax train optimizer.gamma=.inf --cfg job | grep -q "gamma: .inf"

cat > nets.py <<'PYTHON'
def net(channels, image_size, classes):
    raise KeyError("mine")
PYTHON
said=$(deeprelax train model=custom model.name=nets:net hardware.device=cpu hardware.threads=1 2>&1 >/dev/null) && exit 1
[[ $said == Traceback*"File \"$PWD/nets.py\", line 2, in net"*"KeyError: 'mine'" ]] || { echo "$said" >&2; exit 1; }
[[ $said != *deeprelax/runs* ]] || { echo "frames of ours: $said" >&2; exit 1; }
