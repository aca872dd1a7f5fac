"""CSD: the published equations, whole checkpoints only, the reversed gradient, the score matrix."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pytest
import torch
from open_clip import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD
from PIL import Image
from torch import Tensor
from torch.nn import functional

from curate.errors import ModelError
from curate.interfaces import TripletImages
from filters.csd import CsdScorer
from filters.csd_network import OFFICIAL_ARCH, CsdArch, CsdNetwork, reverse_gradient
from filters.csd_weights import from_transformers_names, load_csd, save_csd, to_transformers_names

ARCH = CsdArch(image_size=32, patch_size=8, width=64, layers=2, head_width=32, head_dim=24)


def picture(seed: int, size: tuple[int, int] = (32, 32)) -> Image.Image:
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 255, (*size, 3), dtype=np.uint8))


def unit(*seeds: int) -> TripletImages:
    return TripletImages(*(picture(seed) for seed in seeds), "a thing", "", "preserved")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    save_csd(CsdNetwork(ARCH), tmp_path / "csd")
    return tmp_path / "csd"


def csd_by_hand(state: dict[str, Tensor], pixels: Tensor, arch: CsdArch) -> tuple[Tensor, Tensor]:
    """OpenAI's ViT written out with matrix products, independent of open_clip."""

    def norm(x: Tensor, name: str) -> Tensor:
        centred = x - x.mean(-1, keepdim=True)
        scaled = centred / torch.sqrt((centred**2).mean(-1, keepdim=True) + 1e-5)
        return scaled * state[f"{name}.weight"] + state[f"{name}.bias"]

    p, heads = arch.patch_size, arch.width // arch.head_width
    patches = functional.unfold(pixels, p, stride=p).transpose(1, 2)  # (B, N, 3 p p)
    x = patches @ state["backbone.conv1.weight"].reshape(arch.width, -1).T
    x = (
        torch.cat([state["backbone.class_embedding"].expand(len(x), 1, -1), x], 1)
        + state["backbone.positional_embedding"]
    )
    x = norm(x, "backbone.ln_pre")
    for layer in range(arch.layers):
        block = f"backbone.transformer.resblocks.{layer}"
        h = norm(x, f"{block}.ln_1")
        q, k, v = (h @ state[f"{block}.attn.in_proj_weight"].T + state[f"{block}.attn.in_proj_bias"]).chunk(
            3, dim=-1
        )
        q, k, v = (t.reshape(*t.shape[:2], heads, arch.head_width).transpose(1, 2) for t in (q, k, v))
        attention = torch.softmax(q @ k.transpose(-1, -2) / arch.head_width**0.5, dim=-1)
        joined = (attention @ v).transpose(1, 2).reshape(h.shape)
        x = x + joined @ state[f"{block}.attn.out_proj.weight"].T + state[f"{block}.attn.out_proj.bias"]
        h = norm(x, f"{block}.ln_2") @ state[f"{block}.mlp.c_fc.weight"].T + state[f"{block}.mlp.c_fc.bias"]
        h = h * torch.sigmoid(1.702 * h)
        x = x + h @ state[f"{block}.mlp.c_proj.weight"].T + state[f"{block}.mlp.c_proj.bias"]
    feature = norm(x, "backbone.ln_post")[:, 0]
    style, content = feature @ state["last_layer_style"], feature @ state["last_layer_content"]
    return style / style.norm(dim=1, keepdim=True), content / content.norm(dim=1, keepdim=True)


def test_network_is_the_published_equations() -> None:
    torch.manual_seed(1)
    network, pixels = CsdNetwork(ARCH).eval(), torch.randn(3, 3, 32, 32)
    with torch.no_grad():
        out = network(pixels)
        style, content = csd_by_hand(network.state_dict(), pixels, ARCH)
    assert (out.style - style).abs().max() < 1e-5
    assert (out.content - content).abs().max() < 1e-5


def test_official_model_has_the_297_tensors_of_the_published_file() -> None:
    with torch.device("meta"):
        state = CsdNetwork(OFFICIAL_ARCH).state_dict()
    assert len(state) == 297
    assert state["last_layer_style"].shape == (1024, 768)
    assert "backbone.proj" not in state


def test_scores_are_cosines_of_preprocessed_images(folder: Path) -> None:
    score = CsdScorer(model=str(folder), batch=2).load("cpu")
    units = [unit(1, 2, 3), unit(4, 5, 4), unit(6, 7, 8)]
    columns = score(units)
    assert tuple(columns) == CsdScorer().columns
    assert all(values.shape == (3,) and values.dtype == np.float32 for values in columns.values())

    network = load_csd(folder)
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (OPENAI_DATASET_MEAN, OPENAI_DATASET_STD))
    pixels = torch.stack(
        [(torch.from_numpy(np.array(i)).permute(2, 0, 1) / 255 - mean) / std for i in units[2][:3]]
    )
    with torch.no_grad():
        style, _ = csd_by_hand(network.state_dict(), pixels, ARCH)
    assert columns["csd.style.content_stylized"][2] == pytest.approx(float(style[0] @ style[2]), abs=1e-5)
    assert columns["csd.style.style_stylized"][2] == pytest.approx(float(style[1] @ style[2]), abs=1e-5)
    assert columns["csd.style.content_style"][2] == pytest.approx(float(style[0] @ style[1]), abs=1e-5)
    assert columns["csd.content.content_stylized"][1] == pytest.approx(1.0, abs=1e-5)  # the very same image


def test_other_image_sizes_are_resized_by_the_short_side_and_cropped_in_the_middle(folder: Path) -> None:
    score = CsdScorer(model=str(folder)).load("cpu")
    wide = picture(3, (64, 128))
    middle = wide.resize((64, 32), Image.Resampling.BICUBIC).crop((16, 0, 48, 32))
    columns = score([TripletImages(wide, picture(2), middle, "", "", "preserved")])
    assert columns["csd.style.content_stylized"][0] > 0.9999


@pytest.mark.parametrize("suffix", [".bin", ".safetensors"])
def test_official_formats_load(
    tmp_path: Path, folder: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from safetensors.torch import save_file

    import filters.csd_weights as weights

    monkeypatch.setattr(weights, "OFFICIAL_ARCH", ARCH)
    wanted = load_csd(folder).state_dict()
    path = tmp_path / f"checkpoint{suffix}"
    if suffix == ".bin":
        torch.save(
            {
                "model_state_dict": {f"module.{k}": v for k, v in wanted.items()},
                "opt_bb": {},
                "opt_proj": {},
                "iter": 80000,
                "args": argparse.Namespace(arch="vit_large"),
                "fp16_scaler": {"scale": 1.0},
            },
            path,
        )
    else:
        save_file({k: v.contiguous() for k, v in as_transformers(wanted).items()}, path)
    found = load_csd(path).state_dict()
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[k], wanted[k]) for k in wanted)


def as_transformers(state: dict[str, Tensor]) -> dict[str, Tensor]:
    backbone = {k.removeprefix("backbone."): v for k, v in state.items() if k.startswith("backbone.")}
    renamed = {f"backbone.vision_model.{k}": v for k, v in to_transformers_names(backbone).items()}
    return {**renamed, **{k: v for k, v in state.items() if not k.startswith("backbone.")}}


def test_transformers_names_are_those_of_transformers() -> None:
    from transformers import CLIPVisionConfig, CLIPVisionModel

    network = CsdNetwork(ARCH).eval()
    theirs = CLIPVisionModel(
        CLIPVisionConfig(
            hidden_size=64,
            intermediate_size=256,
            num_hidden_layers=2,
            num_attention_heads=2,
            image_size=32,
            patch_size=8,
            hidden_act="quick_gelu",
        )
    ).eval()
    theirs.load_state_dict(to_transformers_names(network.backbone.state_dict()), strict=True)
    pixels = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.allclose(theirs(pixels).pooler_output, network(pixels).feature, atol=1e-5)
    back = from_transformers_names(theirs.state_dict())
    assert all(torch.equal(back[k], v) for k, v in network.backbone.state_dict().items())


def test_a_partial_or_plain_clip_file_is_refused(tmp_path: Path, folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = folder / "model.safetensors"
    whole = load_file(weights)
    save_file(
        {k: v for k, v in whole.items() if not k.startswith("last_layer")}
        | {"backbone.proj": torch.zeros(64, 24)},
        weights,
    )
    with pytest.raises(
        ModelError, match=r"2 tensors missing .*last_layer_content.*1 unexpected .*backbone.proj"
    ):
        load_csd(folder)
    save_file({k: v for k, v in whole.items() if "resblocks.1.mlp.c_fc.bias" not in k}, weights)
    with pytest.raises(ModelError, match="1 tensors missing"):
        load_csd(folder)
    save_file(whole | {"last_layer_style": torch.zeros(64, 12)}, weights)
    with pytest.raises(ModelError, match="another size"):
        load_csd(folder)
    weights.write_bytes(b"not tensors")
    with pytest.raises(ModelError, match="not a CSD checkpoint"):
        load_csd(folder)
    with pytest.raises(ModelError, match="not a CSD checkpoint"):
        load_csd(tmp_path / "absent.bin")


def test_a_pickle_with_code_in_it_is_not_run(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str, ...]]:
            return Path.touch, (tmp_path / "ran",)  # type: ignore[return-value]

    torch.save({"model_state_dict": {}, "args": Evil()}, tmp_path / "evil.bin")
    with pytest.raises(ModelError):
        load_csd(tmp_path / "evil.bin")
    assert not (tmp_path / "ran").exists()


def test_gradient_is_reversed_for_the_backbone_only() -> None:
    x = torch.randn(4, requires_grad=True)
    (reverse_gradient(x, 0.5) * torch.arange(4.0)).sum().backward()
    assert torch.equal(x.grad, -0.5 * torch.arange(4.0))

    torch.manual_seed(2)
    network, pixels, direction = CsdNetwork(ARCH), torch.randn(2, 3, 32, 32), torch.randn(2, 24)
    gradients = {}
    for alpha in (None, 0.25):
        network.zero_grad()
        (network(pixels, reversal=alpha).content * direction).sum().backward()
        gradients[alpha] = {
            name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None
        }
    assert torch.allclose(gradients[0.25]["last_layer_content"], gradients[None]["last_layer_content"])
    conv = "backbone.conv1.weight"
    assert torch.allclose(gradients[0.25][conv], -0.25 * gradients[None][conv], atol=1e-6)


def test_half_precision_stays_close(folder: Path) -> None:
    units = [unit(1, 2, 3), unit(4, 5, 6)]
    full, half = (CsdScorer(model=str(folder), dtype=d).load("cpu")(units) for d in ("float32", "bfloat16"))
    assert all(np.abs(full[name] - half[name]).max() < 0.03 for name in full)


def test_identity_follows_the_weights(folder: Path) -> None:
    from curate.models import model_hash

    before = CsdScorer(model=str(folder)).identity()
    torch.manual_seed(5)
    save_csd(CsdNetwork(ARCH), folder)
    model_hash.cache_clear()
    after = CsdScorer(model=str(folder)).identity()
    assert before != after and before["kind"] == after["kind"] == "csd"


def test_a_plain_clip_is_refused_by_name(tmp_path: Path) -> None:
    from open_clip.model import CLIP
    from safetensors.torch import save_file
    from transformers import CLIPVisionConfig, CLIPVisionModel

    vision = {"image_size": 32, "layers": 2, "width": 64, "patch_size": 8, "head_width": 32}
    plain = CLIP(24, vision, {"context_length": 8, "vocab_size": 50, "width": 32, "heads": 2, "layers": 1})  # type: ignore[arg-type]
    torch.save(plain.state_dict(), tmp_path / "openai.bin")
    theirs = CLIPVisionModel(CLIPVisionConfig(hidden_size=64, intermediate_size=256, num_hidden_layers=2,
                                              num_attention_heads=2, image_size=32, patch_size=8))
    save_file({f"vision_model.{k}": v.contiguous() for k, v in theirs.state_dict().items()},
              tmp_path / "transformers.safetensors")
    for name in ("openai.bin", "transformers.safetensors"):
        with pytest.raises(ModelError, match=r"tensors missing .*a plain CLIP, which has no style head"):
            CsdScorer(model=str(tmp_path / name)).load("cpu")
    torch.save([1, 2], tmp_path / "list.bin")
    with pytest.raises(ModelError, match="holds a list"):
        CsdScorer(model=str(tmp_path / "list.bin")).load("cpu")
    torch.save({"model_state_dict": {"a": 1}}, tmp_path / "numbers.bin")
    with pytest.raises(ModelError, match="does not hold named tensors"):
        CsdScorer(model=str(tmp_path / "numbers.bin")).load("cpu")


def test_csls_takes_the_nearness_to_the_bank_from_both_sides(folder: Path, tmp_path: Path) -> None:
    from curate.images import encode
    from filters.csls import CslsConfig

    (tmp_path / "bank").mkdir()
    for seed in range(20, 26):
        (tmp_path / "bank" / f"{seed}.png").write_bytes(encode(picture(seed)))
    network = CsdScorer(model=str(folder)).load("cpu")
    vectors = network.embed([picture(seed) for seed in range(20, 26)])[0]  # type: ignore[attr-defined]
    np.savez(tmp_path / "bank.npz", vectors=3 * vectors)  # of any length: they are brought to unit length
    plain = network([unit(1, 2, 3), unit(4, 5, 6)])

    seen = network.embed(list(unit(4, 5, 6)[:3]))[0].astype(np.float64)  # type: ignore[attr-defined]
    near = [np.mean(sorted(vector @ vectors.T)[-2:]) for vector in seen]
    for bank in ("bank", "bank.npz"):
        config = CsdScorer(model=str(folder), csls=CslsConfig(bank=str(tmp_path / bank), neighbours=2), batch=4)
        columns = config.load("cpu")([unit(1, 2, 3), unit(4, 5, 6)])
        assert tuple(columns) == config.columns and len(columns) == 9
        for pair, (x, y) in {"content_stylized": (0, 2), "style_stylized": (1, 2), "content_style": (0, 1)}.items():
            assert columns[f"csd.csls.{pair}"][1] == pytest.approx(2 * seen[x] @ seen[y] - near[x] - near[y], abs=1e-5)
        assert columns["csd.style.content_style"] == pytest.approx(plain["csd.style.content_style"], abs=1e-5)


def test_the_bank_is_known_by_its_contents_and_must_fit(folder: Path, tmp_path: Path) -> None:
    from filters.csls import CslsConfig

    rng = np.random.default_rng(0)
    for name, seed in (("a.npz", 1), ("b.npz", 2)):
        np.savez(tmp_path / name, vectors=np.random.default_rng(seed).normal(size=(12, 24)))
    np.savez(tmp_path / "narrow.npz", vectors=rng.normal(size=(12, 8)))
    np.savez(tmp_path / "other.npz", style=rng.normal(size=(12, 24)))

    def scorer(name: str, neighbours: int = 3) -> CsdScorer:
        return CsdScorer(model=str(folder), csls=CslsConfig(bank=str(tmp_path / name), neighbours=neighbours))

    assert scorer("a.npz").identity() != scorer("b.npz").identity()
    assert str(tmp_path) not in str(scorer("a.npz").identity())
    for name, neighbours, says in (("narrow.npz", 3, r"not finite \(M, 24\)"),
                                   ("other.npz", 3, "no npz with 'vectors'"),
                                   ("absent", 3, "no folder of images"), ("a.npz", 13, "12 vectors for 13 neighbours")):
        with pytest.raises(ModelError, match=says):
            scorer(name, neighbours).load("cpu")
    (tmp_path / "bank").mkdir()
    (tmp_path / "bank" / "notes.txt").write_text("no picture")
    with pytest.raises(ModelError, match=r"notes\.txt"):
        scorer("bank").load("cpu")


def test_a_file_of_the_hub_is_found_in_its_cache(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub.constants as hub
    from safetensors.torch import load_file, save_file

    import filters.csd_weights as weights

    monkeypatch.setattr(weights, "OFFICIAL_ARCH", ARCH)
    monkeypatch.setattr(hub, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(hub, "HF_HUB_OFFLINE", True)
    repository = tmp_path / "models--org--csd"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("abc")
    (repository / "snapshots" / "abc").mkdir(parents=True)
    save_file(load_file(folder / "model.safetensors"), repository / "snapshots" / "abc" / "csd.safetensors")
    found = CsdScorer(model="org/csd/csd.safetensors").load("cpu")([unit(1, 2, 3)])
    assert found["csd.style.content_style"] == CsdScorer(model=str(folder)).load("cpu")([unit(1, 2, 3)])[
        "csd.style.content_style"]
    with pytest.raises(ModelError, match="neither a file here nor ORG/REPO/FILE"):
        CsdScorer(model="org/csd/other.safetensors").load("cpu")


@pytest.mark.slow
def test_the_published_size_and_pickle_are_the_equations(tmp_path: Path) -> None:
    torch.manual_seed(0)
    state = {k: v.detach() for k, v in CsdNetwork(OFFICIAL_ARCH).state_dict().items()}
    torch.save({"model_state_dict": {f"module.{k}": v for k, v in state.items()}, "iter": 1,
                "args": argparse.Namespace(arch="vit_large")}, tmp_path / "pytorch_model.bin")
    units = [TripletImages(picture(1, (300, 260)), picture(2, (224, 224)), picture(3, (500, 224)), "", "", "preserved")]
    columns = CsdScorer(model=str(tmp_path / "pytorch_model.bin")).load("cpu")(units)
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (OPENAI_DATASET_MEAN, OPENAI_DATASET_STD))
    pixels = []
    for image in units[0][:3]:
        short = min(image.size)
        small = image.resize((int(224 * image.width / short), int(224 * image.height / short)),
                             Image.Resampling.BICUBIC)
        left, top = round((small.width - 224) / 2), round((small.height - 224) / 2)
        square = np.array(small.crop((left, top, left + 224, top + 224)))
        pixels.append((torch.from_numpy(square).permute(2, 0, 1) / 255 - mean) / std)
    with torch.no_grad():
        style, content = csd_by_hand(state, torch.stack(pixels), OFFICIAL_ARCH)
    assert columns["csd.style.style_stylized"][0] == pytest.approx(float(style[1] @ style[2]), abs=1e-5)
    assert columns["csd.content.content_style"][0] == pytest.approx(float(content[0] @ content[1]), abs=1e-5)
