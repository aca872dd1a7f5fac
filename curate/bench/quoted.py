"""Published numbers of other systems: as reported by the papers, NOT measured here.

They stand apart in every report: another machine, other file lists (USO-Bench's were never published), other seeds. A
number of this table and one of ours are never put into one table.
Sources: USO, arXiv 2508.18966v1 and its CVPR 2026 version; for the systems beside it the same papers' tables.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

from curate.bench.items import Task

BenchName = Literal["uso_bench", "dreambench"]
NOTE: Final = "As reported in the cited papers; not measured here and not comparable to the tenth of a point."

_V1: Final = "arXiv 2508.18966v1"
_CVPR: Final = "USO, CVPR 2026 version"


class Quoted(NamedTuple):
    """One published number."""

    bench: BenchName
    system: str
    task: Task
    metric: str
    value: float
    source: str


_SUBJECT: Final = ("clip_i", "dino", "clip_t")
_STYLE: Final = ("csd", "clip_t")
_DREAMBENCH: Final = ("dino", "clip_i", "clip_t")

# system, source, subject CLIP-I DINO CLIP-T, style CSD CLIP-T, combined CSD CLIP-T; None = not reported
_USO_BENCH: Final[tuple[tuple[str, str, tuple[float, ...], tuple[float, ...], tuple[float, ...]], ...]] = (
    ("UNO", _V1, (0.605, 0.789, 0.264), (), ()),
    ("FLUX.1-Kontext-dev", _V1, (0.579, 0.775, 0.287), (), ()),
    ("Qwen-Image-Edit", _V1, (0.544, 0.756, 0.302), (), ()),
    ("DreamO", _V1, (0.588, 0.787, 0.280), (0.454, 0.278), ()),
    ("InstantStyle-XL", _V1, (), (0.540, 0.276), ()),
    ("CSGO", _V1, (), (0.452, 0.272), ()),
    ("OmniStyle", _V1, (), (), (0.365, 0.229)),
    ("USO v1", _V1, (0.623, 0.793, 0.288), (0.557, 0.282), (0.495, 0.283)),
    ("USO CVPR", _CVPR, (0.647, 0.804, 0.287), (0.556, 0.286), (0.492, 0.283)),
)
# system, subject CLIP-I, combined CSD
_ABLATION: Final = (
    ("USO v1 without style reward", 0.620, 0.413),
    ("USO v1 without style alignment", 0.621, 0.409),
    ("USO v1 with one shared VAE encoder", 0.594, 0.382),
)
_ON_DREAMBENCH: Final = (
    ("USO", (0.777, 0.838, 0.317)),
    ("UNO", (0.760, 0.835, 0.304)),
    ("OmniGen", (0.693, 0.801, 0.315)),
    ("DreamBooth", (0.668, 0.803, 0.305)),
)


def quoted_numbers(bench: BenchName) -> list[Quoted]:
    """The published numbers of a bench, in the papers' order."""
    if bench == "dreambench":
        return [Quoted(bench, system, "subject", metric, value, _V1)
                for system, values in _ON_DREAMBENCH for metric, value in zip(_DREAMBENCH, values, strict=True)]
    found: list[Quoted] = []
    tasks: tuple[tuple[Task, tuple[str, ...]], ...] = (("subject", _SUBJECT), ("style", _STYLE), ("combined", _STYLE))
    for system, source, *reported in _USO_BENCH:
        for (task, metrics), values in zip(tasks, reported, strict=True):
            found += [Quoted(bench, system, task, metric, value, source)
                      for metric, value in zip(metrics, values, strict=False)]
    for system, clip_i, csd in _ABLATION:
        found += [Quoted(bench, system, "subject", "clip_i", clip_i, _V1),
                  Quoted(bench, system, "combined", "csd", csd, _V1)]
    return found
