"""Which differential equation do noisy data obey? Its terms are found among those of a dictionary."""

from __future__ import annotations

from .task import Estimation as Estimation
