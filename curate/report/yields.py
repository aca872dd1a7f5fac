"""How much of what was made is kept, by style, layout, recipe and expert."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd

from curate.report.units import STATUSES, UnitTable
from curate.seeds import digest

Yields = dict[str, dict[str, Any]]
NO_LABEL = "(no label)"


def yields_by(frame: pd.DataFrame, column: str) -> Yields:
    """Counts by status and the yield for each value of a column, most planned first."""
    counts = frame.groupby([column, "status"], observed=True).size().unstack(fill_value=0)
    rows = {str(name) or NO_LABEL: _row(row) for name, row in counts.iterrows()}
    return dict(sorted(rows.items(), key=lambda item: (-item[1]["planned"], item[0])))


def expert_yields(units: UnitTable) -> tuple[Yields, dict[str, dict[str, Any]]]:
    """Yields and identities by expert. A unit counts for each expert in its provenance (``experts``: verb ->
    identity); units without a ledger row count for none."""
    told = units.frame["unit_id"].map(units.ledger["provenance"])
    codes, texts = pd.factorize(told)
    members: dict[str, list[int]] = {}
    identities: dict[str, dict[str, Any]] = {}
    for code, text in enumerate(texts):
        for verb, identity in sorted((json.loads(text).get("experts") or {}).items()):
            name = expert_name(verb, identity)
            members.setdefault(name, []).append(code)
            identities[name] = {"verb": verb, "identity": identity}
    rows = {name: _row(units.frame.loc[np.isin(codes, found), "status"].value_counts())
            for name, found in sorted(members.items())}
    return rows, identities


def expert_name(verb: str, identity: Any) -> str:
    """``stylize: zoo:restyle 3fa9c2``: the verb, model or kind, and a hash that tells apart experts of one model."""
    known = identity if isinstance(identity, dict) else {}
    model = known.get("model") or known.get("kind") or "expert"
    return f"{verb}: {model} {digest(json.dumps(identity, sort_keys=True), size=3)}"


def _row(counts: pd.Series[Any]) -> dict[str, Any]:
    full = {status: int(counts.get(status, 0)) for status in STATUSES}
    decided = full["kept"] + full["rejected"] + full["failed"]
    share = round(full["kept"] / decided, 4) if full["kept"] + full["rejected"] else None
    return {"planned": sum(full.values()), **full, "yield": share}
