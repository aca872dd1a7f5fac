"""USO's released files: read, written, refused; and a forward pass equal to FLUX's equations on the released names."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import torch
from diffusers import FluxPipeline, FluxTransformer2DModel
from diffusers.loaders.single_file_utils import convert_flux_transformer_checkpoint_to_diffusers
from peft import get_peft_model_state_dict
from torch import Tensor, nn

from curate.errors import ModelError, StoreError
from pipelines.uso.bfl_layout import lora_from_official, lora_to_official
from pipelines.uso.model import denoise
from pipelines.uso.official import (
    LORA_FILE,
    PROJECTOR_FILE,
    add_lora,
    load_official,
    lora_targets,
    save_official,
    save_peft_lora,
)
from pipelines.uso.projector import ProjectorKind, StyleProjector
from tests.published_flux import (
    AXES,
    DOUBLE,
    HEAD_DIM,
    HEADS,
    HIDDEN,
    IN_CHANNELS,
    MLP,
    PATCHES,
    POOLED_DIM,
    SINGLE,
    STYLE_TOKENS,
    TEXT_DIM,
    VISION_DIM,
    PublishedFlux,
    State,
    make_base,
)

RANK = 3
Pair = tuple[FluxTransformer2DModel, StyleProjector]


# ---- the parts: real ones at toy size, and what they are asked


def build(seed: int = 0, *, kind: ProjectorKind = "hierarchical", depth: int = SINGLE) -> Pair:
    torch.manual_seed(seed)
    transformer = FluxTransformer2DModel(
        in_channels=IN_CHANNELS,
        num_layers=DOUBLE,
        num_single_layers=depth,
        attention_head_dim=HEAD_DIM,
        num_attention_heads=HEADS,
        joint_attention_dim=TEXT_DIM,
        pooled_projection_dim=POOLED_DIM,
        guidance_embeds=True,
        axes_dims_rope=AXES,
    )
    projector = StyleProjector(
        kind=kind,
        vision_tokens=PATCHES,
        vision_dim=VISION_DIM,
        tokens_per_level=STYLE_TOKENS,
        hidden_dim=HIDDEN,
        heads=2,
    )
    return transformer, projector


def build_trained(seed: int = 0, *, rank: int = RANK, alpha: int | None = None) -> Pair:
    """With a LoRA whose A and B are random, as after a training."""
    transformer, projector = build(seed)
    add_lora(transformer, rank=rank, alpha=alpha)
    with torch.no_grad():
        for name, weight in transformer.named_parameters():
            if ".lora_" in name:
                weight.normal_(std=0.3)
    return transformer, projector


def untie(pair: Pair) -> Pair:
    """An A of its own for each of q, k and v, as other trainers have them."""
    torch.manual_seed(3)
    for name, module in pair[0].named_modules():
        if name.endswith(".lora_A.default"):
            module.weight = nn.Parameter(torch.randn_like(module.weight) * 0.3)
    return pair


def build_base(seed: int = 0) -> Pair:
    """The same base as `build_trained(seed)` has, and another projector."""
    return build(seed)[0], build(seed + 1)[1]


def make_inputs() -> tuple[dict[str, Tensor], list[Tensor]]:
    """Arguments of `denoise` for 2 pictures (2 x 3 target tokens, 2 x 2 content tokens), and SigLIP's three levels."""
    torch.manual_seed(5)
    ids = torch.tensor(
        [(0, r, c) for r in range(2) for c in range(3)] + [(0, 2 + r, 3 + c) for r in (0, 1) for c in (0, 1)]
    )
    inputs = {
        "hidden_states": torch.randn(2, len(ids), IN_CHANNELS),
        "encoder_hidden_states": torch.randn(2, 5, TEXT_DIM),
        "pooled_projections": torch.randn(2, POOLED_DIM),
        "timestep": torch.tensor([0.25, 0.8]),
        "img_ids": ids.float(),
        "txt_ids": torch.zeros(5, 3),
        "guidance": torch.tensor([4.0, 1.5]),
    }
    return inputs, [torch.randn(2, PATCHES, VISION_DIM) for _ in range(3)]


@torch.no_grad()
def run(pair: Pair) -> Tensor:
    inputs, levels = make_inputs()
    return denoise(pair[0], **inputs, style_tokens=pair[1](levels))


def snapshot(pair: Pair) -> State:
    return {
        f"{i}.{name}": value.clone() for i, module in enumerate(pair) for name, value in module.state_dict().items()
    }


def assert_equal(ours: State, theirs: State) -> None:
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        assert value.dtype == theirs[name].dtype and torch.equal(value, theirs[name]), name


def relative_error(ours: Tensor, theirs: Tensor) -> float:
    return float((ours - theirs).abs().max() / theirs.abs().max())


# ---- a file as released, from the names and shapes alone


def make_official(*, dtype: torch.dtype = torch.bfloat16) -> tuple[State, State]:
    torch.manual_seed(11)
    sizes = {f"double_blocks.{i}.processor.qkv_lora{s}": (HIDDEN, 3 * HIDDEN) for i in range(DOUBLE) for s in (1, 2)}
    sizes |= {f"double_blocks.{i}.processor.proj_lora{s}": (HIDDEN, HIDDEN) for i in range(DOUBLE) for s in (1, 2)}
    sizes |= {f"single_blocks.{i}.processor.qkv_lora": (HIDDEN, 3 * HIDDEN) for i in range(SINGLE)}
    sizes |= {f"single_blocks.{i}.processor.proj_lora": (HIDDEN + MLP, HIDDEN) for i in range(SINGLE)}
    lora = {}
    for prefix, (num_in, num_out) in sizes.items():
        lora[f"{prefix}.down.weight"] = (torch.randn(RANK, num_in) / num_in**0.5).to(dtype)
        lora[f"{prefix}.up.weight"] = (torch.randn(num_out, RANK) * 0.5).to(dtype)
    styles = {}
    for level in ("high", "mid", "low"):
        for layer, shape in {
            "embedding_linear.0": (STYLE_TOKENS, PATCHES),
            "layer_norm": (VISION_DIM,),
            "projection": (HIDDEN, VISION_DIM),
        }.items():
            styles[f"feature_embedder.{level}_{layer}.weight"] = (torch.randn(shape) * 0.5).to(dtype)
            styles[f"feature_embedder.{level}_{layer}.bias"] = (torch.randn(shape[0]) * 0.5).to(dtype)
    return lora, styles


def write_official(folder: Path, lora: State, styles: State) -> Path:
    folder.mkdir(exist_ok=True)
    safetensors.torch.save_file(lora, folder / LORA_FILE)
    safetensors.torch.save_file(styles, folder / PROJECTOR_FILE)
    return folder


# ---- round trips


def test_saved_files_load_into_a_fresh_copy_equal_in_tensors_and_in_forward_passes(tmp_path: Path) -> None:
    source = build_base()
    load_official(write_official(tmp_path / "released", *make_official()), transformer=source[0], projector=source[1])
    save_official(tmp_path / "ours", transformer=source[0], projector=source[1])
    copy = build_base()
    load_official(tmp_path / "ours", transformer=copy[0], projector=copy[1])
    assert_equal(snapshot(copy), snapshot(source))
    assert torch.equal(run(copy), run(source))
    assert relative_error(run(build_base()), run(source)) > 0.05
    assert sorted(path.name for path in (tmp_path / "ours").iterdir()) == [LORA_FILE, PROJECTOR_FILE]


def test_official_names_to_ours_and_back_are_the_same_bits() -> None:
    lora, _ = make_official()
    ours = lora_from_official(lora)
    q, k = (f"transformer_blocks.1.attn.{name}.lora_A.weight" for name in ("to_q", "to_k"))
    assert torch.equal(ours[q], ours[k])
    assert ours["single_transformer_blocks.2.proj_out.lora_A.weight"].shape == (RANK, HIDDEN + MLP)
    assert_equal(lora_to_official(ours), lora)


def test_a_released_file_through_the_model_is_the_same_file(tmp_path: Path) -> None:
    lora, styles = make_official(dtype=torch.float32)
    pair = build_base()
    load_official(write_official(tmp_path / "released", lora, styles), transformer=pair[0], projector=pair[1])
    save_official(tmp_path / "ours", transformer=pair[0], projector=pair[1])
    assert_equal(safetensors.torch.load_file(tmp_path / "ours" / LORA_FILE), lora)
    assert_equal(safetensors.torch.load_file(tmp_path / "ours" / PROJECTOR_FILE), styles)


def test_bfloat16_files_are_cast_to_the_modules_and_the_two_files_may_lie_apart(tmp_path: Path) -> None:
    lora, styles = make_official()
    folder = write_official(tmp_path, lora, styles)
    pair = build_base()
    paths = (
        (folder / LORA_FILE).rename(folder / "a.safetensors"),
        (folder / PROJECTOR_FILE).rename(folder / "b.safetensors"),
    )
    load_official(paths, transformer=pair[0], projector=pair[1])
    assert {weight.dtype for module in pair for weight in module.parameters()} == {torch.float32}
    state = get_peft_model_state_dict(pair[0])
    assert_equal(state, {name: value.float() for name, value in lora_from_official(lora).items()})


def test_independent_a_of_q_k_v_are_written_exactly_at_three_times_the_rank(tmp_path: Path) -> None:
    source = untie(build_trained())
    save_official(tmp_path, transformer=source[0], projector=source[1])
    written = safetensors.torch.load_file(tmp_path / LORA_FILE)
    assert {value.shape[0] for name, value in written.items() if ".down." in name} == {3 * RANK}
    proj = "single_blocks.0.processor.proj_lora"
    assert not written[f"{proj}.down.weight"][RANK:].any() and not written[f"{proj}.up.weight"][:, RANK:].any()
    copy = build_base()
    load_official(tmp_path, transformer=copy[0], projector=copy[1])
    assert relative_error(run(copy), run(source)) < 1e-5
    save_official(tmp_path / "again", transformer=copy[0], projector=copy[1])
    assert_equal(safetensors.torch.load_file(tmp_path / "again" / LORA_FILE), written)


def test_a_trained_lora_is_written_at_its_own_rank(tmp_path: Path) -> None:
    source = build_trained()
    save_official(tmp_path, transformer=source[0], projector=source[1])
    written = safetensors.torch.load_file(tmp_path / LORA_FILE)
    assert {value.shape[0] for name, value in written.items() if ".down." in name} == {RANK}
    copy = build_base()
    load_official(tmp_path, transformer=copy[0], projector=copy[1])
    assert_equal(snapshot(copy), snapshot(source))
    assert torch.equal(run(copy), run(source))


@pytest.mark.parametrize("loaded", [False, True])
def test_q_k_and_v_learn_one_a_whether_new_or_loaded(tmp_path: Path, loaded: bool) -> None:
    """What reaches an optimiser, an average and a checkpoint is `named_parameters`: it must have each A once."""
    pair = build_base()
    if loaded:
        load_official(write_official(tmp_path, *make_official()), transformer=pair[0], projector=pair[1])
    else:
        pair = build_trained()
    learns = [name for name, weight in pair[0].named_parameters() if weight.requires_grad]
    assert len(learns) == len(set(learns)) == DOUBLE * (4 + 8) + SINGLE * (2 + 4)
    inputs, levels = make_inputs()
    denoise(pair[0], **inputs, style_tokens=pair[1](levels)).square().mean().backward()
    torch.optim.SGD([w for w in pair[0].parameters() if w.requires_grad], lr=0.1).step()
    state = get_peft_model_state_dict(pair[0])
    for block, names in (("transformer_blocks.1", ("to_q", "to_k", "to_v")),
                         ("transformer_blocks.1", ("add_q_proj", "add_k_proj", "add_v_proj")),
                         ("single_transformer_blocks.2", ("to_q", "to_k", "to_v"))):
        first, *others = (state[f"{block}.attn.{name}.lora_A.weight"] for name in names)
        assert all(torch.equal(first, other) for other in others)


def test_alpha_is_folded_into_up(tmp_path: Path) -> None:
    plain, doubled = build_trained(), build_trained(alpha=2 * RANK)
    save_official(tmp_path / "plain", transformer=plain[0], projector=plain[1])
    save_official(tmp_path / "doubled", transformer=doubled[0], projector=doubled[1])
    one, two = (safetensors.torch.load_file(tmp_path / name / LORA_FILE) for name in ("plain", "doubled"))
    assert_equal(two, {name: value * (2 if ".up." in name else 1) for name, value in one.items()})
    copy = build_base()
    load_official(tmp_path / "doubled", transformer=copy[0], projector=copy[1])
    assert relative_error(run(copy), run(doubled)) < 1e-5
    assert relative_error(run(plain), run(doubled)) > 0.05


@pytest.mark.parametrize("alpha", [None, 2])
def test_diffusers_loads_what_save_peft_lora_writes(tmp_path: Path, alpha: int | None) -> None:
    source = untie(build_trained(alpha=alpha)) if alpha else build_trained()
    save_peft_lora(tmp_path, transformer=source[0])
    assert [path.name for path in tmp_path.iterdir()] == ["pytorch_lora_weights.safetensors"]
    copy = build(0)[0]
    copy.load_lora_adapter(tmp_path, weight_name="pytorch_lora_weights.safetensors")
    assert relative_error(run((copy, source[1])), run(source)) < 1e-6
    state = FluxPipeline.lora_state_dict(tmp_path, weight_name="pytorch_lora_weights.safetensors")
    assert len(state) == len(get_peft_model_state_dict(source[0]))


def test_the_lora_sits_on_every_block_changes_nothing_at_first_and_alone_is_trained() -> None:
    plain, pair = build_base(), build_base()
    add_lora(pair[0], rank=RANK)
    assert torch.equal(run(pair), run(plain))
    linears = [name for name, module in plain[0].named_modules() if isinstance(module, nn.Linear)]
    hit = [name for name in linears if re.fullmatch(lora_targets(), name)]
    assert len(hit) == DOUBLE * 8 + SINGLE * 4
    named = list(pair[0].named_parameters(remove_duplicate=False))
    assert {name.partition(".lora_")[0] for name, weight in named if weight.requires_grad} == set(hit)
    assert all(".lora_" in name for name, weight in pair[0].named_parameters() if weight.requires_grad)


def test_at_full_size_the_file_has_the_names_and_shapes_of_the_released_one(tmp_path: Path) -> None:
    """FLUX.1 dev without memory: 304 tensors of the LoRA, 18 of the projector, 239,075,328 numbers at rank 128."""
    hidden, mlp, blocks = 3072, 4 * 3072, (19, 38)
    sizes = {f"double_blocks.{i}.processor.{layer}{s}": (hidden, out)
             for i in range(19) for s in (1, 2) for layer, out in (("qkv_lora", 3 * hidden), ("proj_lora", hidden))}
    sizes |= {f"single_blocks.{i}.processor.qkv_lora": (hidden, 3 * hidden) for i in range(38)}
    sizes |= {f"single_blocks.{i}.processor.proj_lora": (15360, hidden) for i in range(38)}
    lora = {}
    for prefix, (num_in, num_out) in sizes.items():
        lora[f"{prefix}.down.weight"], lora[f"{prefix}.up.weight"] = torch.zeros(1, num_in), torch.zeros(num_out, 1)
    assert len(lora) == 304
    shapes = {"embedding_linear.0": (64, 729), "layer_norm": (1152,), "projection": (3072, 1152)}
    styles = {f"feature_embedder.{level}_{layer}.{part}": torch.zeros(shape if part == "weight" else shape[:1])
              for level in ("high", "mid", "low") for layer, shape in shapes.items() for part in ("weight", "bias")}
    assert len(styles) == 18
    write_official(tmp_path, lora, styles)
    projector = StyleProjector()
    with torch.device("meta"):
        flux = FluxTransformer2DModel(guidance_embeds=True)
        assert (len(flux.transformer_blocks), len(flux.single_transformer_blocks)) == blocks
        assert flux.single_transformer_blocks[37].proj_out.in_features == hidden + mlp == 15360
        load_official(tmp_path, transformer=flux, projector=projector)
        flux.delete_adapters("default")
        add_lora(flux, rank=128)
    learns = sum(weight.numel() for weight in flux.parameters() if weight.requires_grad)
    assert learns == 128 * sum(value.numel() for value in lora.values()) == 239_075_328


# ---- refusals: the file and the names are told, the model stays as it was

DOWN = "double_blocks.1.processor.qkv_lora2.down.weight"
LAYER_NORM = "feature_embedder.mid_layer_norm.bias"
Damage = Callable[[State, State], object]
DAMAGES: dict[str, tuple[Damage, str, list[str]]] = {
    "lora key missing": (lambda lora, _: lora.pop(DOWN), LORA_FILE, ["missing", DOWN]),
    "projector key missing": (lambda _, styles: styles.pop(LAYER_NORM), PROJECTOR_FILE, ["missing", LAYER_NORM]),
    "lora key extra": (
        lambda lora, _: lora.update({f"double_blocks.{DOUBLE}.processor.proj_lora1.up.weight": torch.ones(2)}),
        LORA_FILE,
        ["unexpected", f"double_blocks.{DOUBLE}.processor.proj_lora1.up.weight"],
    ),
    "projector key extra": (
        lambda _, styles: styles.update({"feature_embedder.top.bias": torch.ones(2)}),
        PROJECTOR_FILE,
        ["unexpected", "feature_embedder.top.bias"],
    ),
    "lora shape": (
        lambda lora, _: lora.update({DOWN: torch.ones(RANK, HIDDEN + 1)}),
        LORA_FILE,
        [DOWN, f"({RANK}, {HIDDEN + 1})", f"({RANK}, {HIDDEN})"],
    ),
    "one layer of another rank": (
        lambda lora, _: lora.update({DOWN: torch.ones(RANK + 1, HIDDEN)}),
        LORA_FILE,
        [DOWN, f"({RANK + 1}, {HIDDEN})", f"({RANK}, {HIDDEN})"],
    ),
    "projector shape": (
        lambda _, styles: styles.update({LAYER_NORM: torch.ones(7)}),
        PROJECTOR_FILE,
        [LAYER_NORM, "(7,)", f"({VISION_DIM},)"],
    ),
    "whole numbers": (
        lambda lora, _: lora.update({DOWN: torch.ones(RANK, HIDDEN, dtype=torch.int8)}),
        LORA_FILE,
        [DOWN, "torch.int8"],
    ),
    "another model's file": (
        lambda lora, _: lora.clear() or lora.update({f"layer.{i}": torch.ones(1) for i in range(30)}),
        LORA_FILE,
        ["missing", "double_blocks.0.processor.proj_lora1.down.weight", "layer.0", "and 10 more"],
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_partial_and_foreign_files_are_refused(tmp_path: Path, damage: str) -> None:
    change, file, words = DAMAGES[damage]
    lora, styles = make_official()
    change(lora, styles)
    assert_refused(write_official(tmp_path, lora, styles), file, words)


@pytest.mark.parametrize("file", [LORA_FILE, PROJECTOR_FILE])
@pytest.mark.parametrize("fault", ["absent", "cut"])
def test_a_file_that_is_absent_or_cut_is_refused(tmp_path: Path, file: str, fault: str) -> None:
    path = write_official(tmp_path, *make_official()) / file
    data = path.read_bytes()
    path.unlink()
    if fault == "cut":
        path.write_bytes(data[: len(data) // 2])
    assert_refused(tmp_path, file, ["cannot be read"])


def assert_refused(folder: Path, file: str, words: list[str]) -> None:
    pair = build_base()
    before = snapshot(pair)
    with pytest.raises(ModelError) as raised:
        load_official(folder, transformer=pair[0], projector=pair[1])
    assert all(word in str(raised.value) for word in [str(folder / file), *words]), raised.value
    assert_equal(snapshot(pair), before)
    add_lora(pair[0], rank=RANK)  # the transformer took no adapter


def test_a_model_of_another_depth_is_refused_with_the_blocks_it_lacks(tmp_path: Path) -> None:
    write_official(tmp_path, *make_official())
    transformer, projector = build(depth=SINGLE + 1)
    with pytest.raises(ModelError, match=rf"missing: single_blocks\.{SINGLE}\.processor\.proj_lora\.down\.weight"):
        load_official(tmp_path, transformer=transformer, projector=projector)


def test_a_transformer_with_a_lora_takes_no_second_one(tmp_path: Path) -> None:
    write_official(tmp_path, *make_official())
    pair = build_trained()
    before = snapshot(pair)
    with pytest.raises(ModelError, match="has a LoRA already"):
        load_official(tmp_path, transformer=pair[0], projector=pair[1])
    with pytest.raises(ModelError, match="already"):
        add_lora(pair[0], rank=RANK)
    assert_equal(snapshot(pair), before)
    pair[0].delete_adapters("default")
    load_official(tmp_path, transformer=pair[0], projector=pair[1])


def test_what_the_format_cannot_hold_is_not_written(tmp_path: Path) -> None:
    folder = tmp_path / "none"
    transformer, projector = build()
    with pytest.raises(ModelError, match="no LoRA"):
        save_official(folder, transformer=transformer, projector=projector)
    with pytest.raises(ModelError, match="no LoRA"):
        save_peft_lora(folder, transformer=transformer)
    with pytest.raises(ModelError, match=r"projector\.safetensors: .* of the kind resampler"):
        save_official(folder, transformer=build_trained()[0], projector=build(kind="resampler")[1])
    assert not folder.exists()
    write_official(tmp_path, *make_official())
    with pytest.raises(ModelError, match=r"projector\.safetensors: .* of the kind resampler"):
        load_official(tmp_path, transformer=transformer, projector=build(kind="resampler")[1])


def test_maps_refuse_partial_blocks() -> None:
    lora, _ = make_official()
    with pytest.raises(ModelError, match=f"missing: {DOWN}"):
        lora_from_official({name: value for name, value in lora.items() if name != DOWN})
    ours = lora_from_official(lora)
    gone = "transformer_blocks.0.attn.add_k_proj.lora_B.weight"
    with pytest.raises(ModelError, match=f"missing: {gone}"):
        lora_to_official({name: value for name, value in ours.items() if name != gone})
    with pytest.raises(ModelError, match=r"unexpected: x\.lora_A\.weight"):
        lora_to_official({**ours, "x.lora_A.weight": torch.ones(1, 1)})
    with pytest.raises(ModelError, match="one rank"):
        lora_to_official({**ours, gone: torch.ones(HIDDEN, RANK + 1)})
    up = DOWN.replace("down", "up")
    with pytest.raises(ModelError, match=f"{up} has {3 * HIDDEN + 1} rows"):
        lora_from_official({**lora, up: torch.ones(3 * HIDDEN + 1, RANK)})


def test_a_save_that_dies_leaves_no_mixed_pair(tmp_path: Path) -> None:
    """A new projector beside an old LoRA would load without complaint."""
    pair = build_trained()
    save_official(tmp_path, transformer=pair[0], projector=pair[1])
    (tmp_path / PROJECTOR_FILE).unlink()
    (tmp_path / PROJECTOR_FILE).mkdir()  # so that this write fails, as on a full disk
    with pytest.raises(StoreError, match=PROJECTOR_FILE):
        save_official(tmp_path, transformer=pair[0], projector=pair[1])
    assert [path.name for path in tmp_path.iterdir()] == [PROJECTOR_FILE]


@pytest.mark.parametrize("save", ["official", "peft"])
def test_a_file_in_the_folders_place_is_told(tmp_path: Path, save: str) -> None:
    (tmp_path / "taken").write_text("")
    transformer, projector = build_trained()
    with pytest.raises(StoreError, match="taken: cannot be written"):
        if save == "peft":
            save_peft_lora(tmp_path / "taken", transformer=transformer)
        else:
            save_official(tmp_path / "taken", transformer=transformer, projector=projector)


# ---- the bar: FLUX's published equations (tests/published_flux.py)


def to_diffusers(base: State) -> State:
    """diffusers' own converter. It splits linear1 at FLUX.1's 3072 whatever the model's size, so the four parts of
    linear1 are padded to what it expects, and cut again."""
    padded = dict(base)
    for name in [name for name in base if ".linear1." in name]:
        parts = base[name].split([HIDDEN, HIDDEN, HIDDEN, MLP])
        full = [torch.zeros(rows, *parts[0].shape[1:]) for rows in (3072, 3072, 3072, 4 * 3072)]
        for space, part in zip(full, parts, strict=True):
            space[: len(part)] = part
        padded[name] = torch.cat(full)
    state: State = convert_flux_transformer_checkpoint_to_diffusers(padded)
    cut = {3072: HIDDEN, 4 * 3072: MLP}
    return {name: value[: cut[len(value)]] if len(value) in cut else value for name, value in state.items()}


def test_a_released_file_gives_what_the_published_equations_give(tmp_path: Path) -> None:
    base, (lora, styles) = make_base(), make_official(dtype=torch.float32)
    pair = build_base()
    pair[0].load_state_dict(to_diffusers(base))
    without = run(pair)
    load_official(write_official(tmp_path, lora, styles), transformer=pair[0], projector=pair[1])
    published = PublishedFlux({**base, **lora, **styles})(*make_inputs())
    assert relative_error(run(pair), published) < 1e-4
    assert relative_error(without, published) > 0.05


@pytest.mark.parametrize("layer", ["qkv_lora1", "proj_lora1", "qkv_lora2", "proj_lora2", "qkv_lora", "proj_lora"])
def test_each_layer_of_the_file_moves_that_result(layer: str) -> None:
    """So the equality above speaks for every name of the format: without one kind of layer it would not hold."""
    base, (lora, styles) = make_base(), make_official(dtype=torch.float32)
    full = PublishedFlux({**base, **lora, **styles})(*make_inputs())
    zeroed = {name: value * (f".{layer}." not in name) for name, value in lora.items()}
    assert relative_error(PublishedFlux({**base, **zeroed, **styles})(*make_inputs()), full) > 1e-2
