"""A run directory with drawn images and known numbers, made through the real store: no model, about 0.1 s."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from curate.interfaces import ROLES
from curate.records import Failure, SourceItem, Unit, Work
from curate.seal import NearDuplicateConfig, RuleConfig, SealReport, seal
from curate.seeds import digest, seed, uniform
from curate.store import RunStore

STYLES = {"twemoji": ("#ffcc4d", "#ffffff"), "fluent-emoji-high-contrast": ("#111111", "#ffffff"),
          "risograph": ("#ff48b0", "#fff7e6"), "blueprint": ("#e8f4ff", "#1f4e8c"), "": ("#5b7", "#eee")}
SHAPES = ("ellipse", "rectangle", "star", "cross")
LICENCES = {"stylized": "CC-BY-4.0", "subject": "Apache-2.0"}
RULES = (RuleConfig(column="csd.style.style_stylized", min=0.5),
         RuleConfig(column="csd.style.content_stylized", max=0.8, reason="content carries the style"))
SCORERS = (("csd", "f1"), ("phash", "f2"))
EXPERTS = {"destylize": {"kind": "diffusers", "model_hash": "aa"}, "stylize": {"kind": "diffusers", "model_hash": "bb"}}


def make_run(root: Path, *, num_units: int = 40, num_done: int | None = None, size_px: int = 64, block: int = 4,
             gpus: float = 0.5, units: Sequence[Unit] = ()) -> RunStore:
    """A run with the first ``num_done`` units committed; every tenth of them failed. Scores follow the unit's index.
    ``units`` take the place of the usual ones."""
    units = units or [make_unit(i) for i in range(num_units)]
    experts = {verb: {"resources": {"gpus": gpus}} for verb in EXPERTS}
    store = RunStore.create(root, {"config": {"experts": experts}}, units, block)
    for part in store.blocks():
        if num_done is not None and part.units[-1].index >= num_done:
            break
        work = Work(block=part, seconds={"destylize": 1.0 * len(part.units), "stylize": 3.0 * len(part.units)})
        for unit in part.units:
            if unit.index % 10 == 9:
                work.failures[unit.unit_id] = Failure("stylize", "the model returned no image")
            else:
                work.images[unit.unit_id] = draw_triplet(unit, size_px)
        store.commit_candidates(work, provenance={"experts": EXPERTS, "seed": 0})
        made = [unit for unit in part.units if unit.unit_id not in work.failures]
        store.commit_scores("csd", "f1", part, {unit.unit_id: csd_of(unit) for unit in made})
        store.commit_scores("phash", "f2", part, {unit.unit_id: {"phash.bits": seed(unit.unit_id)} for unit in made})
    return store


def seal_run(store: RunStore) -> SealReport:
    """Sealed with both rules and the search for near-duplicates."""
    return seal(store, rules=RULES, near_duplicates=NearDuplicateConfig(), scorers=SCORERS)


def make_unit(index: int) -> Unit:
    """Styles and layouts alternate; subjects are all distinct."""
    style = list(STYLES)[index % len(STYLES)]
    items = {role: SourceItem(source="input", locator=f"{role}-{index}", uri="", sha256=digest(role, index),
                              licence=licence, attribution="its authors") for role, licence in LICENCES.items()}
    return Unit(unit_id=digest("unit", index), index=index, recipe="from_stylized",
                layout="shifted" if index % 2 else "preserved", caption=f"a {SHAPES[index % 4]} number {index}",
                style_caption=f"a {SHAPES[(index + 1) % 4]}", subject=f"shape {index}", style_subject=f"other {index}",
                style=style, side="val" if index % 8 == 0 else "train", inputs=items)  # type: ignore[arg-type]


def csd_of(unit: Unit) -> Mapping[str, float]:
    """Units 1, 6, 11, ... break the first rule, units 2, 12, 22, ... the second."""
    noise = uniform("noise", unit.unit_id) * 0.1
    return {"csd.style.style_stylized": (0.2 if unit.index % 5 == 1 else 0.7) + noise,
            "csd.style.content_stylized": (0.85 if unit.index % 10 == 2 else 0.3) + noise,
            "csd.style.content_style": 0.2 + noise,
            "csd.content.content_stylized": 0.8 + noise,
            "csd.content.style_stylized": float("nan") if unit.index % 7 == 0 else 0.4,
            "csd.content.content_style": 0.35 + noise}


def draw_triplet(unit: Unit, size_px: int) -> dict[str, bytes]:
    """PNG by role: the subject in grey, another subject in the style, the subject in the style."""
    ink, paper = STYLES.get(unit.style, STYLES[""])
    first, second = SHAPES[unit.index % 4], SHAPES[(unit.index + 1) % 4]
    looks = {"content": (first, "#888888", "#ffffff"), "style": (second, ink, paper), "stylized": (first, ink, paper)}
    return {role: _png(draw_shape(*looks[role], size_px=size_px, turn=unit.index)) for role in ROLES}


def draw_shape(shape: str, ink: str, paper: str, *, size_px: int, turn: int = 0) -> Image.Image:
    """One of ``SHAPES`` on plain paper; ``turn`` moves it a little."""
    image = Image.new("RGB", (size_px, size_px), paper)
    draw = ImageDraw.Draw(image)
    low, high = size_px * (2 + turn % 3) // 16, size_px * (11 + turn % 4) // 16
    middle, box = (low + high) / 2, (low, low, high, high)
    if shape == "ellipse":
        draw.ellipse(box, fill=ink)
    elif shape == "rectangle":
        draw.rectangle(box, fill=ink)
    elif shape == "cross":
        draw.line((low, low, high, high), fill=ink, width=size_px // 8)
        draw.line((low, high, high, low), fill=ink, width=size_px // 8)
    else:
        angles = np.arange(10) * np.pi / 5 - np.pi / 2
        radii = np.where(np.arange(10) % 2 == 0, 1.0, 0.4) * (high - low) / 2
        draw.polygon([(middle + r * np.cos(a), middle + r * np.sin(a)) for a, r in zip(angles, radii, strict=True)],
                     fill=ink)
    return image


def _png(image: Image.Image) -> bytes:
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()
