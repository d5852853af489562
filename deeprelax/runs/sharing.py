"""What the ranks of a run divide."""

from __future__ import annotations

from ..configuration.registry import resolve
from ..configuration.schema import TrainConf


def shared_by(conf: TrainConf, world: int) -> str:
    """How so many ranks share the work, as `Share.by` names it.

    As configured; but in the place of "data" they divide the evaluations of a step: those of replicas in any case, and
    those of a step with parts (`Relaxation.parts`) where there are equal shares.
    """
    kind = resolve("optimizer", conf.optimizer.name)
    parts = getattr(kind, "parts", 1)
    divided = getattr(kind, "replicated", False) or (isinstance(parts, int) and parts > 1 and parts % world == 0)
    return "evaluations" if divided and conf.hardware.share == "data" else conf.hardware.share
