"""The metrics, as config: what each gives, where it comes from, how it prepares images. The networks are loaded late.

A metric gives numbers for samples (an item and its image) and NaN where it does not apply to the item: there is no
style similarity without a style image. Every column says whether high is good.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Final, Literal, NamedTuple

from pydantic import Field

from curate.bench.items import BenchItem, Floats, Picture
from curate.config import StrictModel
from filters.base import Dtype

COMBINED: Final = "combined"
"""The column of the combined score."""
Better = Literal["higher", "lower", "context"]
"""``context``: a flag that is read beside others; neither end is good by itself."""


class Column(NamedTuple):
    """One number: its label in tables, which end is good, its source and its exact preprocessing."""

    label: str
    better: Better
    source: str
    preprocessing: str


class Sample(NamedTuple):
    """What a metric looks at."""

    item: BenchItem
    output: Picture


Measure = Callable[[Sequence[Sample]], Mapping[str, Floats]]


class ModelMetric(StrictModel):
    """Fields of metrics with a network. ``model``: ``zoo:NAME``, a path or a hub id, which ``revision`` pins (the bench
    replaces a branch or tag by the commit that it is); ``batch``: images a pass."""

    model: str
    revision: str | None = None
    dtype: Dtype = "float32"
    batch: int = Field(default=16, ge=1)


class ClipMetric(ModelMetric):
    """``clip_i`` and ``clip_t``. ``model`` as open_clip names it; the field uses "ViT-B-32/openai"."""

    kind: Literal["clip"] = "clip"
    model: str = "zoo:clip"

    @property
    def hub_id(self) -> None:
        """open_clip has tags of its own and takes no revision."""

    @property
    def columns(self) -> dict[str, Column]:
        how = f"{self.model}: its open_clip preprocessing (short side to size bicubic, centre crop, mean and std)"
        return {
            "clip_i": Column("CLIP-I", "higher", "cosine of CLIP image vectors, content ~ output (arXiv 2103.00020; as "
                             "metric 2208.12242, section 4.1)", how),
            "clip_t": Column("CLIP-T", "higher", "cosine of CLIP vectors, prompt ~ output (arXiv 2104.08718 without "
                             "its factor; 2208.12242, section 4.1)", how),
        }

    def load(self, device: str) -> Measure:
        from curate.bench.clip import ClipMeasure

        return ClipMeasure(self, device)


class CsdMetric(ModelMetric):
    """``csd``: a folder as the zoo writes, or the published checkpoint (see ``filters.csd``)."""

    kind: Literal["csd"] = "csd"
    model: str = "zoo:csd"

    @property
    def columns(self) -> dict[str, Column]:
        return {"csd": Column("CSD", "higher", "cosine of CSD style vectors, style ~ output (arXiv 2404.01292)",
                              f"{self.model}: short side to the model's size bicubic, centre crop, CLIP mean and std")}

    def load(self, device: str) -> Measure:
        from curate.bench.csd import CsdMeasure

        return CsdMeasure(self, device)


class VisionMetric(ModelMetric):
    """Fields of metrics on ImageNet-style networks of transformers: resize the short side, crop the centre."""

    resize_px: int = Field(default=256, ge=8)
    crop_px: int = Field(default=224, ge=8)
    pickles: tuple[str, ...] = ()
    """Weights that are pickles and may be opened, by name: ``pytorch_model.bin`` of a hub id without safetensors."""

    def preprocessing(self) -> str:
        return (f"{self.model}: short side {self.resize_px} bicubic, centre crop {self.crop_px}, ImageNet mean and std")


class DinoMetric(VisionMetric):
    """``dino``, the field's subject metric: ViT-S/16 of the first DINO, class token."""

    kind: Literal["dino"] = "dino"
    model: str = "facebook/dino-vits16"

    @property
    def columns(self) -> dict[str, Column]:
        return {"dino": Column("DINO", "higher", "cosine of DINO class tokens, content ~ output (arXiv 2104.14294; as "
                               "metric 2208.12242, section 4.1)", self.preprocessing())}

    def load(self, device: str) -> Measure:
        from curate.bench.dino import DinoMeasure

        return DinoMeasure(self, device, family="dino")


class Dinov2Metric(VisionMetric):
    """``dinov2``: newer, not what published DINO columns mean."""

    kind: Literal["dinov2"] = "dinov2"
    model: str = "facebook/dinov2-small"

    @property
    def columns(self) -> dict[str, Column]:
        return {"dinov2": Column("DINOv2", "higher", "cosine of DINOv2 class tokens, content ~ output (arXiv "
                                 "2304.07193)", self.preprocessing())}

    def load(self, device: str) -> Measure:
        from curate.bench.dino import DinoMeasure

        return DinoMeasure(self, device, family="dinov2")


class CasMetric(VisionMetric):
    """``cas``, content kept whatever the style: CSGO's content alignment score on DINOv2 patches."""

    kind: Literal["cas"] = "cas"
    model: str = "facebook/dinov2-base"

    @property
    def columns(self) -> dict[str, Column]:
        return {"cas": Column("CAS", "lower", "|| Ada(phi(content)) - Ada(phi(output)) ||^2 (CSGO, arXiv 2408.16766), "
                              "mean over tokens and channels",
                              self.preprocessing() + "; patch tokens of the last layer")}

    def load(self, device: str) -> Measure:
        from curate.bench.cas import CasMeasure

        return CasMeasure(self, device)


class CopyPasteMetric(StrictModel):
    """``copy_paste``: edges of content and output in the same places (``filters.copy_paste``)."""

    kind: Literal["copy_paste"] = "copy_paste"

    @property
    def columns(self) -> dict[str, Column]:
        return {"copy_paste": Column("copy-paste", "context", "edge alignment content ~ output, filters.copy_paste; "
                                     "high is bad where the prompt asks for another layout", "luma, squashed to 64 px")}

    def load(self, device: str) -> Measure:
        from curate.bench.pixels import measure_copy_paste

        return measure_copy_paste


class ColourMetric(StrictModel):
    """``colour_only``: only the style's colours arrived (``filters.colour``)."""

    kind: Literal["colour"] = "colour"

    @property
    def columns(self) -> dict[str, Column]:
        return {"colour_only": Column("colour-only", "context", "luminance texture content ~ output minus style ~ "
                                      "output, filters.colour; high is suspicious", "luma, squashed to 64 px")}

    def load(self, device: str) -> Measure:
        from curate.bench.pixels import measure_colour

        return measure_colour


class TruthMetric(ModelMetric):
    """emoji-bench only: the zoo's independent evaluator names subject and set, and the distance to the right answer."""

    kind: Literal["truth"] = "truth"
    model: str = "zoo:evaluator"

    @property
    def columns(self) -> dict[str, Column]:
        how = f"{self.model}: Lanczos to 64 px, [-1, 1]"
        return {
            "subject_top1": Column("subject right", "higher", "nearest of 100 held-out candidates is the subject "
                                   "(chance 0.01), by the zoo's evaluator", how),
            "style_nearer": Column("style right", "higher", "nearer to the wanted style than to the plain drawing's "
                                   "(chance 0.5), by the zoo's evaluator", how),
            "set_top1": Column("set right", "higher", "first of the 9 training sets is the style's set (chance 0.11), "
                               "by the zoo's evaluator; only where the style is such a set", how),
            "l1": Column("L1", "lower", "mean absolute difference to the right answer, of the full range",
                         "bicubic to the answer's size where sizes differ"),
        }

    def load(self, device: str) -> Measure:
        from curate.bench.truth import TruthMeasure

        return TruthMeasure(self, device)


MetricConfig = Annotated[
    ClipMetric | CsdMetric | DinoMetric | Dinov2Metric | CasMetric | CopyPasteMetric | ColourMetric | TruthMetric,
    Field(discriminator="kind"),
]


class CombinedConfig(StrictModel):
    """The combined score of a combined item, OUR choice: sqrt(subject x style), both clipped to [0, 1].

    A geometric mean, so that a copy of either input is held down by what it lacks. An item that a system failed to make
    counts 0: a system must not gain by failing where it is hard. ``subject`` and ``style`` are columns of the metrics.
    """

    subject: str = "clip_i"
    style: str = "csd"

    @property
    def column(self) -> Column:
        """What the reports say about it."""
        return Column("combined", "higher", f"sqrt({self.subject} x {self.style}), each clipped to [0, 1]; failed "
                      "items count 0; this project's choice", "none of its own")
