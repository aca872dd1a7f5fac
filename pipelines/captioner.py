"""A captioner: a transformers image-text model that names the subject of an image in a few words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from curate.config import StageConfig
from curate.errors import ModelError, UnitError
from curate.models import model_hash, resolve_model
from curate.pretrained import load_whole

if TYPE_CHECKING:
    from PIL.Image import Image

QUESTION = (
    "Name the main subject of this image in a short phrase of at most eight words, such as: an old wooden boat. "
    "Do not mention style, medium, colours of the paper or the word image. Answer with the phrase alone."
)
"""Our choice: USO's captions and prompt are undisclosed. The style must stay out: it would steer de-stylization."""


class Captioner(StageConfig):
    """Any model that transformers' AutoModelForImageTextToText loads and whose chat template takes an image.

    Answers are greedy, so they are a function of the image; the first line counts, without a final full stop.
    """

    model: str
    """A folder or a hub id."""
    revision: str | None = None
    licence: str = ""
    """Of the model, as its card says."""
    dtype: Literal["float32", "float16", "bfloat16"] = "bfloat16"
    question: str = QUESTION
    """What is asked of each image; the style should stay out of the answer."""
    max_tokens: int = Field(default=32, ge=1)

    def identity(self) -> dict[str, object]:
        """All values but where the model lies, where it runs and under which licence; the model by its content."""
        values = self.model_dump(mode="json", exclude={"resources", "model", "licence"})
        return {**values, "model_hash": model_hash(self.model, self.revision)}

    def load(self, device: str) -> Callable[[Sequence[Image]], list[str]]:
        """Load processor and model. ModelError where they are none of the kind, or lack a tensor."""
        import torch
        from transformers import AutoModelForImageTextToText, AutoProcessor

        path = resolve_model(self.model)
        try:
            processor = AutoProcessor.from_pretrained(path, revision=self.revision, trust_remote_code=False)
            asked = [{"type": "image"}, {"type": "text", "text": self.question}]
            prompt = processor.apply_chat_template([{"role": "user", "content": asked}], add_generation_prompt=True,
                                                   tokenize=False)
        except (OSError, ValueError, AttributeError) as error:
            raise ModelError(f"captioner {self.model}: {error}") from error
        processor.tokenizer.padding_side = "left"
        network = load_whole(AutoModelForImageTextToText, path, revision=self.revision,
                             dtype=getattr(torch, self.dtype)).to(device)

        @torch.inference_mode()
        def caption(images: Sequence[Image]) -> list[str]:
            inputs = processor(text=[prompt] * len(images), images=[[image] for image in images], padding=True,
                               return_tensors="pt").to(network.device, network.dtype)
            tokens = network.generate(**inputs, do_sample=False, max_new_tokens=self.max_tokens)
            answers = tokens[:, inputs["input_ids"].shape[1]:]
            return [first_line(text) for text in processor.batch_decode(answers, skip_special_tokens=True)]

        return caption


def first_line(text: str) -> str:
    """The caption in an answer. UnitError where there is none."""
    line = next((words for line in text.splitlines() if (words := " ".join(line.split()).strip(" .\"'"))), "")
    if not line:
        raise UnitError("the captioner gave no words")
    return line
