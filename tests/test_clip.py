"""CLIP scores through open_clip's own loader, from a folder of toy size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from open_clip.model import CLIP
from PIL import Image

import curate.zoo.clip as zoo_clip
from curate.errors import ModelError
from curate.interfaces import TripletImages
from curate.zoo.vocabulary import train_tokenizer
from filters.clip import ClipScorer
from filters.clip_score import load_clip, split_name

TOY: dict[str, Any] = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "patch_size": 8, "head_width": 16},
    "text_cfg": {
        "context_length": 12,
        "vocab_size": 320,
        "width": 32,
        "heads": 2,
        "layers": 1,
        "pool_type": "eos",
        "eos_id": 2,
        "hf_tokenizer_name": ".",
    },
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(zoo_clip, "MODEL", TOY)
    torch.manual_seed(0)
    network = CLIP(TOY["embed_dim"], TOY["vision_cfg"], TOY["text_cfg"])
    tokenizer = train_tokenizer(["red heart", "blue heart", "a cat"], size=320)
    (tmp_path / "clip").mkdir()
    tokenizer.save_pretrained(tmp_path / "clip")
    zoo_clip.save_clip(network, tmp_path / "clip")
    return tmp_path / "clip"


def picture(seed: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 255, (32, 32, 3), dtype=np.uint8))


def unit(*seeds: int, caption: str = "red heart") -> TripletImages:
    return TripletImages(*(picture(seed) for seed in seeds), caption, "", "preserved")


def test_columns_are_cosines_of_the_models_own_vectors(folder: Path) -> None:
    units = [unit(1, 2, 3), unit(4, 5, 4, caption="a cat"), unit(6, 7, 8)]
    columns = ClipScorer(model=str(folder), batch=2).load("cpu")(units)
    assert tuple(columns) == ClipScorer().columns
    assert all(values.shape == (3,) and values.dtype == np.float32 for values in columns.values())

    network, preprocess, tokenize = load_clip(str(folder), device="cpu")
    with torch.no_grad():
        content, style, stylized = network.encode_image(
            torch.stack([preprocess(i) for i in units[2][:3]]), normalize=True
        )
        text = network.encode_text(tokenize(["red heart"]), normalize=True)[0]
    assert columns["clip.image.content_stylized"][2] == pytest.approx(float(content @ stylized), abs=1e-5)
    assert columns["clip.image.style_stylized"][2] == pytest.approx(float(style @ stylized), abs=1e-5)
    assert columns["clip.image.content_style"][2] == pytest.approx(float(content @ style), abs=1e-5)
    assert columns["clip.text.stylized"][2] == pytest.approx(float(stylized @ text), abs=1e-5)
    assert columns["clip.text.content"][2] == pytest.approx(float(content @ text), abs=1e-5)
    assert columns["clip.image.content_stylized"][1] == pytest.approx(1.0, abs=1e-5)


def test_caption_and_prompt_reach_the_text_tower(folder: Path) -> None:
    def text(prompt: str, caption: str) -> float:
        return float(
            ClipScorer(model=str(folder), prompt=prompt).load("cpu")([unit(1, 2, 3, caption=caption)])[
                "clip.text.stylized"
            ][0]
        )

    assert text("{}", "red heart") != text("{}", "blue heart")
    assert text("a {}", "cat") == text("{}", "a cat") != text("{}", "cat")


def test_a_long_caption_is_cut_not_refused(folder: Path) -> None:
    columns = ClipScorer(model=str(folder)).load("cpu")([unit(1, 2, 3, caption="red heart and a cat " * 30)])
    assert np.isfinite(columns["clip.text.stylized"]).all()


def test_a_folder_without_weights_is_an_error_not_random_numbers(folder: Path) -> None:
    (folder / "open_clip_model.safetensors").unlink()
    with pytest.raises(ModelError, match="clip"):
        ClipScorer(model=str(folder)).load("cpu")


def test_names_are_split_into_model_and_pretrained(tmp_path: Path) -> None:
    assert split_name("ViT-L-14/openai") == ("ViT-L-14", "openai")
    assert split_name("hf-hub:org/repo") == ("hf-hub:org/repo", None)
    assert split_name(str(tmp_path)) == (f"local-dir:{tmp_path}", None)
    with pytest.raises(ModelError, match="NAME/PRETRAINED"):
        split_name("ViT-L-14")
    with pytest.raises(ModelError, match="no-such-tag"):
        load_clip("ViT-B-32/no-such-tag", device="cpu")


def test_tokenizer_knows_every_word() -> None:
    tokenizer = train_tokenizer(["red heart"], size=300)
    ids = tokenizer("Zebra – 17").input_ids
    assert ids[0] == 1 and ids[-1] == 2
    assert tokenizer.decode(ids, skip_special_tokens=True) == "zebra – 17"


def test_siglip2_is_squashed_and_its_captions_are_made_canonical(tmp_path: Path) -> None:
    """The parts of open_clip's ViT-B-16-SigLIP2 at toy size: a timm tower, a text tower that sees both ways."""
    import json

    from open_clip import CustomTextCLIP
    from safetensors.torch import save_file

    vision = {"image_size": 160, "timm_model_name": "test_vit", "timm_model_pretrained": False,
              "timm_pool": "map", "timm_proj": "none"}
    text = {**TOY["text_cfg"], "no_causal_mask": True, "proj_bias": True, "pool_type": "last",
            "norm_kwargs": {"eps": 1e-6}, "act_kwargs": {"approximate": "tanh"},
            "tokenizer_kwargs": {"clean": "canonicalize"}}
    del text["eos_id"]
    model_cfg = {"embed_dim": 64, "init_logit_bias": -10, "vision_cfg": vision, "text_cfg": text, "custom_text": True}
    torch.manual_seed(0)
    network = CustomTextCLIP(64, vision, text, init_logit_bias=-10)  # type: ignore[arg-type]
    train_tokenizer(["red heart", "blue heart", "a cat"], size=320).save_pretrained(tmp_path)
    save_file({k: v.contiguous() for k, v in network.state_dict().items()}, tmp_path / "open_clip_model.safetensors")
    preprocess_cfg = {"mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "bicubic", "resize_mode": "squash"}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(
        {"model_cfg": model_cfg, "preprocess_cfg": preprocess_cfg}))

    score = ClipScorer(model=str(tmp_path)).load("cpu")
    wide = Image.fromarray(np.random.default_rng(1).integers(0, 255, (160, 480, 3), dtype=np.uint8))
    squashed = wide.resize((160, 160), Image.Resampling.BICUBIC)
    columns = score([TripletImages(wide, picture(2), squashed, caption, "", "preserved")
                     for caption in ("red heart", "Red, heart!", "a cat")])
    assert columns["clip.image.content_stylized"][0] == pytest.approx(1.0, abs=1e-5)
    assert columns["clip.image.style_stylized"][0] < 0.999
    one, canonical, other = columns["clip.text.stylized"]
    assert one == pytest.approx(canonical, abs=1e-6) and abs(one - other) > 1e-4


def test_weights_trained_with_quick_gelu_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """open_clip's own tags decide; "ViT-L-14/openai" must not become another network with only a warning."""
    import json

    import open_clip.factory
    import open_clip.pretrained

    from filters.clip_score import trained_with_quick_gelu

    assert trained_with_quick_gelu("ViT-L-14", "openai")
    assert not trained_with_quick_gelu("ViT-B-16-SigLIP2", "webli")
    with pytest.raises(ModelError, match="without -quickgelu"):
        trained_with_quick_gelu("ViT-B-32-quickgelu", "laion2b_s34b_b79k")

    toy = {**TOY, "text_cfg": {k: v for k, v in TOY["text_cfg"].items() if k != "hf_tokenizer_name"}}
    toy["text_cfg"]["vocab_size"] = 49408
    torch.manual_seed(0)
    network = CLIP(**toy, quick_gelu=True).eval()
    torch.save(network.state_dict(), tmp_path / "toy.pt")
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "toy", json.loads(json.dumps(toy)))
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, "toy", {
        "openai": {"file": str(tmp_path / "toy.pt"), "quick_gelu": True}})
    loaded, preprocess, _ = load_clip("toy/openai", device="cpu")
    pixels = preprocess(picture(1))[None]
    with torch.no_grad():
        assert torch.allclose(loaded.encode_image(pixels), network.encode_image(pixels), atol=1e-6)
        plain = CLIP(**toy).eval()
        plain.load_state_dict(network.state_dict())
        assert not torch.allclose(plain.encode_image(pixels), network.encode_image(pixels), atol=1e-4)
