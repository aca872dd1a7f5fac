"""DINO, CAS, aesthetic and NSFW scorers on toy models of the true classes, loaded through the true path."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import (
    Dinov2Config,
    Dinov2Model,
    Dinov2WithRegistersConfig,
    Dinov2WithRegistersModel,
    DINOv3ViTConfig,
    DINOv3ViTModel,
    ViTConfig,
    ViTForImageClassification,
    ViTImageProcessor,
    ViTModel,
)

from curate.errors import ModelError
from curate.interfaces import TripletImages
from filters.aesthetic import AestheticScorer
from filters.cas import CasScorer, content_distance
from filters.clip_score import load_clip
from filters.dino import DinoScorer
from filters.nsfw import NsfwScorer
from filters.weights import weights_path

SIZES: dict[str, Any] = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 32,
                         "patch_size": 8}
NETWORKS: dict[str, tuple[Any, Any, Any]] = {
    "dino": (ViTModel, ViTConfig(**SIZES, intermediate_size=64), {"add_pooling_layer": False}),
    "dinov2": (Dinov2Model, Dinov2Config(**SIZES), {}),
    "dinov2-registers": (Dinov2WithRegistersModel, Dinov2WithRegistersConfig(**SIZES, num_register_tokens=3), {}),
    "dinov3": (DINOv3ViTModel, DINOv3ViTConfig(**SIZES, intermediate_size=64, num_register_tokens=4), {}),
}


def picture(seed: int, size: tuple[int, int] = (40, 40)) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 255, (*size, 3), dtype=np.uint8))


def unit(*seeds: int) -> TripletImages:
    return TripletImages(*(picture(seed) for seed in seeds), "", "", "preserved")


def saved(name: str, folder: Path) -> tuple[str, Any]:
    torch.manual_seed(0)
    cls, config, arguments = NETWORKS[name]
    network = cls(config, **arguments).eval()
    network.save_pretrained(folder / name)
    return str(folder / name), network


def prepared(image: Image.Image) -> torch.Tensor:
    """facebookresearch/dino's evaluation transform at toy size, by hand."""
    short = min(image.size)
    image = image.resize((image.width * 36 // short, image.height * 36 // short), Image.Resampling.BICUBIC)
    left, top = (image.width - 32) // 2, (image.height - 32) // 2
    pixels = np.asarray(image.crop((left, top, left + 32, top + 32)), dtype=np.float32) / 255
    pixels = (pixels - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    return torch.from_numpy(pixels).float().permute(2, 0, 1)[None]


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_dino_gives_the_score_matrix_of_class_tokens(name: str, tmp_path: Path) -> None:
    folder, network = saved(name, tmp_path)
    family = name.partition("-")[0]
    config = DinoScorer(family=family, model=folder, resize_px=36, crop_px=32, batch=2)  # type: ignore[arg-type]
    wide = TripletImages(picture(7, (36, 72)), picture(8), picture(9), "", "", "shifted")
    columns = config.load("cpu")([unit(1, 2, 1), unit(3, 4, 5), wide])
    assert tuple(columns) == config.columns == tuple(
        f"{family}.{pair}" for pair in ("content_stylized", "style_stylized", "content_style"))
    assert columns[f"{family}.content_stylized"][0] == pytest.approx(1.0, abs=1e-5)
    with torch.no_grad():
        tokens = [network(pixel_values=prepared(image)).last_hidden_state[0, 0] for image in wide[:3]]
    content, style, stylized = (token / token.norm() for token in tokens)
    assert columns[f"{family}.content_stylized"][2] == pytest.approx(float(content @ stylized), abs=1e-5)
    assert columns[f"{family}.style_stylized"][2] == pytest.approx(float(style @ stylized), abs=1e-5)
    assert columns[f"{family}.content_style"][2] == pytest.approx(float(content @ style), abs=1e-5)


def test_cas_compares_the_patches_of_content_and_target_without_registers(tmp_path: Path) -> None:
    folder, network = saved("dinov2-registers", tmp_path)
    config = CasScorer(model=folder, resize_px=36, crop_px=32, batch=2)
    columns = config.load("cpu")([unit(1, 2, 1), unit(3, 4, 5), unit(6, 7, 8)])
    assert tuple(columns) == config.columns
    with torch.no_grad():
        content, stylized = (network(pixel_values=prepared(picture(seed))).last_hidden_state[0, 4:].numpy()
                             for seed in (6, 8))
    assert content.shape == (16, 32)
    distances = columns["cas.content_stylized"]
    assert distances[0] == pytest.approx(0.0, abs=1e-5) and distances[1] > 0.01
    assert distances[2] == pytest.approx(content_distance(content, stylized), abs=1e-4)


def test_a_network_that_lacks_a_tensor_or_has_another_shape_is_refused(tmp_path: Path) -> None:
    folder, _ = saved("dinov2", tmp_path)
    with pytest.raises(ModelError, match="patches of 8 px; set crop_px"):
        DinoScorer(family="dinov2", model=folder, crop_px=35).load("cpu")
    with pytest.raises(ModelError, match="is a 'dinov2' model; dinov3 needs 'dinov3_vit'"):
        DinoScorer(family="dinov3", model=folder, crop_px=32).load("cpu")
    weights = tmp_path / "dinov2" / "model.safetensors"
    save_file({k: v for k, v in load_file(weights).items() if k != "layernorm.weight"}, weights, {"format": "pt"})
    with pytest.raises(ModelError, match=r"not a whole Dinov2Model: 1 tensors missing \['layernorm.weight'\]"):
        DinoScorer(family="dinov2", model=folder, crop_px=32).load("cpu")


def pickled(folder: Path) -> None:
    """The weights of a folder as transformers once saved them."""
    weights = folder / "model.safetensors"
    torch.save(load_file(weights), folder / "pytorch_model.bin")
    weights.unlink()


@pytest.mark.parametrize("name", ["dino", "dinov2"])
def test_a_pickle_is_opened_only_by_name(name: str, tmp_path: Path) -> None:
    folder, _ = saved(name, tmp_path)
    config = DinoScorer(family=name, model=folder, resize_px=36, crop_px=32)  # type: ignore[arg-type]
    wanted = config.load("cpu")([unit(1, 2, 3)])
    pickled(Path(folder))
    with pytest.raises(ModelError, match=r"only safetensors are opened; .*pickles: \[pytorch_model.bin\]"):
        config.load("cpu")
    named = config.model_copy(update={"pickles": ("pytorch_model.bin",)})
    assert named.identity() == config.identity()
    for column, values in named.load("cpu")([unit(1, 2, 3)]).items():
        assert np.array_equal(values, wanted[column])
    torch.save({}, Path(folder, "other.bin"))
    with pytest.raises(ModelError, match=r"pickles that the config does not allow: other.bin"):
        named.load("cpu")


def test_a_pickle_that_runs_code_runs_none(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return Path.touch, (tmp_path / "ran",)

    folder, _ = saved("dinov2", tmp_path)
    pickled(Path(folder))
    torch.save({"layernorm.weight": Evil()}, Path(folder, "pytorch_model.bin"))
    with pytest.raises(ModelError, match="cannot be loaded"):
        DinoScorer(family="dinov2", model=folder, crop_px=32, pickles=("pytorch_model.bin",)).load("cpu")
    assert not (tmp_path / "ran").exists()


def head_file(path: Path, *, width: int, seed: int = 0) -> nn.Sequential:
    """LAION's head as published: linear layers and dropouts in ``layers``."""
    torch.manual_seed(seed)
    layers = nn.Sequential(nn.Linear(width, 1024), nn.Dropout(0.2), nn.Linear(1024, 128), nn.Dropout(0.2),
                           nn.Linear(128, 64), nn.Dropout(0.1), nn.Linear(64, 16), nn.Linear(16, 1)).eval()
    state = {f"layers.{name}": value for name, value in layers.state_dict().items()}
    if path.suffix == ".pth":
        torch.save(state, path)
    else:
        save_file(state, path)
    return layers


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_aesthetic_is_the_published_head_on_unit_clip_vectors(tmp_path: Path, suffix: str) -> None:
    network, preprocess, _ = load_clip(str(weights_path("zoo:clip")), device="cpu")
    images = [picture(seed) for seed in (1, 2, 3)]
    with torch.no_grad():
        vectors = network.encode_image(torch.stack([preprocess(image) for image in images]))
    layers = head_file(tmp_path / f"head{suffix}", width=vectors.shape[1])
    config = AestheticScorer(model="zoo:clip", head=str(tmp_path / f"head{suffix}"), batch=1)
    columns = config.load("cpu")([unit(4, 5, 6), TripletImages(*images, "", "", "shifted")])
    assert tuple(columns) == config.columns == ("aesthetic.content", "aesthetic.style", "aesthetic.stylized")
    with torch.no_grad():
        wanted = layers(vectors / vectors.norm(dim=1, keepdim=True))[:, 0]
    found = [columns[column][1] for column in config.columns]
    assert found == pytest.approx(wanted.tolist(), abs=1e-5) and len(set(found)) == 3


def test_another_head_is_another_scorer_and_a_wrong_one_is_refused(tmp_path: Path) -> None:
    head_file(tmp_path / "one.pth", width=16)
    head_file(tmp_path / "two.pth", width=16, seed=1)
    one, two = (AestheticScorer(model="zoo:clip", head=str(tmp_path / name)) for name in ("one.pth", "two.pth"))
    assert one.identity() != two.identity() and str(tmp_path) not in str(one.identity())
    with pytest.raises(ModelError, match="the head takes 16"):
        one.load("cpu")([unit(1, 2, 3)])
    torch.save({"layers.0.weight": torch.zeros(1, 768)}, tmp_path / "linear.pth")
    with pytest.raises(ModelError, match="not an aesthetic head"):
        AestheticScorer(model="zoo:clip", head=str(tmp_path / "linear.pth")).load("cpu")


@pytest.fixture
def classifier(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    labels = {0: "normal", 1: "nsfw", 2: "suggestive"}
    ViTForImageClassification(ViTConfig(**SIZES, intermediate_size=64, id2label=labels, initializer_range=0.5,
                                        label2id={v: k for k, v in labels.items()})).save_pretrained(tmp_path)
    ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(tmp_path)
    return tmp_path


def test_nsfw_is_the_probability_of_the_unsafe_labels(classifier: Path) -> None:
    units = [unit(1, 2, 3), unit(4, 5, 6), unit(7, 8, 9)]
    config = NsfwScorer(model=str(classifier), unsafe=("nsfw", "suggestive"), batch=2)
    columns = config.load("cpu")(units)
    assert tuple(columns) == config.columns == ("nsfw.content", "nsfw.style", "nsfw.stylized")
    network = ViTForImageClassification.from_pretrained(classifier).eval()
    pixels = np.asarray(units[2].style.resize((32, 32), Image.Resampling.BILINEAR), np.float32) / 255
    with torch.no_grad():
        logits = network(torch.from_numpy((pixels - 0.5) / 0.5).permute(2, 0, 1)[None].float()).logits[0]
    assert columns["nsfw.style"][2] == pytest.approx(1 - float(logits.softmax(0)[0]), abs=1e-2)
    alone = NsfwScorer(model=str(classifier)).load("cpu")(units)
    assert (alone["nsfw.content"] < columns["nsfw.content"]).all()


def test_nsfw_refuses_labels_that_the_model_lacks(classifier: Path) -> None:
    with pytest.raises(ModelError, match=r"no label \['porn'\]; there are \['normal', 'nsfw', 'suggestive'\]"):
        NsfwScorer(model=str(classifier), unsafe=("porn",)).load("cpu")
