"""Learning rate as a function of the step: linear warm-up, constant, linear decay to zero over the last part."""


def lr_at(step: int, *, total: int, peak: float, warmup: int = 200, cooldown: float = 0.2) -> float:
    """The rate for step `step` (0-based) of `total`. `cooldown` is the share of all steps that decay.

    Of (step, total) alone, so a resumed run needs no scheduler state.
    """
    if not 0 <= step < total:
        raise ValueError(f"step {step} is outside 0..{total - 1}")
    up = min(1.0, (step + 1) / max(1, warmup))
    decay_steps = max(1, round(total * cooldown))
    down = min(1.0, (total - step) / decay_steps)
    return peak * min(up, down)
