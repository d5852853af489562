"""Classification of images by a network with random weights, scored by how well its probabilities are calibrated."""

from __future__ import annotations

from .task import Bayesian as Bayesian
