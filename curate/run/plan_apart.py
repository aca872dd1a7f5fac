"""Planning for a driver: in a process of its own, and what comes back is a few words; the plan is in its file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from curate.run.apart import apart
from curate.run.config import RunConfig
from curate.run.describing import describe
from curate.run.planning import Makers, check_sizes, maker_identities, open_run, plan_units, run_info


class Planned(NamedTuple):
    """What is told of a plan."""

    text: str
    note: str
    """What happened to a plan that was there before."""


def plan_apart(config: RunConfig, *, write: bool) -> Planned:
    """Scan the sources, plan, and ``write`` the plan into the run directory unless it is only to be told. ``config``:
    with hub ids pinned to commits. Raises what ``make_plan`` and ``open_run`` do.

    Models are identified here: this process needs that too, and hashing large files twice would take minutes.
    """
    check_sizes(config)
    return apart(plan, config, maker_identities(config), run_info(config) if write else None)


def plan(config: RunConfig, makers: Makers, info: Mapping[str, Any] | None) -> Planned:
    """What the plan is, and what happened to another one; written where there is ``info`` for run.json."""
    planned = plan_units(config, makers)
    return Planned(describe(planned), "" if info is None else open_run(planned, info).note)
