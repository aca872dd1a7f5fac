"""The contact sheet: which units it shows, and that their pixels, not only their frames, are on it."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from curate.errors import StoreError
from curate.report import contact_sheet
from curate.report.card import PICTURE_PX, VERDICT_INK, WIDTH_PX, Card, draw_card, fit, height_px
from curate.report.contact_sheet import BETWEEN_PX, MARGIN_PX, main_scores, score_label, spread
from curate.report.lettering import drawable, font, shorten
from curate.report.units import read_units
from tests.drawn_run import make_run, seal_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("runs") / "demo"
    seal_run(make_run(root, num_units=30))
    return root


def colours(path: Path) -> set[tuple[int, ...]]:
    with Image.open(path) as image:
        counts = image.convert("RGB").getcolors(maxcolors=2**24) or []
    return {colour for n, colour in counts if isinstance(colour, tuple) and n > 200}


def rgb(name: str) -> tuple[int, ...]:
    return Image.new("RGB", (1, 1), name).getpixel((0, 0))  # type: ignore[return-value]


def test_sheet_shows_kept_and_rejected_styles(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "deep" / "sheet.png"
    contact_sheet(run, out, kept=6, rejected=6, columns=3)
    with Image.open(out) as image:
        assert image.width == 2 * MARGIN_PX + 3 * WIDTH_PX + 2 * BETWEEN_PX
        assert image.height > 4 * height_px(6)
    seen = colours(out)
    assert {rgb("#ffcc4d"), rgb("#1f4e8c"), rgb("#ff48b0"), rgb("#888888")} <= seen  # kept styles and plain content
    assert rgb("#111111") in seen  # all of this style were rejected
    assert {rgb(VERDICT_INK["kept"]), rgb(VERDICT_INK["rejected"])} <= seen


def test_sections_can_be_left_out(run: Path, tmp_path: Path) -> None:
    contact_sheet(run, tmp_path / "kept.png", kept=3, rejected=0)
    assert rgb(VERDICT_INK["rejected"]) not in colours(tmp_path / "kept.png")


def test_the_same_run_gives_the_same_bytes(run: Path, tmp_path: Path) -> None:
    contact_sheet(run, tmp_path / "a.png", kept=4, rejected=2)
    contact_sheet(run, tmp_path / "b.png", kept=4, rejected=2)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_unsealed_and_empty_runs_have_a_sheet(tmp_path: Path) -> None:
    make_run(tmp_path / "made", num_units=8)
    contact_sheet(tmp_path / "made", tmp_path / "made.png", kept=4)
    assert rgb("#888888") in colours(tmp_path / "made.png")
    make_run(tmp_path / "empty", num_units=8, num_done=0)
    contact_sheet(tmp_path / "empty", tmp_path / "empty.png")
    with Image.open(tmp_path / "empty.png") as image:
        assert image.height < 150


def test_a_damaged_candidate_is_told(tmp_path: Path) -> None:
    store = make_run(tmp_path / "run", num_units=4)
    tar = store.paths.candidate_tar(store.blocks()[0].block_id)
    tar.write_bytes(bytes(tar.stat().st_size))
    with pytest.raises(StoreError, match="damaged"):
        contact_sheet(tmp_path / "run", tmp_path / "sheet.png")


def test_spread_takes_turns_over_reasons_then_styles() -> None:
    rows = [("leak", "a")] * 50 + [("leak", "b")] * 3 + [("blur", "a")] * 2
    frame = pd.DataFrame({"unit_id": [f"{i:03d}" for i in range(len(rows))], "reason": [r for r, _ in rows],
                          "style": [s for _, s in rows]})
    found = spread(frame, 5, ["reason", "style"])
    assert found["reason"].value_counts().to_dict() == {"leak": 3, "blur": 2}
    assert found.loc[found["reason"] == "leak", "style"].tolist() == ["a", "b", "a"]
    assert spread(frame.sample(frac=1, random_state=1), 5, ["reason", "style"])["unit_id"].tolist() == found[
        "unit_id"].tolist()


def test_ruled_scores_come_first_and_hashes_never(run: Path) -> None:
    names = main_scores(read_units(run))
    assert names[:2] == ["csd.style.style_stylized", "csd.style.content_stylized"]
    assert len(names) == 6 and "phash.bits" not in names


def test_card_has_each_picture_in_its_place() -> None:
    card = Card(unit_id="0123456789abcdef", style="ink", caption="a tent", verdict="kept", scores={"csd": 0.5},
                pictures={"content": Image.new("RGB", (64, 64), "red"), "stylized": Image.new("RGB", (32, 64), "blue")})
    image = draw_card(card)
    assert image.size == (WIDTH_PX, height_px(1))
    assert image.getpixel((WIDTH_PX // 6, 80)) == (255, 0, 0)
    assert image.getpixel((WIDTH_PX * 5 // 6, 80)) == (0, 0, 255)
    assert image.getpixel((WIDTH_PX // 2, 40)) not in ((255, 0, 0), (0, 0, 255))  # the missing style image


def test_the_deciding_score_has_the_colour_of_the_verdict() -> None:
    plain = Card(unit_id="0", style="", caption="", verdict="rejected", scores={"csd": 0.1})
    marked = Card(unit_id="0", style="", caption="", verdict="rejected", scores={"csd": 0.1}, deciding="csd")
    red = rgb(VERDICT_INK["rejected"])

    def count(card: Card) -> int:
        return sum(n for n, colour in draw_card(card).getcolors(2**24) or [] if colour == red)

    assert count(marked) > count(plain)


def test_enlargement_is_crisp_and_reduction_keeps_proportions() -> None:
    checker = Image.new("RGB", (2, 2))
    checker.putpixel((0, 0), (255, 255, 255))
    large = fit(checker, PICTURE_PX)
    assert large.size == (PICTURE_PX, PICTURE_PX)
    assert len(large.getcolors() or []) == 2
    assert fit(Image.new("RGB", (512, 256)), PICTURE_PX).size == (128, 64)
    assert fit(Image.new("RGB", (100, 10)), PICTURE_PX).size == (100, 10)  # 1.28 times would not be crisp
    assert fit(Image.new("RGB", (5000, 1)), PICTURE_PX).size == (128, 1)


def test_text_fits_and_can_be_drawn() -> None:
    assert drawable("café ½ 帐篷") == "cafe 1?2 ??"
    cut = shorten("a very long caption " * 9, 100, font(12))
    assert cut.endswith("...") and font(12).getlength(cut) <= 100
    assert shorten("a tent", 100, font(12)) == "a tent"


def test_score_labels() -> None:
    assert score_label("csd.style.content_stylized") == "csd.style content~stylized"
    assert score_label("vlm.artefacts") == "vlm.artefacts"
