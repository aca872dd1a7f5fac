"""What editors do only once: a request, whatever the engine fills a block with, and the reading of a prompt."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
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


def test_uso_reads_a_prompt_once_and_draws_equal_bytes(tmp_path: Path) -> None:
    values = PRESETS["uso"](tmp_path)
    expert = expert_of("uso", values).load("cpu")
    reads: list[torch.nn.Module] = []
    encoders = [expert.pipeline.text_encoder, expert.pipeline.text_encoder_2]  # type: ignore[attr-defined]
    for encoder in encoders:
        encoder.register_forward_pre_hook(lambda module, given: reads.append(module))
    first, again = (np.asarray(expert([request()])[0]) for _ in range(2))
    assert reads == encoders and np.array_equal(first, again)
    both = [np.asarray(image) for image in expert([request(), request(prompt="two dogs")])]
    assert reads == encoders * 2 and not np.array_equal(*both)
    plain = expert_of("uso", values, embeddings=[]).load("cpu")([request()])[0]
    assert len(reads) == 6 and np.array_equal(first, np.asarray(plain))  # the same pipeline, read by itself again
    with pytest.raises(ValueError, match="for each of the 1 pictures"):
        expert.pipeline(prompt_embeds=torch.zeros(1, 128, 24))  # type: ignore[attr-defined]
