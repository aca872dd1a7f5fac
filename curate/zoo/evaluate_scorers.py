"""What the compact scorers are worth: held-out subjects and sets, styles with unseen parameters.

Two tables. `bars`: AUC of same against other pairs, the figure each model was built for. `columns`: for every
score column the fault it should find, with quantiles of true and spoilt triplets and the bound between them;
thresholds in configs come from here. Beside each figure stands what no network at all reaches (raw pixels,
colour histograms); 0.5 is chance.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL.Image import Image

from curate.interfaces import Score, TripletImages
from curate.zoo.data import HELDOUT_SETS, EmojiData, load_emoji
from curate.zoo.factorial import Labelled, Mix, Pixels, draw, draw_batch, draw_subject_batch, training_sets
from curate.zoo.pair_auc import auc, best_bound, pair_auc
from curate.zoo.triplet_truth import Fault, draw_truth, ink_units

SEED: Final = 20_000_003  # no training uses it: their generators start from small seeds
Floats = npt.NDArray[np.float32]


class Task(NamedTuple):
    """A column, the fault it should find, whether good units are high, and a baseline."""

    column: str
    fault: Fault
    good_is_high: bool
    baseline: Callable[[TripletImages], float]


def raw_pixels(first: Image, second: Image) -> float:
    """Correlation of two images at 16 x 16 pixels."""
    a, b = (np.asarray(image.resize((16, 16)), dtype=np.float32).ravel() for image in (first, second))
    return float(np.corrcoef(a, b)[0, 1]) if a.std() > 0 and b.std() > 0 else 0.0


def colour_histogram(first: Image, second: Image) -> float:
    """Intersection of two 6 x 6 x 6 RGB histograms (Swain and Ballard 1991)."""
    a, b = (_histogram(np.asarray(image)) for image in (first, second))
    return float(np.minimum(a, b).sum())


def _histogram(pixels: Pixels) -> Floats:
    cells = (pixels.reshape(-1, 3) // 43).astype(np.int64) @ np.array([36, 6, 1])
    counts = np.bincount(cells, minlength=216)
    shares: Floats = (counts / counts.sum()).astype(np.float32)
    return shares


TASKS: Final[Mapping[str, tuple[Task, ...]]] = {
    "csd": (
        Task(
            "csd.style.style_stylized", "other_style", True, lambda u: colour_histogram(u.style, u.stylized)
        ),
        Task(
            "csd.style.content_stylized", "residue", False, lambda u: colour_histogram(u.content, u.stylized)
        ),
        Task(
            "csd.content.content_stylized", "other_subject", True, lambda u: raw_pixels(u.content, u.stylized)
        ),
        Task("csd.content.style_stylized", "leak", False, lambda u: raw_pixels(u.style, u.stylized)),
    ),
    "clip": (
        Task(
            "clip.image.content_stylized", "other_subject", True, lambda u: raw_pixels(u.content, u.stylized)
        ),
        Task("clip.image.style_stylized", "leak", False, lambda u: raw_pixels(u.style, u.stylized)),
        Task("clip.text.stylized", "other_caption", True, lambda u: 0.0),
        Task("clip.text.content", "other_caption", True, lambda u: 0.0),
    ),
    "vlm": (
        Task(
            "vlm.subject.content_stylized", "other_subject", True, lambda u: raw_pixels(u.content, u.stylized)
        ),
        Task(
            "vlm.style.style_stylized", "other_style", True, lambda u: colour_histogram(u.style, u.stylized)
        ),
        Task(
            "vlm.style.content_stylized", "residue", False, lambda u: colour_histogram(u.content, u.stylized)
        ),
        Task("vlm.subject.style_stylized", "leak", False, lambda u: raw_pixels(u.style, u.stylized)),
    ),
    "copy_paste": (
        Task("copy_paste.alignment", "copy_paste", False, lambda u: raw_pixels(u.content, u.stylized)),
    ),
    "colour": (
        Task("colour.only", "colour_only", False, lambda u: colour_histogram(u.style, u.stylized)),
        Task("colour.texture_kept", "colour_only", False, lambda u: raw_pixels(u.content, u.stylized)),
    ),
}


def evaluate(
    names: Sequence[str] = tuple(TASKS),
    *,
    count: int = 300,
    data: EmojiData | None = None,
    models: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """{"bars": {name: {measure: value}}, "columns": {column: {...}}} for scorers by kind; ``models`` replaces
    ``zoo:NAME``.
    """
    from filters import scorer_class

    data = data or load_emoji()
    bars: dict[str, dict[str, float]] = {}
    columns: dict[str, dict[str, float | str]] = {}
    for name in names:
        given = {"model": models[name]} if models and name in models else {}
        score: Score = scorer_class(name)(**given).load("cpu")  # type: ignore[attr-defined]
        columns.update(column_table(name, score, data, count=count))
        bars[name] = BARS[name](score, data) if name in BARS else {}
    return {"bars": bars, "columns": columns}


def column_table(
    name: str, score: Score, data: EmojiData, *, count: int
) -> dict[str, dict[str, float | str]]:
    """For each task of a scorer: AUC, baseline, quantiles of good and spoilt units, the best bound."""
    truth = draw_truth(data, count=count, seed=SEED).units
    scored = {fault: score(truth[fault]) for fault in {"none", *(task.fault for task in TASKS[name])}}
    inks = ink_units(data, count=count, seed=SEED) if name == "colour" else []
    table: dict[str, dict[str, float | str]] = {}
    for task in TASKS[name]:
        against = inks if task.fault == "colour_only" else truth["none"]
        good = (score(inks) if inks else scored["none"])[task.column]
        bad = scored[task.fault][task.column]
        plain_good, plain_bad = (
            np.array([task.baseline(u) for u in units]) for units in (against, truth[task.fault])
        )
        high, low = (good, bad) if task.good_is_high else (bad, good)
        plain_high, plain_low = (plain_good, plain_bad) if task.good_is_high else (plain_bad, plain_good)
        table[task.column] = {
            "fault": task.fault,
            "auc": auc(high, low),
            "baseline": auc(plain_high, plain_low),
            **{f"good_q{q:02d}": float(np.nanquantile(good, q / 100)) for q in (5, 10, 50, 90, 95)},
            **{f"bad_q{q:02d}": float(np.nanquantile(bad, q / 100)) for q in (5, 10, 50, 90, 95)},
            "keep_if": ">=" if task.good_is_high else "<=",
            "bound": best_bound(good, bad),
        }
    return table


def csd_bars(score: Score, data: EmojiData) -> dict[str, float]:
    """Same style against other style, different subjects only; colour histograms beside it."""
    heldout, sets = np.flatnonzero(data.heldout_subjects), training_sets(data)
    unseen = [data.set_names.index(name) for name in HELDOUT_SETS]
    rng = np.random.default_rng(SEED)
    plain = _plain_drawings(data, rng, heldout, count=900)
    painted = draw_batch(
        data,
        rng,
        subjects=heldout,
        sets=sets,
        augment=False,
        mix=Mix(plain=0, painted=120, per_painted=5, pool=120),
    )
    bars: dict[str, float] = {}
    for prefix, vectors in (("", _style_vectors(score)), ("colour histogram: ", _histograms)):
        similarity = _similarity(vectors, plain.images)
        seen = np.isin(plain.source, sets)
        both = seen[:, None] & seen[None, :]
        touches = np.isin(plain.source, unseen)
        other_subject = plain.subject[:, None] != plain.subject[None, :]
        same = plain.source[:, None] == plain.source[None, :]
        bars[f"{prefix}same set, training sets"] = pair_auc(similarity, same, other_subject & both)
        bars[f"{prefix}same set, held-out sets against all"] = pair_auc(
            similarity, same, other_subject & (touches[:, None] | touches[None, :])
        )
        style = painted.style[:, None] == painted.style[None, :]
        bars[f"{prefix}same parametric style, unseen parameters"] = pair_auc(
            _similarity(vectors, painted.images), style, painted.subject[:, None] != painted.subject[None, :]
        )
    return bars


def clip_bars(score: Score, data: EmojiData) -> dict[str, float]:
    """Same subject against other subject, between different sets; raw pixels beside it."""
    rng = np.random.default_rng(SEED)
    heldout = np.flatnonzero(data.heldout_subjects)
    every = list(range(len(data.set_names)))
    groups = {
        "training sets": draw_subject_batch(
            data,
            rng,
            subjects=heldout,
            sets=training_sets(data),
            count=150,
            per_subject=5,
            styles=1,
            painted_chance=0.0,
            augment=False,
        ),
        "all sets": draw_subject_batch(
            data,
            rng,
            subjects=heldout,
            sets=every,
            count=150,
            per_subject=5,
            styles=1,
            painted_chance=0.0,
            augment=False,
        ),
        "training sets, half painted": draw_subject_batch(
            data,
            rng,
            subjects=heldout,
            sets=training_sets(data),
            count=150,
            per_subject=5,
            styles=40,
            painted_chance=0.5,
            augment=False,
        ),
    }
    bars: dict[str, float] = {}
    for prefix, vectors in (("", _clip_vectors(score)), ("raw pixels: ", _thumbnails)):
        for group, batch in groups.items():
            bars[f"{prefix}same subject, {group}"] = pair_auc(
                _similarity(vectors, batch.images),
                batch.subject[:, None] == batch.subject[None, :],
                batch.source[:, None] != batch.source[None, :],
            )
    return bars


def vlm_bars(score: Score, data: EmojiData, *, count: int = 400) -> dict[str, float]:
    """Rating 4 against rating 0 for both questions; what is not asked for is the same half of the time."""
    from curate.zoo.judge_pairs import OTHER, SAME, draw_grid, draw_pairs

    rng = np.random.default_rng(SEED)
    heldout = np.flatnonzero(data.heldout_subjects)
    bars: dict[str, float] = {}
    for title, painted in (("plain sets", 0), ("parametric styles", 15)):
        grid = draw_grid(
            data,
            rng,
            subjects=heldout,
            num_painted=painted,
            augment=False,
            sets=training_sets(data) if painted == 0 else training_sets(data)[:1],
        )
        pairs = draw_pairs(grid, rng, count=count)
        units = []
        for first, second in zip(pairs.first.tolist(), pairs.second.tolist(), strict=True):
            one, two = (_image(grid.images[row]) for row in (first, second))
            units.append(TripletImages(one, one, two, "", "", "shifted"))
        scores = score(units)
        for question, column, asked in (
            ("subject", "vlm.subject.content_stylized", ~pairs.asks_style),
            ("style", "vlm.style.content_stylized", pairs.asks_style),
        ):
            same, other = asked & (pairs.rating == SAME), asked & (pairs.rating == OTHER)
            bars[f"same {question}, {title}"] = auc(scores[column][same], scores[column][other])
            baseline = raw_pixels if question == "subject" else colour_histogram
            plain = np.array([baseline(u.content, u.stylized) for u in units])
            kind = "raw pixels" if question == "subject" else "colour histogram"
            bars[f"{kind}: same {question}, {title}"] = auc(plain[same], plain[other])
    return bars


BARS: Final[Mapping[str, Callable[[Score, EmojiData], dict[str, float]]]] = {
    "csd": csd_bars,
    "clip": clip_bars,
    "vlm": vlm_bars,
}


def _plain_drawings(
    data: EmojiData, rng: np.random.Generator, subjects: npt.NDArray[np.int64], *, count: int
) -> Labelled:
    """Random drawings of the given subjects over white, every set as often as it comes."""
    rows = rng.permutation(np.flatnonzero(np.isin(data.subject_index, subjects)))[:count]
    return Labelled(
        images=np.stack([draw(data.images[row], None, None) for row in rows]),
        style=data.set_index[rows],
        subject=data.subject_index[rows],
        source=data.set_index[rows],
        family=tuple(data.set_names[i] for i in data.set_index[rows]),
    )


def _similarity(vectors: Callable[[Pixels], Floats], images: Pixels) -> Floats:
    found = vectors(images)
    similarity: Floats = found @ found.T
    return similarity


def _style_vectors(score: Any) -> Callable[[Pixels], Floats]:
    return lambda images: _network_vectors(score, images, lambda pixels: score.network(pixels).style)


def _clip_vectors(score: Any) -> Callable[[Pixels], Floats]:
    return lambda images: _network_vectors(
        score, images, lambda pixels: score.network.encode_image(pixels, normalize=True)
    )


def _network_vectors(score: Any, images: Pixels, encode: Callable[[Any], Any]) -> Floats:
    """Vectors of images (N, H, W, 3) through a loaded scorer's own preprocessing."""
    import torch

    parts = []
    with torch.inference_mode():
        for start in range(0, len(images), 64):
            pixels = torch.stack([score.preprocess(_image(image)) for image in images[start : start + 64]])
            parts.append(encode(pixels).float().numpy())
    return np.concatenate(parts)


def _histograms(images: Pixels) -> Floats:
    """Square roots of colour histograms: their products are Bhattacharyya coefficients."""
    return np.sqrt(np.stack([_histogram(image) for image in images]))


def _thumbnails(images: Pixels) -> Floats:
    """Normalised 16 x 16 thumbnails: their products are correlations."""
    small = np.stack(
        [np.asarray(_image(image).resize((16, 16)), dtype=np.float32).ravel() for image in images]
    )
    small -= small.mean(axis=1, keepdims=True)
    unit: Floats = small / np.maximum(np.linalg.norm(small, axis=1, keepdims=True), 1e-6)
    return unit


def _image(pixels: Pixels) -> Image:
    from PIL import Image as Pillow

    return Pillow.fromarray(pixels)


def show(result: Mapping[str, Any]) -> str:
    """Both tables as Markdown."""
    lines = ["| measure | AUC |", "|---|---|"]
    lines += [
        f"| {name}: {measure} | {value:.3f} |"
        for name, bars in result["bars"].items()
        for measure, value in bars.items()
    ]
    lines += [
        "",
        "| column | fault | AUC | without a model | good: 5, 50, 95 % | spoilt: 5, 50, 95 % | keep if |",
        "|---|---|---|---|---|---|---|",
    ]
    for column, row in result["columns"].items():
        good, bad = (
            " / ".join(f"{row[f'{side}_q{q}']:.2f}" for q in ("05", "50", "95")) for side in ("good", "bad")
        )
        lines.append(
            f"| {column} | {row['fault']} | {row['auc']:.3f} | {row['baseline']:.3f} | {good} | {bad} | "
            f"{row['keep_if']} {row['bound']:.2f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    print(show(evaluate()))
