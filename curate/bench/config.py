"""``BenchConfig``: one YAML file is one bench of several systems. See configs/bench/emoji.yaml for a commented one."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from curate.bench.bootstrap import RESAMPLES
from curate.bench.metrics import COMBINED, Column, CombinedConfig, MetricConfig
from curate.bench.sources import SourceConfig
from curate.bench.systems import SystemConfig
from curate.config import Lines, StrictModel, apply_overrides, load_yaml, parse

KNOWN = ("copy_content", "copy_style", "truth")
"""Kinds of systems that draw nothing themselves."""


class BenchConfig(StrictModel):
    """All of a bench."""

    output: str = Field(min_length=1)
    """Folder of images, numbers and report."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    bench: SourceConfig
    """Where the items come from: what is to be drawn."""
    systems: tuple[SystemConfig, ...] = Field(min_length=1)
    """Who draws."""
    metrics: tuple[MetricConfig, ...] = Field(min_length=1)
    """What is measured of each image."""
    combined: CombinedConfig | None = CombinedConfig()
    baselines: tuple[str, ...] | None = None
    """Systems that all others are compared with item by item; None: those that copy an input, and the truth."""
    resamples: int = Field(default=RESAMPLES, ge=100)
    """Of the bootstrap behind the intervals."""
    grid_rows: int = Field(default=12, ge=1)
    """Items on the page of pictures."""
    max_failed_fraction: float = Field(default=0.0, ge=0.0, le=1.0)
    """Of the images asked for; more is exit code 1, after the report is written."""

    @property
    def columns(self) -> dict[str, Column]:
        """All numbers, in the order of the metrics; the combined score is the last."""
        found = {name: column for metric in self.metrics for name, column in metric.columns.items()}
        return found | ({COMBINED: self.combined.column} if self.combined else {})

    @property
    def compared(self) -> tuple[str, ...]:
        """Names of the baselines."""
        if self.baselines is not None:
            return self.baselines
        return tuple(system.name for system in self.systems if system.kind in KNOWN)

    @model_validator(mode="after")
    def _names_agree(self) -> BenchConfig:
        names = [system.name for system in self.systems]
        for what, all_names in (("systems", names), ("metrics", [c for m in self.metrics for c in m.columns])):
            twice = [name for name, count in Counter(all_names).items() if count > 1]
            if twice:
                raise ValueError(f"{what}: {twice[0]!r} is there twice; names must differ")
        unknown = [name for name in self.baselines or () if name not in names]
        if unknown:
            raise ValueError(f"baselines: no system is called {unknown[0]!r} (there are: {', '.join(names)})")
        for column in (self.combined.subject, self.combined.style) if self.combined else ():
            given = self.columns.get(column) if column != COMBINED else None
            if given is None:
                raise ValueError(f"combined: no metric here gives {column!r}; add one, or set combined: null")
            if given.better != "higher":
                raise ValueError(f"combined: high {column!r} is not good; take columns where it is, such as "
                                 f"{CombinedConfig().subject} and {CombinedConfig().style}")
        if self.bench.kind != "emoji" and any(metric.kind == "truth" for metric in self.metrics):
            raise ValueError("metrics: `truth` needs known answers, which only `bench: {kind: emoji}` has; take it out")
        return self


def load_bench_config(path: Path, overrides: tuple[str, ...] = ()) -> tuple[BenchConfig, Lines]:
    """The config in a YAML file with ``--set`` overrides, and the lines of its keys; ConfigError names the place."""
    values, lines = load_yaml(path)
    return parse(BenchConfig, apply_overrides(values, overrides), file=path, lines=lines), lines
