"""Quantisation while loading: config pieces -> the config objects of diffusers and transformers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from curate.errors import ModelError

if TYPE_CHECKING:
    from pipelines.editors.options import Quantization

CLASSES = {"torchao": "TorchAoConfig", "bitsandbytes": "BitsAndBytesConfig"}


def quantization_config(wanted: Mapping[str, Quantization], index: Mapping[str, Any]) -> Any:
    """diffusers' ``PipelineQuantizationConfig`` for the components named in ``wanted``.

    ``index`` is the pipeline's model_index.json: it says whether diffusers or transformers loads a component.
    ModelError for a component that the pipeline lacks, a library that is not installed, and options unknown to it.
    """
    from diffusers import PipelineQuantizationConfig

    mapping = {}
    for name, quantization in wanted.items():
        if name not in index:
            there = ", ".join(key for key, value in index.items() if isinstance(value, list))
            raise ModelError(f"quantization.{name}: the pipeline has no such component; it has {there}")
        try:
            mapping[name] = _config(quantization, library=index[name][0])
        except (ImportError, AttributeError, TypeError, ValueError) as error:
            raise ModelError(f"quantization.{name}: {quantization.method}: {error}") from error
    return PipelineQuantizationConfig(quant_mapping=mapping)


def _config(quantization: Quantization, *, library: str) -> Any:
    import diffusers
    import transformers

    source = transformers if library == "transformers" else diffusers
    options: dict[str, Any] = dict(quantization.options)
    if quantization.method == "torchao":
        import torchao.quantization

        options = {"quant_type": getattr(torchao.quantization, options.pop("type"))(**options)}
    elif quantization.method == "bitsandbytes":
        import bitsandbytes  # noqa: F401  # the config class does not say that it is missing
    return getattr(source, CLASSES[quantization.method])(**options)
