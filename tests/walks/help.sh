#!/usr/bin/env bash
# --help shows what keys mean and may be; of a choice that is given its keys; of one's own choices, too.
set -eu

has() {  # text, what it must have
    [[ $(tr -s ' \n' ' ' <<<"$1") == *"$2"* ]] || { echo "no '$2' in: $1" >&2; exit 1; }
}

all=$(deeprelax train --help)
has "$all" "optimizer.inner_steps=20 L, gradient evaluations of one outer step [an integer >= 1]"
has "$all" "train.checkpoint_seconds=60 seconds between checkpoints at most; null: no limit [a finite number > 0]"

heat=$(deeprelax train optimizer=heat --help)
has "$heat" "optimizer.sigma=0.02 standard deviation of the smoothing"
[[ $heat != *inner_steps* ]] || { echo "keys of another choice: $heat" >&2; exit 1; }

mkdir -p mine/experiment
printf '# @package _global_\n# A try of mine.\nepochs: 3\n' > mine/experiment/tiny.yaml
tiny=$(deeprelax train --config-dir mine experiment=tiny --help)
has "$tiny" "experiment=tiny A try of mine."
has "$tiny" "symbolic_wave, tiny, tokens"
has "$tiny" "epochs=3 passes over the training data"

has "$(deeprelax pde smooth --help)" "Writes the figure, PROBLEM.png and .pdf"
