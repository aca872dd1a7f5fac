"""What is known of a training reference, as labels: who drew it, in which parametric style, with which parameters.

The restyle expert's style encoder is taught to read these off the picture (a class for each choice, a number for each
parameter), and half of the time the U-Net is told the truth instead of the reading. So the encoder has a teacher of its
own and the U-Net a clean condition, from the first step on.

Parameters are laid into fixed slots, all in [-1, 1]: up to 3 colours and 5 numbers of the family (the background colour
first), up to 2 colours and 3 numbers of the accent; a slot that a family lacks is 0. An angle takes two slots, the
cosine and sine of its whole turn.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from curate.parametric import ACCENTS, FAMILIES, Style, sample_style

STYLE_SLOTS: Final = (3, 5)  # colours, numbers
ACCENT_SLOTS: Final = (2, 3)
VALUES: Final = tuple(3 * colours + numbers for colours, numbers in (STYLE_SLOTS, ACCENT_SLOTS))
NUM_VALUES: Final = sum(VALUES)
AS_DRAWN: Final = len(FAMILIES)  # the class of a reference without a parametric style
NO_ACCENT: Final = len(ACCENTS)
_NUM_DRAWS: Final = 256  # from which a parameter's range is read


@dataclass(frozen=True)
class StyleLabels:
    """Of B references: `choices` int64 (B, 3) (set, family, accent), `values` float32 (B, NUM_VALUES), `used` bool like
    these, the slots that a style fills, and `known` bool (B,), False where the labels do not hold (a picture that was
    turned after it was painted)."""

    choices: NDArray[np.int64]
    values: NDArray[np.float32]
    used: NDArray[np.bool_]
    known: NDArray[np.bool_]


def num_choices(num_sets: int) -> tuple[int, int, int]:
    """Classes of each choice: training sets, families and "as drawn", accents and none."""
    return num_sets, len(FAMILIES) + 1, len(ACCENTS) + 1


def label(styles: Sequence[Style | None], sets: Sequence[int], known: Sequence[bool]) -> StyleLabels:
    """Labels of references drawn by `sets` (places among the training sets) in `styles` (None: as drawn)."""
    choices = [(which, *_choices(style)) for style, which in zip(styles, sets, strict=True)]
    slots = np.stack([slots_of(style) for style in styles])
    return StyleLabels(
        np.array(choices, dtype=np.int64),
        np.nan_to_num(slots, nan=0.0),
        ~np.isnan(slots),
        np.array(known, dtype=np.bool_),
    )


def slots_of(style: Style | None) -> NDArray[np.float32]:
    """float32 (NUM_VALUES,): the parameters in their slots, NaN in those that the style lacks; as drawn means white
    paper."""
    if style is None:
        return np.array([1.0] * 3 + [np.nan] * (NUM_VALUES - 3), dtype=np.float32)
    accent = [np.nan] * (3 * ACCENT_SLOTS[0] + ACCENT_SLOTS[1])
    if style.accent is not None:
        accent = _slots(style.accent, ACCENT_SLOTS)
    return np.array(_slots(style, STYLE_SLOTS) + accent, dtype=np.float32)


def _choices(style: Style | None) -> tuple[int, int]:
    if style is None:
        return AS_DRAWN, NO_ACCENT
    return FAMILIES.index(style.family), NO_ACCENT if style.accent is None else ACCENTS.index(style.accent.family)


def _slots(style: Style, slots: tuple[int, int]) -> list[float]:
    num_colours, num_numbers = slots
    colours: list[float] = []
    numbers: list[float] = []
    for name, low, high in _layout(style.family):
        value: Any = style.params[name]
        if isinstance(value, tuple):
            colours += [2 * channel - 1 for channel in value]
        elif name == "angle":
            turn = 2 * np.pi * (value - low) / max(high - low, 1e-6)
            numbers += [float(np.cos(turn)), float(np.sin(turn))]
        else:
            numbers.append(2 * (value - low) / max(high - low, 1e-6) - 1)
    return _filled(colours, 3 * num_colours) + _filled(numbers, num_numbers)


@cache
def _layout(family: str) -> tuple[tuple[str, float, float], ...]:
    """A family's parameters in the order of their slots, with the range of each as the sampler draws it."""
    rng = np.random.default_rng(0)
    draws = [sample_style(rng, family).params for _ in range(_NUM_DRAWS)]
    names = sorted(draws[0], key=lambda name: (name not in ("paper", "top"), name))
    found = []
    for name in names:
        values = [draw[name] for draw in draws]
        number = not isinstance(values[0], tuple)
        found.append((name, min(values) if number else 0.0, max(values) if number else 1.0))
    return tuple(found)


def _filled(values: list[float], length: int) -> list[float]:
    if len(values) > length:
        raise ValueError(f"{len(values)} parameter values do not fit into {length} slots")
    return values + [np.nan] * (length - len(values))
