"""Labelling: the page over real HTTP, the terminal, and labels that survive whatever happens to the process."""

from __future__ import annotations

import json
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from PIL import Image

from curate.errors import ConfigError, StoreError
from curate.steer.label_server import LabelServer
from curate.steer.label_terminal import half_blocks, label_in_terminal
from curate.steer.labelling import Labelling
from curate.steer.labels import FAULTS, LabelFile, read_labels
from curate.store import RunStore
from tests.browser import Watched, launched, needs_chromium
from tests.drawn_run import make_run, seal_run


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return make_run(tmp_path / "run", num_units=20).root


@pytest.fixture
def server(run: Path) -> Iterator[LabelServer]:
    with LabelServer(Labelling(run)) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def call(server: LabelServer, path: str, body: Any = None, **headers: str) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(server.url + path, data, {"Content-Type": "application/json", **headers})
    with urllib.request.urlopen(request) as answer:
        content = answer.read()
        return json.loads(content) if answer.headers["Content-Type"] == "application/json" else content


def refused(server: LabelServer, path: str, body: Any = None, **headers: str) -> tuple[int, str]:
    with pytest.raises(urllib.error.HTTPError) as caught:
        call(server, path, body, **headers)
    with caught.value as answer:
        return answer.code, json.loads(answer.read())["error"]


def test_the_page_shows_triplets_and_saves_each_label_at_once(server: LabelServer, run: Path) -> None:
    assert b"<!doctype html>" in call(server, "")
    state = call(server, "state")
    assert state["total"] == 18 and state["faults"] == FAULTS  # two of twenty units have no images
    first = state["unit"]["unit_id"]
    assert call(server, f"picture/{first}/stylized").startswith(b"\x89PNG")
    assert "status" not in state["unit"] and not any("csd" in key for key in state["unit"])  # labelled blindly
    second = call(server, "label", {"unit_id": first, "good": True})["unit"]["unit_id"]
    assert second == state["after"] != first
    assert [tuple(label)[:3] for label in read_labels(run / "labels.parquet")] == [(first, True, "")]
    state = call(server, "label", {"unit_id": second, "good": False, "fault": "leak"})
    assert (state["good"], state["bad"]) == (1, 1)
    frame = pd.read_parquet(run / "labels.parquet")
    assert list(frame["fault"]) == ["", "leak"] and frame["at"].str.endswith("+00:00").all()


@needs_chromium
@pytest.mark.parametrize("width", [1280, 390])
def test_a_person_labels_by_keyboard(server: LabelServer, run: Path, width: int) -> None:
    order = list(Labelling(run).units)

    def labels() -> list[tuple[str, bool, str]]:
        return [tuple(label)[:3] for label in read_labels(run / "labels.parquet")]

    with launched() as browser:
        watched = Watched(browser, server.url, width=width)
        page = watched.page

        def press(key: str, counts: str) -> None:
            page.keyboard.press(key)
            page.wait_for_selector(f"#counts:text-is('{counts}')")

        page.wait_for_selector("#verdicts button")
        press("g", "1 of 18 labelled: 1 good, 0 bad")
        press("3", "2 of 18 labelled: 1 good, 1 bad")
        assert labels() == [(order[0], True, ""), (order[1], False, "residue")]
        press("u", "1 of 18 labelled: 1 good, 0 bad")
        assert labels() == [(order[0], True, "")]
        press("n", "1 of 18 labelled: 1 good, 0 bad, 1 skipped")
        page.wait_for_selector(f"#stylized[src*='{order[2]}']")
        page.click("#verdicts button:nth-child(6)")
        page.wait_for_selector("#counts:text-is('2 of 18 labelled: 1 good, 1 bad, 1 skipped')")
        assert labels() == [(order[0], True, ""), (order[2], False, "artefact")]
        page.evaluate("Promise.all([...document.images].map(image => image.decode()))")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        watched.close()


def test_undo_brings_the_last_one_back_and_a_new_session_goes_on(server: LabelServer, run: Path) -> None:
    order = list(Labelling(run).units)
    for unit_id in order[:3]:
        call(server, "label", {"unit_id": unit_id, "good": True})
    assert call(server, "undo", {})["unit"]["unit_id"] == order[2]
    assert call(server, "skip", {"unit_id": order[2]})["unit"]["unit_id"] == order[3]
    again = Labelling(run)
    assert again.state()["unit"]["unit_id"] == order[2] and again.state()["good"] == 2  # skipped is not for ever
    again.undo()
    again.undo()
    again.undo()
    assert again.state()["good"] == 0 and again.state()["unit"]["unit_id"] == order[0]


def test_the_last_label_of_a_unit_counts_and_undo_gives_the_former_back(run: Path) -> None:
    session = Labelling(run)
    unit_id = next(iter(session.units))
    session.label(unit_id, good=True)
    session.label(unit_id, good=False, fault="style")
    assert (session.state()["good"], session.state()["bad"]) == (0, 1)
    session.undo()
    assert (session.state()["good"], session.state()["bad"]) == (1, 0)


def test_the_end_is_said(run: Path) -> None:
    session = Labelling(run)
    for unit_id in session.units:
        session.label(unit_id, good=False, fault="artefact")
    assert session.state()["unit"] is None and session.state()["bad"] == 18


def test_foreign_pages_and_nonsense_are_refused(server: LabelServer, run: Path) -> None:
    unit_id = call(server, "state")["unit"]["unit_id"]
    good = {"unit_id": unit_id, "good": True}
    assert refused(server, "state", Host="evil.example")[0] == 403
    assert refused(server, "label", good, Origin="http://evil.example")[0] == 403
    assert refused(server, "label", good, **{"Content-Type": "text/plain"})[0] == 400
    assert refused(server, "label", ["no", "object"])[0] == 400
    assert "no triplet 'x'" in refused(server, "label", {"unit_id": "x", "good": True})[1]
    assert "not 'ugly'" in refused(server, "label", {"unit_id": unit_id, "good": False, "fault": "ugly"})[1]
    assert "not ''" in refused(server, "label", {"unit_id": unit_id, "good": "yes"})[1]
    assert refused(server, f"picture/{unit_id}/..")[0] == 400 and refused(server, "etc/passwd")[0] == 404
    assert not (run / "labels.parquet").exists()
    assert call(server, "label", good, Origin=server.url.rstrip("/"))["good"] == 1


def test_a_taken_port_and_an_empty_run_are_said(server: LabelServer, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"--port {server.server_port}"):
        LabelServer(server.session, server.server_port)
    with pytest.raises(StoreError, match="no triplet is made yet"):
        Labelling(make_run(tmp_path / "empty", num_units=4, num_done=0).root)


def test_terminal(run: Path) -> None:
    session = Labelling(run)
    order = list(session.units)
    answers = iter(["g", "3", "?", "u", "n", "q"])
    said: list[str] = []
    label_in_terminal(session, ask=lambda prompt: next(answers), say=said.append)
    assert [tuple(label)[:3] for label in LabelFile(run / "labels.parquet").all()] == [(order[0], True, "")]
    assert sum("bad: the content still carries" in text for text in said) == 2  # the legend, and again after "?"
    assert any("\u2580" in text for text in said)


def test_half_blocks_show_two_pixels_a_character() -> None:
    picture = Image.new("RGB", (2, 2), "red")
    picture.paste("blue", (0, 1, 2, 2))
    assert half_blocks([picture], 2) == "\x1b[38;2;255;0;0m\x1b[48;2;0;0;255m\u2580" * 2 + "\x1b[0m  \n"


def test_a_file_that_holds_no_labels_is_refused(run: Path) -> None:
    seal_run(RunStore.open(run))
    with pytest.raises(ConfigError, match="needs the columns unit_id, good"):
        read_labels(run / "shards" / "index.parquet")
    (run / "labels.parquet").write_bytes(b"no parquet")
    with pytest.raises(ConfigError, match="no label file"):
        Labelling(run).state()
