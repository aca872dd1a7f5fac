"""A small byte-level BPE tokenizer in transformers' format; unknown words become bytes, not <unk>."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

PAD, START, END = "<pad>", "<start>", "<end>"


def train_tokenizer(
    texts: Iterable[str],
    *,
    size: int,
    extra: Sequence[str] = (),
    wrap: bool = True,
    phrases: bool = False,
    end_id: int = 2,
) -> PreTrainedTokenizerFast:
    """Learn ``size`` tokens from texts; ``extra`` special tokens; ``wrap`` puts START and END around.

    ``phrases``: tokens may span words, so that what the texts repeat becomes a token or two. The ids of PAD,
    START and END are 0, 1 and ``end_id``; transformers' CLIPTextModel pools at END only if that is not 2.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=not phrases),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    spare = [f"<spare {number}>" for number in range(2, end_id)]
    special = [PAD, START, *spare, END, *extra]
    tokenizer.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=size,
            special_tokens=special,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    if wrap:
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{START} $A {END}", special_tokens=[(START, 1), (END, end_id)]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        bos_token=START,
        eos_token=END,
        clean_up_tokenization_spaces=False,
    )
