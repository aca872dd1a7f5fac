"""What a block costs an editor that draws one by one: each request once, whatever the engine fills the block with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from curate.engine.batches import Batch, Refusal
from curate.interfaces import Expert
from tests.preset_parts import PRESETS, expert_of, picture, request


@pytest.fixture(scope="module")
def klein(tmp_path_factory: pytest.TempPathFactory) -> Expert:
    """An editor with ``batched: false``; one step, so that its transformer runs once a call."""
    return expert_of("flux2-klein", PRESETS["flux2-klein"](tmp_path_factory.mktemp("klein")), steps=1).load("cpu")


@contextmanager
def calls(expert: Expert) -> Iterator[list[None]]:
    """An entry for every picture that is drawn while the block runs."""
    drawn: list[None] = []
    transformer = expert.pipeline.transformer  # type: ignore[attr-defined]
    with transformer.register_forward_pre_hook(lambda module, given: drawn.append(None)):
        yield drawn


def test_a_request_that_fills_empty_slots_is_drawn_once(klein: Expert) -> None:
    one, other = request(), request(content=4, seed=9)
    wanted = [np.asarray(klein([each])[0]) for each in (one, other)]
    with calls(klein) as drawn:
        made = Batch(klein).run([None, one, None, other, None, None, None, None])
    assert len(drawn) == 2
    assert [place for place, image in enumerate(made) if image is not None] == [1, 3]
    for image, pixels in zip((made[1], made[3]), wanted, strict=True):
        assert isinstance(image, Image.Image) and np.array_equal(np.asarray(image), pixels)


def test_a_block_with_a_bad_request_costs_each_of_the_others_two_calls_at_most(klein: Expert) -> None:
    good = [request(content=seed, seed=seed) for seed in range(7)]
    bad = request()._replace(content=picture(1).resize((32, 32)))  # the pipeline takes none so small
    with calls(klein) as drawn:
        made = Batch(klein).run([*good[:3], bad, *good[3:]])
    assert len(drawn) == 3 + 7  # as far as the bad one together, then each alone; blocks of repeats were 3 + 56
    assert isinstance(made[3], Refusal) and "ValueError" in made[3].reason
    assert np.array_equal(np.asarray(made[0]), np.asarray(klein([good[0]])[0]))
