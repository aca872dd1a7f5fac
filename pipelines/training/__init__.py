"""What all trainers share: schedule, EMA, checkpoints, metrics log, prefetch and the loop itself.

A training is a function of (seed, step): batches and model randomness are drawn by position, so a run that was
stopped and resumed ends with the weights of one that was not.
"""

from pipelines.training.checkpoint import load_checkpoint, save_checkpoint
from pipelines.training.ema import Ema
from pipelines.training.group import Group
from pipelines.training.loop import fit
from pipelines.training.metrics import MetricsLog
from pipelines.training.plan import FitResult, Hooks, Plan, Watch
from pipelines.training.precision import bf16_pays, training_device
from pipelines.training.prefetch import prefetch
from pipelines.training.schedule import lr_at
from pipelines.training.state import TrainState

__all__ = [
    "Ema",
    "FitResult",
    "Group",
    "Hooks",
    "MetricsLog",
    "Plan",
    "TrainState",
    "Watch",
    "bf16_pays",
    "fit",
    "load_checkpoint",
    "lr_at",
    "prefetch",
    "save_checkpoint",
    "training_device",
]
