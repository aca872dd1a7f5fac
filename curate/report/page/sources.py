"""Yield by source: where the picture that gives a target its structure lay, by the plan."""

from __future__ import annotations

import pandas as pd

from curate.errors import StoreError
from curate.report.yields import Yields, yields_by
from curate.store import RunStore

MAX_PLACES = 50
"""Distinct places that are told apart; a run over more of them (a folder for each artist) is told by source name."""
TARGET_ROLES = ("stylized", "content")


def source_yields(frame: pd.DataFrame, store: RunStore) -> Yields:
    """Yields by ``source name: folder or package``; empty where the plan file is gone."""
    try:
        inputs = store.inputs()
    except StoreError:
        return {}
    inputs = inputs[inputs["role"].isin(TARGET_ROLES)].drop_duplicates("unit_id").set_index("unit_id")
    folder = inputs["uri"].str.replace(r"#.*$", "", regex=True).str.replace(r"[:/][^:/]*$", "", regex=True)
    place = inputs["source"] + ": " + folder
    if place.nunique() > MAX_PLACES:
        place = inputs["source"]
    return yields_by(frame.assign(place=frame["unit_id"].map(place).fillna("")), "place")
