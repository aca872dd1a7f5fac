"""Steps a second and peak memory of training: `python benchmarks/train.py [--repeats 3] [--batch 32] [--steps 20]`.

Four ways over the same compact USO (64 px), the same shards and the same batch size:

    plain      a loop as diffusers' training scripts have it: webdataset and DataLoader (a worker process), latents
               and features computed again in every step, AdamW, gradient clipping
    no cache   curate train's loop, losses and reader; without its average of weights, which the plain loop has not
    cache      the same with a full feature cache
    compiled   the same with `compile: true` (needs a C++ compiler; compiling is in the warm-up)

Each measurement is a process of its own, the ways in turn, so that a slow minute of the machine hits all. Ratios are
over plain; on a machine that others use too, trust those of CPU time (the loader's process is in it).

The default base is the zoo's, whose autoencoder encodes for next to nothing; `--base random` is of the same size with
FLUX's kind of autoencoder, untrained.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import psutil

Moment = tuple[float, float]
"""Seconds by the clock, and of CPU time of this process and its children."""

WARM_UP = 4
WAYS = ("plain", "no cache", "cache", "compiled")
SAMPLES, SHARDS, SIDE_PX = 512, 4, 96


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--readers", type=int, default=1, help=f"processes that read, of each way; at most {SHARDS}")
    parser.add_argument("--base", default="zoo:uso-base")
    parser.add_argument("--stage", choices=("disentanglement", "style_alignment"), default="disentanglement")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        in_a_process(prepare, folder, options)
        taken: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
        for repeat in range(options.repeats):
            for way in WAYS:
                measured = in_a_process(measure, folder, options, way, f"{way}-{repeat}")
                taken[way].append(measured)
                print(f"{way}: {measured['steps_per_s']:.2f} steps/s", flush=True)
    base, base_cpu = (statistics.median(each[key] for each in taken["plain"]) for key in ("steps_per_s", "cpu_s"))
    told = f"{options.base}, {options.stage}, batch {options.batch}, {options.threads} threads"
    print(f"\n{told}, median of {options.repeats} x {options.steps} steps\n")
    print("| | steps/s | ratio | CPU s a step | ratio | peak memory MB |\n|---|---|---|---|---|---|")
    for way, runs in taken.items():
        speed, cpu, memory = (statistics.median(each[key] for each in runs) for key in taken["plain"][0])
        print(f"| {way} | {speed:.2f} | {speed / base:.2f} | {cpu:.2f} | {base_cpu / cpu:.2f} | {memory:.0f} |")


def in_a_process(work: Callable[..., Any], *arguments: Any) -> Any:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(work, *arguments).result()


def now() -> Moment:
    here = psutil.Process()
    others = [each.cpu_times() for each in here.children(recursive=True)]
    return time.perf_counter(), time.process_time() + sum(each.user + each.system for each in others)


def prepare(folder: Path, options: argparse.Namespace) -> None:
    """base/ in float32, shards/ and a full cache/ in the folder."""
    from uso_parts import compact_uso, write_shards

    from curate.train.loading import load_uso

    (compact_uso() if options.base == "random" else load_uso(options.base)).save_pretrained(folder / "base")
    write_shards(folder / "shards", samples=SAMPLES, shards=SHARDS, side_px=SIDE_PX)
    epoch = -(-SAMPLES // options.batch) - WARM_UP
    ours(folder, argparse.Namespace(**{**vars(options), "steps": epoch}), "cache", "filling")


def measure(folder: Path, options: argparse.Namespace, way: str, name: str) -> dict[str, float]:
    """Speed of the steps after the warm-up, the CPU time of one, and this process's peak memory."""
    import torch

    torch.set_num_threads(options.threads)
    times = plain(folder, options) if way == "plain" else ours(folder, options, way, name)
    count = len(times) - 1 - WARM_UP
    wall, cpu = (last - first for first, last in zip(times[WARM_UP], times[-1], strict=True))
    gpu = torch.cuda.is_available()
    peak = torch.cuda.max_memory_allocated() / 1e6 if gpu else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    return {"steps_per_s": count / wall, "cpu_s": cpu / count, "peak_mb": peak}


def train_config(folder: Path, options: argparse.Namespace, name: str) -> Any:
    from curate.config import parse
    from curate.train.config import TrainConfig

    values = {
        "out": str(folder / name), "base": str(folder / "base"), "stage": options.stage, "learn": "full",
        "data": {"datasets": [{"path": str(folder / "shards")}], "size_px": 64, "style_px": 64, "shuffle_buffer": 64},
        "steps": options.steps + WARM_UP + 1, "batch": options.batch, "bf16": False,
        "optimiser": {"lr": 1e-4, "ema": None}, "save_every": 10**6, "log_every": 5, "samples": {"count": 0},
        "readers": options.readers}
    return parse(TrainConfig, values)


def ours(folder: Path, options: argparse.Namespace, way: str, name: str) -> list[Moment]:
    """When each step of curate train began."""
    from curate.train.loading import device_of
    from curate.train.training import Session
    from pipelines.training import Group

    config = train_config(folder, options, name)
    cache = str(folder / "cache") if way in ("cache", "compiled") else None
    config = config.model_copy(update={"cache": cache, "compile": way == "compiled"})
    session = Session(config, Group(), device_of(config))
    times: list[Moment] = []
    losses_of = session.losses_of

    def timed(batch: Any) -> Any:
        times.append(now())
        return losses_of(batch)

    session.losses_of = timed
    session.fit()
    return times


def plain(folder: Path, options: argparse.Namespace) -> list[Moment]:
    """When each step of the plain loop began."""
    import torch
    from torch.nn import functional
    from torch.utils.data import DataLoader

    from curate.train.loading import load_uso
    from pipelines.uso.encoders import encode_latents, encode_prompts
    from pipelines.uso.model import denoise
    from pipelines.uso.schedule import shift_mu, shifted
    from pipelines.uso.tokens import image_ids, pack, unpack

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    uso = load_uso(str(folder / "base")).to(device)
    for module in (uso.vae, uso.text_encoder, uso.text_encoder_2, uso.vision_encoder, uso.projector, uso.transformer):
        module.requires_grad_(False).eval()
    with_content = options.stage == "disentanglement"
    trained = (uso.transformer if with_content else uso.projector).train().requires_grad_(True)
    learns = list(trained.parameters())
    optimizer = torch.optim.AdamW(learns, lr=1e-4, weight_decay=0.01)
    loader = DataLoader(plain_samples(folder), batch_size=options.batch, num_workers=options.readers, drop_last=True,
                        multiprocessing_context="fork" if options.readers else None)
    times: list[Moment] = []
    draw = torch.Generator().manual_seed(0)
    batches: Iterator[dict[str, Any]] = iter(loader)
    for _ in range(options.steps + WARM_UP + 1):
        times.append(now())
        batch = next(batches)
        with torch.no_grad():
            latents = encode_latents(uso.vae, batch["stylized"].to(device))
            contents = [encode_latents(uso.vae, batch["content"].to(device))] if with_content else []
            pixels = uso.vision_processor(images=(batch["style"] + 1) / 2, do_rescale=False, return_tensors="pt")
            states = uso.vision_encoder(pixels.pixel_values.to(device), output_hidden_states=True).hidden_states
            dropped = torch.rand(3, options.batch, generator=draw) < torch.tensor([[0.1], [0.25], [0.25]])
            prompts = ["" if drop else text for text, drop in zip(batch["txt"], dropped[0].tolist(), strict=True)]
            text, pooled = encode_prompts(
                prompts, clip=uso.text_encoder, clip_tokenizer=uso.tokenizer, t5=uso.text_encoder_2,
                t5_tokenizer=uso.tokenizer_2, max_tokens=uso.config.max_text_tokens)
        noise = torch.randn(latents.shape, generator=draw).to(device)
        sigma = shifted(1 - torch.rand(options.batch, generator=draw), shift_mu(tuple(latents.shape[-2:]))).to(device)
        level = sigma.view(-1, 1, 1, 1)
        size = (latents.shape[-2], latents.shape[-1])
        target = pack((1 - level) * latents + level * noise)
        tokens = torch.cat([target, *map(pack, contents)], dim=1)
        style = uso.projector(uso.projector.pick(states))
        lengths = (style.shape[1], text.shape[1] + target.shape[1], tokens.shape[1] - target.shape[1])
        kept = (~dropped[1], torch.ones_like(dropped[1]), ~dropped[2])
        seen = torch.cat([flag.view(-1, 1).expand(-1, n) for flag, n in zip(kept, lengths, strict=True)], dim=1)
        velocity = denoise(
            uso.transformer, tokens, text, pooled, sigma,
            image_ids(size, [size] * len(contents), uso.config.positions).to(device),
            torch.zeros(text.shape[1], 3, device=device), None, style_tokens=style, seen=seen.to(device))
        predicted = unpack(velocity[:, : target.shape[1]], size)
        loss = functional.mse_loss(predicted.float(), (noise - latents).float())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(learns, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        loss.item()  # every script logs it
    return times


def plain_samples(folder: Path) -> Any:
    """Shards -> dicts of tensors, shuffled and repeated, as webdataset's own documentation has it."""
    import torch
    import webdataset
    from torchvision.transforms import v2

    turned = v2.Compose([v2.Resize(64, v2.InterpolationMode.LANCZOS), v2.CenterCrop(64), v2.ToImage(),
                         v2.ToDtype(torch.float32, scale=True), v2.Normalize([0.5] * 3, [0.5] * 3)])
    shards = [str(path) for path in sorted((folder / "shards").glob("*.tar"))]
    read = webdataset.WebDataset(shards, shardshuffle=len(shards), seed=0, workersplitter=webdataset.split_by_worker)
    return (read.repeat().shuffle(64).decode("pil").to_tuple("content.jpg", "style.jpg", "stylized.jpg", "txt")
            .map(lambda parts: {"content": turned(parts[0]), "style": turned(parts[1]), "stylized": turned(parts[2]),
                                "txt": parts[3]}))


if __name__ == "__main__":
    main()
