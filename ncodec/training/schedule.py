"""How learning rates go over a run."""

import math


def rate_factor(step: int, warmup: int, steps: int) -> float:
    """Return the share of the peak learning rate: linear warm-up, then cosine to a tenth."""
    if step < warmup:
        return (step + 1) / warmup
    progress = min(1.0, (step - warmup) / max(1, steps - warmup))
    return 0.1 + 0.45 * (1 + math.cos(math.pi * progress))
