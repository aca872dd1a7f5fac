"""`curate plan`: sizes from headers, placement and balance by a pilot's figures, a real pilot, and runs with a goal."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import product
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import save_file

from curate.config import ResourcesConfig
from curate.engine.pools import fit_pools, make_pools, packs
from curate.engine.steps import Step
from curate.errors import ConfigError, EngineError, ModelError
from curate.interfaces import Resources
from curate.progress import pace as pace_of
from curate.run.command import run_config
from curate.run.config import RunConfig, load_config
from curate.run.crowding import crowded
from curate.run.forecast import wilson
from curate.run.pilot import PilotFigures, StageFigures, read_pilot, subject_of
from curate.run.placement import placed
from curate.run.plan_command import plan_config
from curate.run.stages import make_stages
from curate.run.weights import model_sizes, num_parameters
from curate.seal import verify
from curate.seeds import uniform
from curate.store import RunStore
from filters.csd import CsdScorer
from tests.test_engine_pools import Idle
from tests.test_run import index, small_config


def pools_of(*needs: Resources) -> list:  # type: ignore[type-arg]
    steps: list[Step] = [Idle(name, need) for name, need in zip("abcdef", needs, strict=False)]
    return make_pools(steps, range(len(steps)), fuse=True)


def test_weights_are_counted_in_the_dtype_that_is_loaded(tmp_path: Path) -> None:
    for folder, name, shape in (("unet", "model.safetensors", (10, 7)), ("unet", "model.fp16.safetensors", (10, 7)),
                                ("vae", "part.safetensors", (3,))):
        (tmp_path / folder).mkdir(exist_ok=True)
        save_file({"w": torch.zeros(shape)}, tmp_path / folder / name)
    (found,) = model_sizes(CsdScorer(model=str(tmp_path), dtype="bfloat16"))
    assert found.loaded_bytes == 2 * (70 + 3)


def test_a_damaged_header_is_a_model_error(tmp_path: Path) -> None:
    (tmp_path / "x.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0{not json")
    with pytest.raises(ModelError, match=r"x\.safetensors: not a safetensors file"):
        num_parameters(tmp_path / "x.safetensors")


def test_shares_lie_on_one_gpu_each() -> None:
    three = pools_of(Resources(gpus=0.6, replicas=3))
    assert not packs(three, [3], 2) and packs(three, [3], 3)
    with pytest.raises(EngineError, match=r"do not fit on 2 gpus, because no worker is spread over two \(a 3 x 0\.6\)"):
        fit_pools(three, cpus=9, gpus=2, num_jobs=9)
    assert packs(pools_of(Resources(gpus=0.7), Resources(gpus=0.3)), [2, 2], 2)
    assert not packs(pools_of(Resources(gpus=0.3), Resources(gpus=0.7)), [2, 2], 2)  # both small ones share the first
    assert not packs(pools_of(Resources(gpus=0.3), Resources(gpus=1)), [1, 2], 2)


def test_a_pilot_puts_the_workers_where_the_work_is() -> None:
    """No other number of workers that fits is quicker."""
    pools = pools_of(Resources(gpus=1), Resources(gpus=0.5), Resources(cpus=2))
    for i in range(20):
        costs = [0.1 + uniform("balance", i, name) * 9 for name in "abc"]
        counts = fit_pools(pools, cpus=20, gpus=4, num_jobs=99, demand=dict(zip("abc", costs, strict=True)))

        def slowest(counts: Sequence[int], costs: list[float] = costs) -> float:
            return max(cost / n for cost, n in zip(costs, counts, strict=True))

        fitting = [c for c in product(range(1, 5), range(1, 9), range(1, 11))
                   if c[0] + c[1] / 2 <= 4 and c[0] + c[1] + 2 * c[2] <= 20]
        assert slowest(counts) == pytest.approx(min(slowest(c) for c in fitting)) and tuple(counts) in fitting


def test_a_range_starts_at_its_least_and_nonsense_is_refused() -> None:
    assert fit_pools(pools_of(Resources(1, 0.0, 2, 9)), cpus=4, gpus=0, num_jobs=99) == [2]
    for wrong in ((3, 2), (0, 2)):
        with pytest.raises(ValueError, match="1 <= min <= max"):
            ResourcesConfig(replicas=wrong)


def figures(**memory_gb: float) -> PilotFigures:
    stages = {name: StageFigures(seconds_per_unit=1.0, memory=int(gb * 2**30), gpus=1.0)
              for name, gb in memory_gb.items()}
    return PilotFigures(of="", units=1, kept=1, rejected=0, failed=0, stages=stages, startup_s=0.0,
                        candidate_bytes_per_unit=1.0, shard_bytes_per_kept=1.0)


def config_with(tmp_path: Path, *overrides: str) -> RunConfig:
    return load_config(small_config(tmp_path), overrides)


def test_stages_share_a_gpu_by_measured_memory(tmp_path: Path) -> None:
    config = config_with(tmp_path, "experts.stylize.resources.gpus=auto", "scorers.csd.resources.gpus=auto",
                         "cluster.gpus=2", "cluster.gpu_memory_gb=24")

    def gpus_of(config: RunConfig) -> tuple[object, object]:
        return config.experts["stylize"].resources.gpus, config.scorers["csd"].resources.gpus  # type: ignore[attr-defined]

    assert gpus_of(placed(config, figures(stylize=15.0, csd=4.0))) == (1.0, 0.22)
    assert gpus_of(placed(config, None)) == (1.0, 1.0)
    alone = config.model_copy(update={"cluster": config.cluster.model_copy(update={"gpus": 0})})
    assert gpus_of(placed(alone, figures(stylize=15.0, csd=4.0))) == (0.0, 0.0)
    with pytest.raises(ConfigError, match=r"resources\.gpus of csd is auto, and the pilot did not run it on a GPU"):
        placed(config, figures(stylize=15.0))


CROWDED = ("experts.stylize.resources.gpus=0.5", "experts.destylize.resources.gpus=0.5",
           "scorers.csd.resources.gpus=0.3", "cluster.gpus=1", "cluster.cpus=8")


def test_more_on_a_gpu_than_it_has_is_warned_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Shares add up to 0.8, the pilot's memory to more than the card: experts 15 GiB in one worker, CSD 10."""
    config = config_with(tmp_path, *CROWDED, "cluster.gpu_memory_gb=24")
    steps = make_stages(config)
    heavy = figures(destylize=15.0, stylize=14.0, csd=10.0)
    (warning,) = crowded(config, heavy, steps)
    assert warning.startswith("warning: 1 GPU(s) of 24 GiB would hold 26.2 GiB by the pilot (destylize+stylize 15.6")
    assert crowded(config, figures(destylize=15.0, stylize=15.0, csd=7.0), steps) == []
    roomy = config_with(tmp_path, *CROWDED, "cluster.gpu_memory_gb=48")
    assert crowded(roomy, heavy, steps) == [] and crowded(config_with(tmp_path, *CROWDED), heavy, steps) == []
    pilot = tmp_path / "pilot.json"
    pilot.write_text(heavy.model_copy(update={"of": subject_of(config)}).model_dump_json())
    overrides = (*CROWDED, "cluster.gpu_memory_gb=24", f"cluster.pilot={pilot}")
    assert run_config(tmp_path / "config.yaml", overrides, dry_run=True, retry_failed=False) == 0
    assert warning in capsys.readouterr().err


def test_wilson_s_interval() -> None:
    """Wilson 1927; 8 of 10 by the closed form: (p + z²/2n ± z √(p(1-p)/n + z²/4n²)) / (1 + z²/n)."""
    interval = wilson(8, 10)
    assert (interval.low, interval.high) == pytest.approx((0.4902, 0.9433), abs=1e-4)
    assert wilson(0, 0).high == 1.0


@pytest.fixture(scope="module")
def piloted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A config with its pilot of 6 units."""
    folder = tmp_path_factory.mktemp("piloted")
    config = small_config(folder, rules=[{"column": "csd.style.style_stylized", "min": 0.5}])
    assert plan_config(config, (), 6) == 0
    return config


def test_a_pilot_measures_every_stage_and_leaves_the_run_alone(piloted: Path) -> None:
    found = read_pilot(piloted.parent / "run.pilot" / "pilot.json")
    assert set(found.stages) == {"input", "destylize", "stylize", "phash", "csd"} and found.decided == found.units == 6
    assert all(stage.memory > 2**20 for stage in found.stages.values())
    assert 0 < found.demand["phash"] < found.demand["stylize"]
    assert verify(piloted.parent / "run.pilot") == [] and not (piloted.parent / "run").exists()


def test_the_forecast_scales_with_the_cluster_and_prices_it(piloted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def rate(cpus: int) -> float:
        plan_config(piloted, (f"cluster.cpus={cpus}", "until.kept=500"), None)
        text = capsys.readouterr().out
        assert "yield" in text and "Time to 500 kept" in text and "give more sources" in text
        return float(text.split("Throughput: ")[1].split("/s")[0])

    assert rate(64) == pytest.approx(8 * rate(8), rel=0.1)
    plan_config(piloted, ("cluster.gpus=4", "cluster.cpus=64", "cluster.price_per_gpu_hour=2",
                          "experts.stylize.resources.gpus=0.5"), None)
    text = capsys.readouterr().out

    def number(line: str) -> float:
        return float(text.split(line + ": ")[1].split(" ")[0])

    assert number("Cost per 1,000 kept") == pytest.approx(2 * number("GPU-hours per 1,000 kept"), rel=0.02)
    plan_config(piloted, ("seed=0", "fit=crop"), None)
    said = capsys.readouterr()
    assert "is of another config" in said.err and "yield and cost: unknown" in said.out


def test_every_stage_of_a_shared_worker_has_its_line(piloted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan_config(piloted, (), None)
    lines = re.findall(r"^      (\w+): (\S+) alone, (\d+)% of the worker's time$", capsys.readouterr().out, re.M)
    found = read_pilot(piloted.parent / "run.pilot" / "pilot.json")
    assert {name for name, *_ in lines} == set(found.stages), "one worker does everything here"
    assert sum(int(share) for *_, share in lines) == pytest.approx(100, abs=3)
    stylize = next(pace for name, pace, _ in lines if name == "stylize")
    assert stylize == pace_of(1 / found.demand["stylize"])


def test_a_run_is_not_placed_by_the_pilot_of_another_config(piloted: Path) -> None:
    pilot = piloted.parent / "run.pilot" / "pilot.json"

    def run(*overrides: str) -> int:
        return run_config(piloted, (f"cluster.pilot={pilot}", *overrides), dry_run=True, retry_failed=False)

    assert run() == 0
    for other in ("fit=crop", "experts.stylize.steps=3", "rules=[]"):
        with pytest.raises(ConfigError, match=r"cluster\.pilot: \S+pilot\.json is of another config .*--pilot N"):
            run(other)


def test_a_pilot_under_other_rules_makes_nothing_anew_and_then_fits(piloted: Path) -> None:
    """What did not run again keeps its seconds; what rules decide is counted again."""
    file = piloted.parent / "run.pilot" / "pilot.json"
    before, strict = read_pilot(file), "rules=[{column: csd.style.style_stylized, min: 2.0}]"
    assert plan_config(piloted, (strict,), 6) == 0
    after = read_pilot(file)
    assert after.stages == before.stages and after.startup_s == before.startup_s
    assert after.rejected == 6 and after.kept == 0 < before.kept
    assert run_config(piloted, (strict, f"cluster.pilot={file}"), dry_run=True, retry_failed=False) == 0
    plan_config(piloted, ("scorers.colour.kind=colour",), 6)
    scored = read_pilot(file)
    assert {name: scored.stages[name] for name in before.stages} == before.stages
    assert 0 < scored.demand["colour"] < scored.demand["stylize"]
    assert plan_config(piloted, (), 6) == 0
    assert read_pilot(file).stages == before.stages and read_pilot(file).kept == before.kept


def test_a_run_stops_at_its_goal_and_goes_on_with_a_larger_one(tmp_path: Path, capsys: pytest.CaptureFixture[str],
                                                               ) -> None:
    config = small_config(tmp_path, block=2)
    assert run_config(config, ("until.kept=4",), dry_run=False, retry_failed=False) == 0
    assert "until.kept: 4 triplets are kept (goal 4): enough" in capsys.readouterr().err
    assert dict(index(tmp_path)["status"].value_counts()) == {"pending": 8, "kept": 4}
    before = set(RunStore.open(tmp_path / "run").committed())
    run_config(config, ("until.kept=3",), dry_run=False, retry_failed=False)
    assert set(RunStore.open(tmp_path / "run").committed()) == before and verify(tmp_path / "run") == []
    assert run_config(config, (), dry_run=False, retry_failed=False) == 0
    assert dict(index(tmp_path)["status"].value_counts()) == {"kept": 12}


def test_a_goal_that_no_stage_can_reach_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"until\.gpu_hours: no stage holds a GPU"):
        run_config(small_config(tmp_path), ("until.gpu_hours=1",), dry_run=False, retry_failed=False)


def test_a_pilot_file_that_is_none_says_so(tmp_path: Path) -> None:
    (tmp_path / "pilot.json").write_text(yaml.safe_dump({"units": 3}))
    for place, says in (("pilot.json", "not a pilot of this version"), ("absent.json", "No such file")):
        with pytest.raises(ConfigError, match=says):
            run_config(small_config(tmp_path), (f"cluster.pilot={tmp_path / place}",), dry_run=True, retry_failed=False)
