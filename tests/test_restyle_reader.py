"""The style encoder's reading: what it is shown, what it learns, and that it learns it once."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from curate.parametric import Style, apply_style
from curate.zoo import restyle_reader
from curate.zoo.restyle import Restyler
from curate.zoo.restyle_data import RestyleStream, to_float
from curate.zoo.restyle_reader import learn_to_read, pictures_at, reading_losses
from curate.zoo.style_labels import NUM_VALUES, VALUES, StyleLabels
from pipelines.compact.echoes import PLATE_PX, RELIEF_PX, SHADOW_PX, echoes
from pipelines.compact.levels import MOST_STEPS, levels
from pipelines.compact.network import Reading
from pipelines.compact.slots import SLOT_NUMBERS, Slots
from pipelines.compact.spectrum import BIN, FINEST, spectrum
from pipelines.training import MetricsLog, Plan
from tests.toy_emoji import toy_emoji

DATA = toy_emoji(6)
STREAM = RestyleStream(DATA, seed=0)
PLAN = Plan(steps=12, peak_lr=2e-3, warmup=2, log_every=4, save_every=6, bf16=False)


def waves(across: int, down: int, *, phase: float = 0.0) -> torch.Tensor:
    """(1, 3, 64, 64): that many waves from left to right and from top to bottom."""
    line = torch.arange(64) * (2 * math.pi / 64)
    return torch.sin(line[None] * across + line[:, None] * down + phase).expand(1, 3, 64, 64)


def peak(image: torch.Tensor) -> tuple[int, int]:
    """Bin (down, across) of the strongest frequency; down counts from -FINEST."""
    place = int(spectrum(image)[0].argmax())
    return place // (FINEST // BIN), place % (FINEST // BIN)


def test_the_spectrum_tells_pitch_and_angle_wherever_the_pattern_lies() -> None:
    middle = FINEST // BIN
    assert peak(waves(9, 0)) == (middle, 3)
    assert peak(waves(9, 0, phase=1.0)) == (middle, 3)
    assert peak(waves(9, 12)) == (middle + 4, 3)
    assert peak(waves(9, -12)) == (middle - 4, 3)


def painted(family: str, **params: float) -> torch.Tensor:
    """A drawing of soft shapes in many colours in a style: (1, 3, 64, 64)."""
    rng = np.random.default_rng(5)
    rows, columns = np.mgrid[:64, :64]
    drawing = np.zeros((64, 64, 4), dtype=np.uint8)
    for _ in range(9):
        (top, left), radius = rng.integers(18, 46, size=2), rng.integers(4, 11)
        drawing[(rows - top) ** 2 + (columns - left) ** 2 < radius**2] = [*rng.integers(20, 236, size=3), 255]
    return to_float(apply_style(Style(family, {"paper": (0.9, 0.7, 0.5), **params}), drawing)[None])


def strongest(numbers: torch.Tensor, columns: int) -> tuple[int, int]:
    return divmod(int(numbers.argmax()), columns)


@pytest.mark.parametrize(("down", "right"), [(1, 3), (-2, 2), (0, -3)])
def test_echoes_tell_how_far_plates_are_out_of_register(down: int, right: int) -> None:
    before, columns = (SHADOW_PX + 1) * (2 * SHADOW_PX + 1), 2 * PLATE_PX + 1
    plates = echoes(painted("misprint", down=down, right=right))[0, before : before + columns**2]
    assert strongest(plates, columns) == (PLATE_PX + down, PLATE_PX + right)


@pytest.mark.parametrize(("down", "right"), [(4, 4), (2, -5), (3, 0)])
def test_echoes_tell_where_a_shadow_falls(down: int, right: int) -> None:
    columns = 2 * SHADOW_PX + 1
    ink = {"ink": (0.1, 0.1, 0.3)}
    with_shadow, without = (
        echoes(each)[0, : (SHADOW_PX + 1) * columns]
        for each in (painted("shadow", down=down, right=right, **ink), painted("paper"))
    )
    assert strongest(with_shadow - without, columns) == (down, SHADOW_PX + right)


@pytest.mark.parametrize(("angle", "side"), [(0.0, (0, 1)), (1.57, (1, 0)), (3.14, (0, -1)), (4.71, (-1, 0))])
def test_echoes_tell_where_the_light_of_a_relief_comes_from(angle: float, side: tuple[int, int]) -> None:
    columns = 2 * RELIEF_PX + 1
    relief = echoes(painted("emboss", angle=angle, depth=1.0, clay=0.4))[0, -(columns**2) :]
    assert strongest(relief, columns) == (RELIEF_PX * (1 + side[0]), RELIEF_PX * (1 + side[1]))


@pytest.mark.parametrize("steps", [2, 3, 4])
def test_levels_tell_in_how_many_steps_colours_come(steps: int) -> None:
    real = levels(painted("poster", levels=steps + 1, contrast=1.2))[0].reshape(MOST_STEPS, 2, 3)[:, 0].mean(1)
    assert int(real[: 2 * steps - 1].argmax()) + 1 == steps
    assert real[steps - 1] > levels(painted("paper"))[0].reshape(MOST_STEPS, 2, 3)[steps - 1, 0].mean() + 0.1


def test_a_slot_gives_the_colour_where_it_looks() -> None:
    image = -torch.ones(1, 3, 64, 64)
    image[:, 0, :2, :2] = 1  # one red place of 32 x 32
    features = torch.nn.functional.avg_pool2d(image, 2)[:, :1]
    slots = Slots(1, 1, 1)
    first, _, last = slots.looks
    for layer, weight, bias in ((first, 30.0, 0.0), (last, 1.0, 0.0)):
        torch.nn.init.constant_(layer.weight, weight)
        torch.nn.init.constant_(layer.bias, bias)
    numbers = slots(image, features)
    assert numbers.shape == (1, SLOT_NUMBERS)
    torch.testing.assert_close(numbers[0, :3], torch.tensor([1.0, -1.0, -1.0]), atol=1e-3, rtol=0)
    assert numbers[0, 6] < 0.01  # it looks at one place
    torch.nn.init.zeros_(last.weight)
    torch.testing.assert_close(slots(image, features)[0, 6], torch.tensor(1.0))  # it looks everywhere


def test_slots_give_numbers_in_half_precision_too() -> None:
    slots = Slots(1, 1, 1).half()
    torch.nn.init.constant_(slots.looks[0].weight, 30.0)
    torch.nn.init.constant_(slots.looks[2].weight, 1.0)
    image = -torch.ones(1, 3, 64, 64).half()
    image[:, :, :2, :2] = 1
    assert slots(image, image[:, :1, ::2, ::2]).isfinite().all()


def test_standardised_numbers_have_mean_zero_and_spread_one() -> None:
    torch.manual_seed(0)
    encoder = Restyler((16, 32), num_sets=len(STREAM.sets)).style_encoder
    images = pictures_at(STREAM, 0)[0]
    seen: list[torch.Tensor] = []
    encoder.reader[0].register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    encoder.read(images)
    encoder.standardise(images)
    encoder.read(images)
    assert seen[0].std(0).max() / seen[0].std(0).median() > 2
    varied = encoder.spread > 0.01
    torch.testing.assert_close(seen[1].mean(0), torch.zeros_like(seen[1][0]), atol=1e-2, rtol=0)
    torch.testing.assert_close(seen[1].std(0)[varied], torch.ones(int(varied.sum())), atol=1e-2, rtol=0)


def test_pictures_are_a_function_of_the_step_and_their_labels_hold() -> None:
    images, labels = pictures_at(STREAM, 3)
    again, same = pictures_at(STREAM, 3)
    assert torch.equal(images, again)
    assert not torch.equal(images, pictures_at(STREAM, 4)[0])
    assert np.array_equal(labels.values, same.values)
    assert labels.known.all()
    assert len(set(labels.choices[:, 1].tolist())) > 10


def test_parameters_that_a_style_lacks_weigh_little_and_unknown_readings_nothing() -> None:
    used = np.zeros((2, NUM_VALUES), dtype=bool)
    used[:, :4] = True
    choices = np.zeros((2, 3), dtype=np.int64)
    labels = StyleLabels(choices, np.zeros((2, NUM_VALUES), np.float32), used, np.array([True, False]))

    def values(wrong: int) -> float:
        read = torch.zeros(2, NUM_VALUES)
        read[0, wrong] = 1.0
        read[1] = 5.0
        logits = tuple(torch.zeros(2, number) for number in (9, 23, 5))
        parameters = torch.full((2, 23, VALUES[0]), 7.0), torch.full((2, 5, VALUES[1]), 7.0)
        for given, each in zip(parameters, read.split(VALUES, 1), strict=True):
            given[:, 0] = each  # the true class; what the others would have is not asked
        return float(reading_losses(Reading(logits, parameters, torch.zeros(2, 1)), labels)["values"])

    assert values(0) == 0.25
    assert 0 < values(10) < 0.05


def test_parameters_are_those_of_the_likely_class() -> None:
    sure, torn = torch.tensor([0.0, 50.0, 0.0]), torch.tensor([50.0, 50.0, 0.0])
    of_each = torch.tensor([[0.0], [1.0], [9.0]])
    reading = Reading((torch.zeros(2, 4), torch.stack([sure, torn])), (of_each.expand(2, 3, 1),), torch.zeros(2, 1))
    torch.testing.assert_close(reading.values, torch.tensor([[1.0], [0.5]]))
    assert reading.values_of(torch.tensor([[3, 2], [0, 0]])).tolist() == [[9.0], [0.0]]


def test_reading_is_learned_once_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restyle_reader, "BATCH", 24)

    def learned() -> dict[str, torch.Tensor]:
        torch.manual_seed(0)
        encoder = Restyler((16, 32), num_sets=len(STREAM.sets)).style_encoder
        assert learn_to_read(encoder, STREAM, tmp_path, plan=PLAN).finished
        return dict(encoder.state_dict())

    once = learned()
    lines = MetricsLog(tmp_path / "reader.jsonl").read()
    assert float(lines[-1]["choices"]) < 0.9 * float(lines[0]["choices"])
    again = learned()
    assert all(torch.equal(once[name], again[name]) for name in once)
    assert len(MetricsLog(tmp_path / "reader.jsonl").read()) == len(lines)
