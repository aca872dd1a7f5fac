"""The whole pipeline at full size on one GPU: `python benchmarks/full_size.py [--units 16] [--toy]`.

Random weights at the true geometry (see full_size_models.py) go through the stages of a run on the local engine:
inputs, destylize and stylize by FLUX.2 klein 4B, CSD and DINOv2 at ViT-L, Qwen3-VL 2B as judge, PNGs and ledger on
disk. Beside it the same pictures by a bare loop over the diffusers pipeline, whose inputs are decoded already and whose
results are thrown away; both read a prompt once. Prints a table: images/s, ratio (bare seconds
/ seconds of our two expert stages), share of the time that the GPU worked (NVML, every 0.1 s), peak memory. `--toy`
does it with tiny networks, on a CPU too: that shows that it runs, and no speed.

Ray is not needed, nor weights: torch, transformers, diffusers, pydantic, open_clip and what curate's store needs.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from full_size_models import TOY, TRUE, Geometry, judge, klein, vit_folders
from PIL import Image
from simulated import BlankSource, sleeping_units

from curate.config import parse
from curate.engine import EngineConfig, EngineReport, ExpertStep, ReadInputs, ScoreStep, Step, execute
from curate.interfaces import Score
from curate.records import ExpertCall
from curate.seeds import seed
from curate.store import RunStore
from filters.csd import CsdScorer
from filters.dino import DinoScorer
from filters.judging import RubricScore
from filters.vlm import VlmScorer
from filters.vlm_local import LocalJudge
from pipelines.diffusers_expert import DiffusersExpert
from pipelines.editors.loading import LOADED, loading_key

CALLS = (ExpertCall("content", "destylize", "stylized", None, "caption"),
         ExpertCall("style", "stylize", "subject", "stylized", "style_caption"))
WARM_UP = 1  # blocks


@dataclass(frozen=True)
class OnDevice:
    """A config whose model is loaded onto ``device``, whatever the local engine would choose."""

    config: Any
    device: str

    @property
    def kind(self) -> str:
        return str(self.config.kind)

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(self.config.columns)

    def identity(self) -> dict[str, object]:
        return dict(self.config.identity())

    def load(self, device: Literal["cpu", "cuda"]) -> Any:
        return self.config.load(self.device)


class BuiltJudge(VlmScorer):
    """The judge with a network that is here already."""

    def load(self, device: str) -> Score:
        return RubricScore(self.rubric, LocalJudge(*JUDGE, min_mass=self.min_mass, attempts=self.attempts,
                                                   max_new_tokens=self.max_new_tokens), together=False)


JUDGE: list[Any] = []


@dataclass
class Busy:
    """Samples of the GPU's utilisation, in percent of the last sampling period."""

    samples: list[float] = field(default_factory=list)

    @property
    def fraction(self) -> float | None:
        return sum(self.samples) / len(self.samples) / 100 if self.samples else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--units", type=int, default=16)
    parser.add_argument("--block", type=int, default=8)
    parser.add_argument("--toy", action="store_true")
    arguments = parser.parse_args()
    device, size = "cuda" if torch.cuda.is_available() else "cpu", TOY if arguments.toy else TRUE
    torch.manual_seed(0)
    pipeline = klein(size, device)
    JUDGE.extend(judge(size, device))
    billions = {"editor": pipeline.transformer, "text encoder": pipeline.text_encoder, "judge": JUDGE[1]}
    print(torch.cuda.get_device_name() if device == "cuda" else "CPU", "toy" if arguments.toy else "true geometry",
          {name: f"{sum(p.numel() for p in part.parameters()) / 1e9:.2f}e9" for name, part in billions.items()})
    with tempfile.TemporaryDirectory() as folder:
        steps = stages(size, device, Path(folder), pipeline)
        run(Path(folder, "warm"), WARM_UP * arguments.block, arguments.block, steps)
        if device == "cuda":
            torch.cuda.reset_peak_memory_stats()
        with watching(device) as busy:
            report = run(Path(folder, "run"), arguments.units, arguments.block, steps)
        with watching(device) as bare_busy:
            bare_s = bare(pipeline, steps, Path(folder, "run"))
    tell(report, bare_s, busy, bare_busy, device)


def stages(size: Geometry, device: str, folder: Path, pipeline: Any) -> list[Step]:
    """As a run of configs/flux2-klein.yaml has them, with other scorers."""
    expert = parse(DiffusersExpert, {"preset": "flux2-klein", "dtype": str(size.dtype).removeprefix("torch.")})
    LOADED[loading_key(expert, device)] = pipeline
    csd, dino = vit_folders(size, device, folder)
    crop = size.dino["image_size"] if size is TOY else 224
    half: Any = str(size.dtype).removeprefix("torch.")
    scorers = {"csd": CsdScorer(model=csd, dtype=half),
               "dino": DinoScorer(family="dinov2", model=dino, dtype=half, crop_px=crop, resize_px=crop + crop // 7),
               "vlm": BuiltJudge(model="qwen", dtype=half, min_mass=0.0)}
    return [ReadInputs({"blank": BlankSource()}, size.px),
            *(ExpertStep(call, OnDevice(expert, device), 0) for call in CALLS),
            *(ScoreStep(name, OnDevice(scorer, device), name) for name, scorer in scorers.items())]


def run(root: Path, units: int, block: int, steps: list[Step]) -> EngineReport:
    """Candidates and scores of a plan, committed."""
    return execute(RunStore.create(root, {}, sleeping_units(units), block), steps, EngineConfig())


def bare(pipeline: Any, steps: list[Step], root: Path) -> float:
    """Seconds of the same pictures by the pipeline alone."""
    experts = [step for step in steps if isinstance(step, ExpertStep)]
    store = RunStore.open(root)
    config = experts[0].expert.config  # type: ignore[attr-defined]
    image = Image.new("RGB", (steps[0].size,) * 2)  # type: ignore[attr-defined]
    begun = time.perf_counter()
    read: dict[str, torch.Tensor] = {}
    for unit in store.units():
        for step in experts:
            prompt = config.prompts[step.call.verb].format(prompt=config.unnamed)
            if prompt not in read:
                read[prompt] = pipeline.encode_prompt(prompt=prompt)[0]
            pipeline(image=[image] * (2 if step.call.style else 1), num_inference_steps=config.steps,
                     prompt_embeds=read[prompt], height=image.height, width=image.width, guidance_scale=config.guidance,
                     generator=torch.Generator("cpu").manual_seed(seed(0, unit.unit_id, step.call.makes)))
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - begun


@contextmanager
def watching(device: str) -> Iterator[Busy]:
    """Utilisation while the block runs; nothing on a CPU."""
    busy, over = Busy(), threading.Event()

    def sample() -> None:
        while not over.wait(0.1):
            busy.samples.append(float(torch.cuda.utilization()))

    thread = threading.Thread(target=sample, daemon=True)
    if device == "cuda":
        thread.start()
    yield busy
    over.set()
    if device == "cuda":
        thread.join()


def tell(report: EngineReport, bare_s: float, busy: Busy, bare_busy: Busy, device: str) -> None:
    """The table."""
    def share(value: float | None) -> str:
        return "not measured" if value is None else f"{value:.2f}"

    images, ours = 2 * report.made, sum(report.stages[call.verb].seconds for call in CALLS)
    print("\n| | s | images/s |\n|---|---|---|")
    for name, total in report.stages.items():
        print(f"| {name} | {total.seconds:.2f} | {total.images / total.seconds:.2f} |")
    print(f"| whole run | {report.work_s:.2f} | {images / report.work_s:.2f} |")
    print(f"| bare diffusers loop | {bare_s:.2f} | {images / bare_s:.2f} |")
    peak = f"{torch.cuda.max_memory_allocated() / 2**30:.1f} GiB" if device == "cuda" else "not measured"
    print(f"\nbare / our expert stages: {bare_s / ours:.3f}; GPU busy: whole run {share(busy.fraction)}, bare loop "
          f"{share(bare_busy.fraction)}; peak memory {peak}; failed units {report.failed}")


if __name__ == "__main__":
    main()
