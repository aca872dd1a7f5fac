"""One suite for both engines: equal bytes, one bad unit is one bad row, stopping, resuming, the cascade."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from zlib import crc32

import pytest
from PIL import Image

from curate.config import ResourcesConfig
from curate.engine import BlockReport, EngineConfig, EngineReport, ScoreStep, StopFlag, execute
from curate.errors import EngineError, ModelError
from curate.interfaces import ExpertRequest
from filters.vlm import ServerConfig, VlmScorer
from tests.engine_parts import (
    BlendExpert,
    ConvExpert,
    SkipBelow,
    ToneScorer,
    count,
    failures,
    image_hashes,
    make_steps,
    make_store,
    on_cpus,
    scores,
    whole,
)
from tests.judge_server import MODEL, Call, serving


@pytest.fixture(scope="session")
def shared_ray() -> Iterator[None]:
    """One Ray for all tests: starting it takes longer than any of them."""
    from curate.engine.ray_session import RaySession

    session = RaySession(EngineConfig(kind="ray", cpus=3), gpus=0)
    yield
    session.close()


LOCAL = EngineConfig()
"""For what comes before or after the pass that a test is about: a pass of Ray's costs seconds."""


@pytest.fixture(params=["local", "ray"])
def engine(request: pytest.FixtureRequest) -> EngineConfig:
    if request.param == "ray":
        request.getfixturevalue("shared_ray")
    return EngineConfig(kind=request.param, block_attempts=1, unit_attempts=2)


@pytest.fixture(scope="session")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An undisturbed local run of 12 units in blocks of 4."""
    root = tmp_path_factory.mktemp("reference") / "run"
    execute(make_store(root), make_steps(), LOCAL)
    return root


def test_a_run_is_whole_and_reported(tmp_path: Path, engine: EngineConfig, reference: Path) -> None:
    blocks: list[BlockReport] = []
    free = ResourcesConfig()  # as many workers as fit
    steps = make_steps(BlendExpert(resources=free), ScoreStep("tone", ToneScorer(resources=free), "f1"))
    report = execute(make_store(tmp_path / "run"), steps, engine, on_progress=blocks.append)
    assert whole(tmp_path / "run") == whole(reference)
    assert {b.index for b in blocks} == {0, 1, 2} and all(b.made == 4 and b.scored == {"tone": 4} for b in blocks)
    assert (report.blocks, report.made, report.failed, report.stopped) == (3, 12, 0, False)
    assert {name: total.images for name, total in report.stages.items()} == {
        "input": 12, "destylize": 12, "stylize": 12, "tone": 12}
    assert report.work_s > 0 and report.startup_s > 0
    assert report.replicas == ({} if engine.kind == "local" else {"input+destylize+stylize+tone": 3})


def test_a_finished_run_starts_nothing(reference: Path, engine: EngineConfig) -> None:
    assert execute(make_store(reference), make_steps(BlendExpert(broken=True)), engine) == EngineReport(engine.kind)


def test_torch_gives_equal_bytes_in_both_engines(tmp_path: Path, shared_ray: None) -> None:
    """Experts on two threads, the scorer on one: two pools in Ray."""
    steps = make_steps(ConvExpert(resources=on_cpus(2)))
    execute(make_store(tmp_path / "local"), steps, LOCAL)
    report = execute(make_store(tmp_path / "ray"), steps, EngineConfig(kind="ray"))
    assert report.replicas == {"input+destylize+stylize": 1, "tone": 1}
    assert whole(tmp_path / "local") == whole(tmp_path / "ray")


def test_a_stage_computes_with_its_own_threads(tmp_path: Path) -> None:
    import torch

    torch.set_num_threads(2)
    seen = []
    execute(make_store(tmp_path / "run", 4), make_steps(ConvExpert(resources=on_cpus(2))), LOCAL,
            on_progress=lambda block: seen.append(torch.get_num_threads()))
    assert seen == [1]  # the scorer, which comes last, has one CPU
    assert torch.get_num_threads() == 2  # the caller's own work goes on as before


def test_a_raising_unit_is_a_row_and_its_mates_stay(tmp_path: Path, engine: EngineConfig, reference: Path) -> None:
    store = make_store(tmp_path / "run", unreadable=[9])
    tone = ScoreStep("tone", ToneScorer(raises=("unit 3",)), "f1")
    steps = make_steps(BlendExpert(raises=("unit 1", "other 2")), tone)
    report = execute(store, steps, engine)
    assert failures(store) == {1: ("destylize", "RuntimeError: cannot draw unit 1"),
                               2: ("stylize", "RuntimeError: cannot draw other 2"),
                               9: ("input", "stylized: unreadable: cannot be read: no such file")}
    expected = image_hashes(make_store(reference))
    assert image_hashes(store) == {i: expected[i] for i in range(12) if i not in (1, 2, 9)}
    rows = scores(store)
    assert rows.pop(3)["error"] == "ValueError: no opinion"
    assert rows == {i: row for i, row in scores(make_store(reference)).items() if i not in (1, 2, 3, 9)}
    assert (report.made, report.failed) == (9, 3)


class Small(BlendExpert):
    """Draws the first picture of a block at half the size."""

    def _make(self, requests: Sequence[ExpertRequest]) -> list[Image.Image]:
        return [image if i % 4 else image.resize((8, 8)) for i, image in enumerate(super()._make(requests))]


def test_a_picture_of_another_size_is_a_failed_unit_that_says_what_to_do(tmp_path: Path) -> None:
    store = make_store(tmp_path / "run", 4)
    execute(store, make_steps(Small()), EngineConfig(kind="local"))
    ledger = store.ledger().sort_index()
    first = store.units()[0].unit_id
    assert ledger.drop(first)["status"].eq("made").all()
    row = ledger.loc[first]
    assert (row["status"], row["stage"]) == ("failed", "destylize")
    assert row["reason"].startswith("blend drew 8 x 8 px where the run's pictures are 16 x 16 px (size): set the run's")


def test_what_a_scorer_says_of_a_unit_stands_beside_its_numbers(tmp_path: Path, engine: EngineConfig, reference: Path,
                                                                ) -> None:
    store = make_store(tmp_path / "run")
    execute(store, make_steps(None, ScoreStep("tone", ToneScorer(mute=("unit 3",)), "f1")), engine)
    rows, expected = scores(store), scores(make_store(reference))
    assert rows.pop(3) == {**expected.pop(3), "error": "silent\nit said: hm"}
    assert rows == expected and failures(store) == {}
    execute(store, make_steps(), engine, retry_failed=True)
    assert scores(store)[3]["error"] == ""


def test_every_unit_judged_by_a_bad_server_ends_with_a_score_or_an_error(tmp_path: Path, engine: EngineConfig) -> None:
    """The bound on open requests is the workers' together."""
    moods: list[Callable[[Call], None]] = [
        lambda call: call.say("3", {"3": -0.1}), lambda call: call.say("2"), lambda call: call.say("hm"), Call.drop,
        lambda call: call.send(500, "{}")]
    with serving(lambda call: moods[crc32(call.images[0].encode()) % len(moods)](call)) as server:
        judge = VlmScorer(model=MODEL, server=ServerConfig(url=server.url, concurrency=2, retries=0), attempts=2,
                          resources=ResourcesConfig(replicas=2))
        store = make_store(tmp_path / "run")
        execute(store, make_steps(None, ScoreStep("vlm", judge, "f1")), engine)
    assert failures(store) == {} and server.most_open <= 4
    rows = scores(store, "vlm")
    assert len(rows) == 12
    for row in rows.values():
        numbers = [value for column, value in row.items() if column != "error"]
        assert len(numbers) == 4
        assert (row["error"] == "") == all(0 <= value <= 4 for value in numbers)  # type: ignore[operator]
    told = " ".join(str(row["error"]) for row in rows.values())
    assert "\nthe judge said: hm" in told and "InternalServerError" in told and "APIConnectionError" in told
    assert any(row["error"] == "" for row in rows.values())


def test_failed_units_can_be_tried_again(tmp_path: Path, engine: EngineConfig, reference: Path) -> None:
    store = make_store(tmp_path / "run")
    execute(store, make_steps(BlendExpert(raises=("unit 1",))), LOCAL)
    assert execute(store, make_steps(), engine).blocks == 0
    report = execute(store, make_steps(), engine, retry_failed=True)
    assert (report.blocks, report.made) == (1, 1)
    assert image_hashes(store) == image_hashes(make_store(reference)) and failures(store) == {}
    assert scores(store) == scores(make_store(reference))


def test_new_scorers_run_over_old_candidates_without_experts(tmp_path: Path, engine: EngineConfig) -> None:
    log = tmp_path / "calls"
    store = make_store(tmp_path / "run")
    execute(store, make_steps(BlendExpert(log=str(log))), LOCAL)
    calls, loads = count(log, "call"), count(log, "load")
    assert calls == 6
    report = execute(store, make_steps(BlendExpert(log=str(log)), ScoreStep("tone", ToneScorer(), "f2")), engine)
    assert (count(log, "call"), count(log, "load")) == (calls, loads)
    assert report.made == 0 and report.stages["tone"].images == 12
    assert scores(store, fingerprint="f2") == scores(store)


def test_the_cascade_spares_units_and_fills_in_later(tmp_path: Path, engine: EngineConfig) -> None:
    tone, dear = ToneScorer(), ToneScorer(prefix="dear")
    looser = make_steps(None, ScoreStep("tone", tone, "f1"), ScoreStep("dear", dear, "f1"))
    every = make_store(tmp_path / "all")
    execute(every, looser, LOCAL)
    differences = {i: float(row["tone.difference"]) for i, row in scores(every).items()}  # type: ignore[arg-type]
    limit = sorted(differences.values())[5]
    skip = SkipBelow("tone.difference", limit)
    store = make_store(tmp_path / "run")
    steps = make_steps(None, ScoreStep("tone", tone, "f1"), ScoreStep("dear", dear, "f1", skip))
    execute(store, steps, engine)
    spared = {i for i, difference in differences.items() if difference < limit}
    assert len(spared) == 5 and scores(store, "dear").keys() == set(range(12)) - spared
    assert execute(store, steps, engine).blocks == 0
    report = execute(store, looser, engine)
    assert report.stages["dear"].images == 5 and "tone" not in report.stages
    assert scores(store, "dear") == scores(every, "dear")  # the same slots of the same batch: equal numbers


def test_a_stop_keeps_what_is_finished_and_can_be_resumed(tmp_path: Path, engine: EngineConfig) -> None:
    """In Ray with three pools: a block on its way between them is committed first."""
    engine = engine.model_copy(update={"fuse": False})
    store = make_store(tmp_path / "run", 240)
    stop = StopFlag()
    asked: list[float] = []

    def stop_at_once(block: BlockReport) -> None:
        asked.append(time.monotonic())
        stop.request()

    report = execute(store, make_steps(BlendExpert(sleep_s=0.05)), engine, on_progress=stop_at_once, stop=stop)
    assert time.monotonic() - asked[0] < 10
    committed = image_hashes(store)
    assert report.stopped and 1 <= report.blocks < 40 and 4 * report.blocks <= len(committed) < 160
    rest = execute(store, make_steps(), LOCAL)
    assert not rest.stopped and len(image_hashes(store)) == 240 and len(scores(store)) == 240
    assert rest.made == 240 - len(committed)


def test_a_model_that_does_not_load_ends_the_run(tmp_path: Path, engine: EngineConfig) -> None:
    with pytest.raises(ModelError, match="no such model"):
        execute(make_store(tmp_path / "run"), make_steps(BlendExpert(broken=True)), engine)


def test_a_scorer_that_breaks_its_promise_ends_the_run(tmp_path: Path, engine: EngineConfig) -> None:
    store = make_store(tmp_path / "run")
    with pytest.raises(ModelError, match="scorer tone: gave columns"):
        execute(store, make_steps(None, ScoreStep("tone", ToneScorer(promises=("difference",)), "f1")), engine)
    assert len(scores(store)) == 0
    execute(store, make_steps(), LOCAL)
    assert len(scores(store)) == 12


def test_a_stage_that_cannot_fit_is_refused_at_once(tmp_path: Path, shared_ray: None) -> None:
    begun = time.monotonic()
    with pytest.raises(EngineError, match=r"wants 64 cpus and there are 3: lower its resources\.cpus"):
        execute(make_store(tmp_path / "run"), make_steps(BlendExpert(resources=on_cpus(64))), EngineConfig(kind="ray"))
    assert time.monotonic() - begun < 5
