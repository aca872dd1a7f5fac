"""The README of a compact scorer: what it is, learnt from, and reaches; every number measured here."""

from __future__ import annotations

from pathlib import Path

from curate.zoo.card import data_table, facts_table, write_card
from curate.zoo.data import EmojiData
from curate.zoo.evaluate_scorers import evaluate, show
from pipelines.training import FitResult, Plan

LIMITS = (
    "A toy for 64 px emoji: it knows nothing else of the world. Its cosines and ratings are not comparable "
    "with those of any other model; take thresholds from the table above."
)


def write_scorer_card(
    folder: Path,
    name: str,
    *,
    summary: str,
    data: EmojiData,
    trainings: dict[str, tuple[Plan, FitResult]],
    count: int = 300,
) -> None:
    """Evaluate the model in ``folder`` and write its card. ``trainings``: plan and result by stage."""
    facts: dict[str, str | int | float] = {
        "build": f"`curate zoo build {name}`",
        "size in bytes": sum(p.stat().st_size for p in folder.iterdir() if p.name != "README.md"),
    }
    for stage, (plan, result) in trainings.items():
        facts |= {
            f"{stage}: steps": result.step,
            f"{stage}: seconds (1 CPU core)": round(result.seconds),
            f"{stage}: seed": plan.seed,
            f"{stage}: peak learning rate": plan.peak_lr,
        }
    result_tables = show(evaluate((name,), count=count, data=data, models={name: str(folder)}))
    write_card(
        folder,
        title=f"zoo:{name}",
        summary=summary,
        sections={
            "Training": facts_table(facts),
            "Measured": f"{count} triplets of held-out subjects and their spoilt versions, by "
            f"`python -m curate.zoo.evaluate_scorers`; chance is 0.5.\n\n{result_tables}",
            "Limits": LIMITS,
            "Data": data_table(data),
        },
    )
