"""Everything random is a function of (seed, purpose, counters); no generator's state is ever saved."""

from __future__ import annotations

from enum import IntEnum

import numpy as np


class Purpose(IntEnum):
    """What a random stream is for. The numbers are part of every published result: never reuse or change one."""

    WEIGHTS = 1
    ORDER = 2
    DROPOUT = 3
    SPLIT = 4
    STATISTICS = 5
    AUGMENTATION = 6


def derive_seed(seed: int, purpose: Purpose, *counters: int) -> int:
    """A 64-bit seed for a generator, independent of the seeds of all other keys. All entries non-negative."""
    return int(np.random.SeedSequence((seed, int(purpose), *counters)).generate_state(1, np.uint64)[0])
