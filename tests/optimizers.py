"""The one table of optimizers: whatever must hold for every shipped choice runs over it."""

from __future__ import annotations

# choice on the command line: overrides for short steps with momentum and noise
CHOICES: dict[str, list[str]] = {
    "sgd": [],
    "entropy_sgd": [
        "optimizer.inner_steps=3", "optimizer.temperature=1e-5", "optimizer.momentum=0.5", "optimizer.lr=0.5",
    ],
    "hj": ["optimizer.inner_steps=3"],
    "hj_proximal": ["optimizer.inner_steps=3"],
    "heat": ["optimizer.samples=2"],
    "pde_relaxed": ["optimizer.inner_steps=2", "optimizer.temperature=1e-4"],
}  # fmt: skip
