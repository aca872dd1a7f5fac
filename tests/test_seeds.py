"""Seeds are functions of position and do not confuse neighbouring parts."""

from __future__ import annotations

from curate import seeds


def test_parts_are_not_glued_together() -> None:
    assert seeds.digest("ab", "c") != seeds.digest("a", "bc")
    assert seeds.digest("1", 2) == seeds.digest("1", 2)


def test_seed_fits_a_torch_generator_and_uniform_fills_the_unit_interval() -> None:
    drawn = [seeds.seed("x", i) for i in range(1000)]
    assert len(set(drawn)) == 1000 and all(0 <= s < 2**63 for s in drawn)
    spread = [seeds.uniform("x", i) for i in range(1000)]
    assert 0.45 < sum(spread) / 1000 < 0.55 and min(spread) < 0.02 and max(spread) > 0.98
