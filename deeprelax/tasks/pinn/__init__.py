"""Physics-informed networks: a differential equation is solved by descending its squared residual."""

from __future__ import annotations

from .task import Pinn as Pinn
