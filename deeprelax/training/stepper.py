"""What the loop descends with: a relaxation, or L-BFGS, the one optimizer that is none.

Both have `evaluations` (closure calls of a step: exactly, L-BFGS at most), `step(closure)`, `finite`,
`nonfinite_steps`, `direction_norm`, `scalars`, `memory`, "outer_steps" in `param_groups`, and torch's state dict.
"""

from __future__ import annotations

from ..optim import LBFGS, Relaxation

Stepper = Relaxation | LBFGS
