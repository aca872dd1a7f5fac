"""The report in a real browser: the sliders count what a seal counts, pictures load, nothing complains, no network."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from curate.records import Failure
from curate.report.page import columns as packing
from curate.report.page import later, write_comparison, write_report
from curate.seal import NearDuplicateConfig, RuleConfig, SealReport, seal
from curate.seal.split import LEAK
from curate.store import RunStore
from tests.browser import Watched, launched, needs_chromium
from tests.drawn_run import SCORERS as PLAIN_SCORERS
from tests.drawn_run import make_run, make_unit

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = needs_chromium
ODD = "content </script><b>&\"carries\" it's style: {x}"
RULES = (RuleConfig(column="csd.style.style_stylized", min=0.5),
         RuleConfig(column="csd.style.content_stylized", max=0.8, reason=ODD),
         RuleConfig(column="csd.content.style_stylized", max=0.9, missing="fail"),
         RuleConfig(column="csd.content.content_style", min=0.35, max=0.43, layout="shifted"),
         RuleConfig(column="vlm.parts", max=3, missing="ignore"),
         RuleConfig(column="vlm.style.content_stylized", max=3.3))
SCORERS = (*PLAIN_SCORERS, ("vlm", "f3"))
UNITS = 36
NEXT_FRAME = "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"


def make_cascaded(root: Path) -> RunStore:
    """A judge that saw two thirds of the units and failed on one: pending units, missing numbers, whole numbers."""
    store = make_run(root, num_units=UNITS)
    for block in store.blocks():
        seen = [unit for unit in block.units if unit.index % 3 and unit.index % 10 != 9]
        broken = {unit.unit_id: Failure("vlm", "no digit in the answer") for unit in seen if unit.index == 5}
        rows = {unit.unit_id: {"vlm.style.content_stylized": unit.index % 7 * 0.6, "vlm.parts": unit.index % 5}
                for unit in seen if unit.unit_id not in broken}
        store.commit_scores("vlm", "f3", block, rows, broken)
    return store


def seal_by(store: RunStore, rules: list[RuleConfig]) -> SealReport:
    return seal(store, rules=rules, scorers=SCORERS)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with launched() as found:
        yield found


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> RunStore:
    return make_cascaded(tmp_path_factory.mktemp("runs") / "cascaded")


@pytest.fixture(scope="module")
def report(store: RunStore) -> Path:
    seal_by(store, list(RULES))
    write_report(store.root, store.paths.report / "index.html")
    return store.paths.report / "index.html"


@pytest.fixture(scope="module")
def opened(browser: Browser, report: Path) -> Watched:
    return Watched(browser, report)


@pytest.fixture
def page(opened: Watched) -> Iterator[Page]:
    opened.page.evaluate("reset(); showOnly({})")
    opened.page.wait_for_selector("#changed", state="hidden")
    yield opened.page
    opened.check()


def counts(page: Page) -> dict[str, Any]:
    """What the page says now: by status, and the rejected by reason."""
    page.evaluate(NEXT_FRAME)
    statuses = json.loads(page.get_attribute("#live-kept", "data-counts") or "")
    reasons = page.evaluate("() => Object.fromEntries(tally(verdict).reasons)")
    rejected = {key.partition("\n")[2]: n for key, n in reasons.items() if key.startswith("rejected\n")}
    return dict(zip(("kept", "rejected", "failed", "pending"), statuses, strict=True)) | {"reasons": rejected}


def sealed_counts(report: SealReport) -> dict[str, Any]:
    return {"kept": report.kept, "rejected": sum(report.rejected.values()), "failed": sum(report.failed.values()),
            "pending": report.pending, "reasons": report.rejected}


def rules_in(text: str) -> list[RuleConfig]:
    return [RuleConfig.model_validate_json(json.dumps(rule)) for rule in yaml.safe_load(text)["rules"]]


def move(page: Page, rng: Random) -> None:
    """Random sliders, some rules off, sometimes one more."""
    page.evaluate("reset()")
    if rng.random() < 0.6:
        page.select_option("#add-column", index=rng.randrange(page.locator("#add-column option").count()))
        page.select_option("#add-bound", rng.choice(["min", "max"]))
        page.select_option("#add-layout", rng.choice(["", "preserved", "shifted"]))
        page.evaluate("find('add-rule').requestSubmit()")
    shares = [rng.betavariate(0.7, 0.7) for _ in range(page.locator("#rules input[type=range]").count())]
    page.evaluate("""shares => document.querySelectorAll('#rules input[type=range]').forEach((slider, i) => {
        const low = Number(slider.min), high = Number(slider.max);
        slider.value = low + shares[i] * (high - low);
        slider.dispatchEvent(new Event('input', {bubbles: true}));
    })""", shares)
    if rng.random() < 0.5:  # a bound that is a score: float32 numbers pass it, whatever their decimals
        page.evaluate("""() => {
            const bound = document.querySelector('input[data-rule="2"]').closest('.bound');
            const exact = bound.querySelector('input[type=number]');
            exact.value = 0.4;
            exact.dispatchEvent(new Event('change'));
        }""")
    off = [rng.random() < 0.25 for _ in range(page.locator("#rules input[type=checkbox]").count())]
    page.evaluate("off => document.querySelectorAll('#rules input[type=checkbox]').forEach((box, i) => "
                  "{ if (off[i]) box.click(); })", off)


def test_before_a_slider_moves_the_page_says_what_the_seal_said(page: Page, store: RunStore) -> None:
    sealed = sealed_counts(seal_by(store, list(RULES)))
    assert counts(page) == sealed
    assert all(sealed[status] for status in ("kept", "rejected", "failed", "pending"))
    assert rules_in(page.evaluate("toYaml(rules)")) == list(RULES)


def test_sliders_count_what_a_seal_with_these_rules_gives(page: Page, store: RunStore) -> None:
    rng, seen = Random(5), set()
    for _ in range(20):
        move(page, rng)
        said = counts(page)
        page.evaluate("find('show-yaml').click()")
        rules = rules_in(page.input_value("#yaml-text"))
        page.keyboard.press("Escape")
        assert said == sealed_counts(seal_by(store, rules)), [rule.label for rule in rules]
        seen.add(said["kept"])
    assert len(seen) > 5  # else the sets of rules were all alike


def test_gallery_follows_the_sliders(page: Page) -> None:
    slider = page.locator("#rules input[type=range]").first
    slider.focus()
    before = counts(page)["kept"]
    for _ in range(40):
        page.keyboard.press("PageUp")
    assert counts(page)["kept"] < before
    page.click("#changed-flips")
    chips = page.locator("#cards .chip").all_inner_texts()
    assert len(chips) == before - counts(page)["kept"]
    assert all(chip.startswith("kept → ") for chip in chips)
    page.click("#changed-reset")
    page.wait_for_selector("#changed", state="hidden")
    page.wait_for_function("document.querySelectorAll('#cards .triplet').length === 0")  # nothing flips any more


def test_gallery_filters_sorts_and_searches(page: Page) -> None:
    page.select_option("#by-status", "kept")
    assert set(page.locator("#cards .chip").all_inner_texts()) == {"kept"}
    page.select_option("#by-status", "")
    page.select_option("#by-reason", ODD)
    assert page.locator("#cards .verdict-line").first.inner_text().endswith(ODD)
    page.select_option("#by-reason", "")
    page.select_option("#sort", "csd.style.style_stylized")
    found = page.evaluate("inView.map(t => COLUMNS.get('csd.style.style_stylized').values[t.row])")
    assert found == sorted(found) and len(found) > 20
    page.select_option("#order", "-1")
    assert page.evaluate("inView.map(t => COLUMNS.get('csd.style.style_stylized').values[t.row])") == found[::-1]
    page.locator("#overview").click(position={"x": 5, "y": 5})
    page.keyboard.press("/")
    wanted = page.evaluate("GALLERY[3].id")
    page.keyboard.type(f"number {wanted[:12]}")
    assert page.locator("#cards .triplet").evaluate_all("cards => cards.map(card => card.dataset.id)") == [wanted]


def test_large_view_goes_on_by_keyboard(page: Page) -> None:
    page.locator("#cards .triplet").first.focus()
    page.keyboard.press("Enter")
    first = page.inner_text("#large h3")
    page.keyboard.press("ArrowRight")
    assert page.inner_text("#large h3") != first
    assert page.locator("#large dd").count() == page.evaluate("UNITS.columns.length")
    page.keyboard.press("Escape")
    assert not page.evaluate("find('large').open")


def test_pictures_load_and_plots_are_drawn(page: Page) -> None:
    page.evaluate("find('more').click()")
    page.evaluate("Promise.all([...document.images].map(image => image.decode()))")
    sizes = page.evaluate("[...document.querySelectorAll('#cards img')].map(image => image.naturalWidth)")
    made = page.evaluate("GALLERY.length")
    assert set(sizes) == {64} and len(sizes) == 3 * made == 3 * len([i for i in range(UNITS) if i % 10 != 9])
    page.evaluate("find('scatter').scrollIntoView()")
    page.wait_for_selector("#scatter .scatterlayer .point", state="attached")
    page.evaluate("find('histograms').scrollIntoView()")
    page.wait_for_selector("#histograms .barlayer .point path", state="attached")
    assert page.locator("#rules .shapelayer path").count() >= len(RULES)


@pytest.mark.parametrize(("width", "dark"), [(390, False), (1280, True)])
def test_phone_and_dark(browser: Browser, report: Path, width: int, dark: bool) -> None:
    watched = Watched(browser, report, width=width, dark=dark)
    page = watched.page
    page.evaluate("document.querySelectorAll('main > section').forEach(part => part.scrollIntoView())")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.click("#theme")  # auto -> light
    light = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (paper != light) == dark
    watched.close()


def make_alike(root: Path) -> RunStore:
    """Chains of look-alikes over sources and sides, some of one source; units without a hash, and val units with a
    subject of train."""
    units = [make_unit(i) for i in range(UNITS)]
    for i in (i for i in range(UNITS - 5) if i % 10 in (1, 2, 3)):  # i + 5 looks like i
        units[i + 5] = replace(units[i + 5], inputs={**units[i + 5].inputs, "stylized": units[i].inputs["stylized"]})
    for val, train in ((8, 4), (16, 2), (24, 5)):
        units[val] = replace(units[val], subject=f" Shape {train}")
    store = make_run(root, units=units)
    for block in store.blocks():
        seen = [unit for unit in block.units if unit.index % 10 != 9]
        blind = {unit.unit_id: Failure("twin", "no hash") for unit in seen if unit.index % 7 == 6}
        rows = {unit.unit_id: {"twin.bits": like_others(unit.index) if unit.index != 24 else 1 << 60}
                for unit in seen if unit.unit_id not in blind}
        store.commit_scores("twin", "f4", block, rows, blind)
    return store


def like_others(index: int) -> int:
    """Every fifth unit is of one chain: 0, 1, 11 and 111 in the lowest bits."""
    return (255 << 8 * (1 + index % 5)) + (1 << index // 5 % 4) - 1


def seal_alike(store: RunStore, rules: Sequence[RuleConfig], *, selected: frozenset[str] | None = None) -> SealReport:
    """Look-alikes differ in one bit: of a chain a ~ b ~ c the ends are none."""
    return seal(store, rules=rules, near_duplicates=NearDuplicateConfig(column="twin.bits", max_distance=1),
                scorers=(*PLAIN_SCORERS, ("twin", "f4")), selected=selected)


@pytest.fixture(scope="module")
def alike(tmp_path_factory: pytest.TempPathFactory) -> RunStore:
    return make_alike(tmp_path_factory.mktemp("runs") / "alike")


def test_sliders_find_near_duplicates_and_leaks_as_a_seal_does(browser: Browser, alike: RunStore, tmp_path: Path,
                                                              ) -> None:
    sealed = seal_alike(alike, RULES[:4])
    write_report(alike.root, tmp_path / "r.html")
    watched = Watched(browser, tmp_path / "r.html")
    page, rng, seen = watched.page, Random(6), set()
    assert counts(page) == sealed_counts(sealed)
    assert page.locator("#twins img").count() > 1
    for turn in range(20):
        move(page, rng)
        if turn % 3 == 0:
            page.evaluate("rules.slice(1).forEach(rule => { rule.on = false; }); refresh()")
        said = counts(page)
        page.evaluate("find('show-yaml').click()")
        rules = rules_in(page.input_value("#yaml-text"))
        page.keyboard.press("Escape")
        assert said == sealed_counts(seal_alike(alike, rules)), [rule.label for rule in rules]
        seen.add(tuple(said["reasons"].get(reason, 0) for reason in ("near duplicate", LEAK, "twin.bits missing")))
    assert all(len({row[i] for row in seen}) > 2 for i in range(3))  # else the sets of rules were all alike
    page.evaluate("rules = []; buildRules(); refresh()")
    assert counts(page) == sealed_counts(seal_alike(alike, []))
    assert "Near-duplicates" not in page.inner_text("#live-hint")
    watched.close()


def test_before_the_first_seal_the_page_says_what_it_will_give(browser: Browser, tmp_path: Path) -> None:
    store = make_alike(tmp_path / "run")
    near = {"column": "twin.bits", "max_distance": 1}
    store.update_info({"config": {"rules": [rule.model_dump(mode="json") for rule in RULES[:4]],
                                  "near_duplicates": near}})
    write_report(store.root, tmp_path / "r.html")
    watched = Watched(browser, tmp_path / "r.html")
    assert counts(watched.page) == sealed_counts(seal_alike(store, RULES[:4]))
    watched.close()


def test_what_a_selection_leaves_out_stays_out_whatever_the_rules(browser: Browser, alike: RunStore, tmp_path: Path,
                                                                 ) -> None:
    some = frozenset(unit.unit_id for unit in alike.units() if unit.index % 3)
    seal_alike(alike, RULES[:2], selected=some)
    write_report(alike.root, tmp_path / "r.html")
    watched = Watched(browser, tmp_path / "r.html")
    watched.page.evaluate("rules = []; buildRules(); refresh()")
    said = counts(watched.page)
    assert said == sealed_counts(seal_alike(alike, [], selected=some)) and said["reasons"]["not selected"] > 9
    assert "--ids selected.txt" in watched.page.text_content("#yaml")
    watched.close()


def test_too_many_look_alikes_stay_as_the_seal_found_them(browser: Browser, alike: RunStore, tmp_path: Path,
                                                          monkeypatch: pytest.MonkeyPatch) -> None:
    sealed = seal_alike(alike, RULES[:2])
    monkeypatch.setattr(later, "MAX_LATER_BYTES", 100)
    write_report(alike.root, tmp_path / "r.html")
    watched = Watched(browser, tmp_path / "r.html")
    assert counts(watched.page) == sealed_counts(sealed)
    watched.page.evaluate("rules = []; buildRules(); refresh()")
    assert counts(watched.page)["reasons"] == {reason: n for reason, n in sealed.rejected.items() if reason in (
        "near duplicate", LEAK, "twin.bits missing")}
    assert "stay as the seal found them" in watched.page.inner_text("#live-hint")
    watched.close()


def test_a_sample_says_that_it_is_one(browser: Browser, store: RunStore, tmp_path: Path,
                                      monkeypatch: pytest.MonkeyPatch) -> None:
    sealed = seal_by(store, list(RULES))
    monkeypatch.setattr(packing, "MAX_SCORE_BYTES", 1000)
    write_report(store.root, tmp_path / "r.html")
    watched = Watched(browser, tmp_path / "r.html")
    said = counts(watched.page)
    assert 0 < said["kept"] + said["rejected"] + said["failed"] + said["pending"] < UNITS
    assert watched.page.inner_text("#live-kept") == str(sealed.kept)  # the seal counted all of them
    watched.page.evaluate("rules = []; buildRules(); refresh()")
    counts(watched.page)
    assert watched.page.inner_text("#live-kept").startswith("≈")
    assert "Estimated from" in watched.page.inner_text("#live-hint")
    watched.close()


def test_two_runs_side_by_side(browser: Browser, store: RunStore, tmp_path: Path) -> None:
    other = make_cascaded(tmp_path / "other")
    first = seal_by(store, list(RULES))
    second = seal_by(other, [RuleConfig(column="csd.style.style_stylized", min=0.75)])
    write_comparison(store.root, other.root, tmp_path / "c.html")
    watched = Watched(browser, tmp_path / "c.html")
    page = watched.page
    assert page.locator("h1 b").all_inner_texts() == [str(first.kept), str(second.kept)]
    assert ">= 0.75" in page.inner_text("#config")
    assert page.locator("#flips .triplet").count() > 0
    page.evaluate("Promise.all([...document.images].map(image => image.decode()))")
    watched.close()
