"""What a training is told: its length and rhythm, and what to do besides its steps."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from pipelines.training.state import TrainState


@dataclass(frozen=True)
class Plan:
    """Length and rhythm of a training. Steps are optimiser updates; `clip` is the largest gradient norm; `bf16` is
    bfloat16 autocast where it pays (see `bf16_pays`); `accumulate` is how many batches make one update. `keep_last`
    checkpoints are kept, and that of the lowest validation number called `best_by`. `part_norms`: log also the gradient
    norm of each single loss, for a further backward pass in those steps that are logged."""

    steps: int
    peak_lr: float
    warmup: int = 200
    cooldown: float = 0.2
    clip: float = 1.0
    seed: int = 0
    log_every: int = 50
    save_every: int = 1000
    bf16: bool = True
    accumulate: int = 1
    keep_last: int = 1
    validate_every: int = 1000
    best_by: str = "val_flow"
    part_norms: bool = False


@dataclass(frozen=True)
class FitResult:
    """`finished` is False where a signal stopped the training; its checkpoint then waits for the same call
    again."""

    finished: bool
    step: int
    seconds: float
    loss: float


class Watch:
    """Whoever looks on: a progress bar, TensorBoard. Made to be overridden; this one looks away."""

    def begun(self, step: int) -> None:
        """The training goes on from this step."""

    def stepped(self, step: int, losses: Mapping[str, float]) -> None:
        """An update was made."""

    def logged(self, step: int, values: Mapping[str, float]) -> None:
        """Numbers were written to the log."""


@dataclass(frozen=True)
class Hooks:
    """What a training does besides its steps. Of several processes all call them: see `Group`."""

    validate: Callable[[TrainState], Mapping[str, float]] | None = None
    numbers: Callable[[TrainState], Mapping[str, float]] | None = None
    """After the losses of each update: further numbers that are logged with them, the same for all processes."""
    on_best: Callable[[TrainState], None] | None = None
    stops: Callable[[], bool] = lambda: False
    """After each update: whether to end here, as after a signal. One process that says so stops all."""
    watch: Watch = field(default_factory=Watch)
