"""`curate plan` asks the hub how large models are before anything is downloaded."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import huggingface_hub
import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import save

from curate.run.hub import files_on_hub
from curate.run.plan_command import plan_config
from curate.run.weights import model_sizes, weight_names
from filters.csd import CsdScorer
from pipelines.captioner import Captioner
from pipelines.diffusers_expert import DiffusersExpert
from tests.hub_server import COMMIT, Hub, hub_server, lead_to
from tests.test_run import small_config


def weights(numbers: int, dtype: torch.dtype = torch.float32) -> bytes:
    return save({"w": torch.zeros(numbers, dtype=dtype)})


JUNK = b"x" * 50_000
REPOS = {
    "org/writer": {"config.json": b"{}", "model-00001-of-00002.safetensors": weights(1000),
                   "model-00002-of-00002.safetensors": weights(500), "pytorch_model.bin": JUNK},
    "org/csd": {"README.md": b"", "checkpoints/whole.safetensors": weights(70), "other.bin": JUNK, "old.bin": JUNK},
    "org/edit": {"model_index.json": b"{}", "one_file.safetensors": JUNK, "vae/x.safetensors": weights(3),
                 "unet/x.safetensors": weights(40), "unet/x.fp16.safetensors": weights(40, torch.float16)},
    "org/uso": {"v1/dit_lora.safetensors": weights(11), "v2/dit_lora.safetensors": weights(900)},
}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    """huggingface_hub led to a hub of ours and to an empty cache."""
    with hub_server(REPOS) as server:
        lead_to(server, tmp_path / "cache", monkeypatch)
        files_on_hub.cache_clear()
        yield server
        files_on_hub.cache_clear()
        huggingface_hub.close_session()


def size(repo: str, *paths: str) -> int:
    return sum(len(REPOS[repo][path]) for path in paths)


def test_sizes_come_from_the_hub_before_anything_is_downloaded(hub: Hub) -> None:
    shards = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
    (writer,) = model_sizes(Captioner(model="org/writer", dtype="bfloat16"))
    assert (writer.file_bytes, writer.missing_bytes, writer.loaded_bytes) == (
        size("org/writer", *shards), size("org/writer", *shards), 2 * 1500)
    (csd,) = model_sizes(CsdScorer(model="org/csd/checkpoints/whole.safetensors"))
    assert (csd.file_bytes, csd.loaded_bytes) == (size("org/csd", "checkpoints/whole.safetensors"), 4 * 70)
    (pickled,) = model_sizes(CsdScorer(model="org/csd/old.bin"))
    assert (pickled.file_bytes, pickled.loaded_bytes) == (len(JUNK), None)
    expert = DiffusersExpert.model_validate({"model": "org/edit", "uso": {"model": "org/uso", "subfolder": "v1"}})
    edit, uso = model_sizes(expert)
    assert (edit.file_bytes, edit.loaded_bytes) == (size("org/edit", "vae/x.safetensors", "unet/x.safetensors"), 4 * 43)
    assert (uso.name, uso.loaded_bytes) == ("org/uso/v1", 4 * 11)
    (half,) = model_sizes(expert.model_copy(update={"variant": "fp16", "uso": None}))
    assert half.file_bytes == size("org/edit", "vae/x.safetensors", "unet/x.fp16.safetensors")
    assert hub.sent_bytes < len(JUNK) and not any(path.endswith("old.bin") for _, path, _ in hub.asked)


def test_what_lies_in_the_cache_is_not_downloaded_again_and_is_known_offline(hub: Hub, monkeypatch: pytest.MonkeyPatch,
                                                                            ) -> None:
    shard = "model-00002-of-00002.safetensors"
    huggingface_hub.hf_hub_download("org/writer", shard, revision=COMMIT)
    (writer,) = model_sizes(Captioner(model="org/writer"))
    assert writer.missing_bytes == size("org/writer", "model-00001-of-00002.safetensors")
    files_on_hub.cache_clear()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    huggingface_hub.close_session()
    (known,) = model_sizes(Captioner(model="org/writer", revision=COMMIT))
    assert (known.file_bytes, known.missing_bytes, known.loaded_bytes) == (size("org/writer", shard), 0, 2 * 500)
    (unknown,) = model_sizes(CsdScorer(model="org/csd/old.bin"))
    assert unknown.file_bytes is None and unknown.why == "offline mode, and it is not in the cache"


def test_a_model_that_is_not_there_is_unknown_with_the_reason(hub: Hub) -> None:
    (missing,) = model_sizes(CsdScorer(model="org/nothing"))
    assert missing.file_bytes is None and "no such model" in missing.why
    (nowhere,) = model_sizes(CsdScorer(model="/data/nothing"))
    assert "no such path" in nowhere.why


def test_the_plan_adds_up_memory_and_download(hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = small_config(tmp_path)
    overrides = ("captioner.model=org/writer", "captioner.dtype=float32", "scorers.csd.model=org/csd/old.bin",
                 "scorers.again.kind=csd", "scorers.again.model=org/csd/checkpoints/whole.safetensors",
                 "scorers.lost.kind=csd", "scorers.lost.model=org/lost", f"scorers.lost.revision={COMMIT}")
    assert plan_config(config, overrides, None) == 0
    told = capsys.readouterr().out
    assert "org/writer: 6 KiB of files (6 KiB to download), memory 5.86 KiB and activations" in told
    assert "org/lost: unknown (the hub has no such model, or HF_TOKEN may not see it)" in told
    total = sum((6144, size("org/csd", "old.bin", "checkpoints/whole.safetensors")))
    assert f"weights to download {total / 1024:.3g} KiB and 1 models of unknown size" in told


def test_a_tag_of_open_clip_leads_to_its_repository(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    from filters.clip import ClipScorer

    monkeypatch.setitem(REPOS, "timm/ViT-SO400M-16-SigLIP2-384", {  # type: ignore[arg-type]
        "open_clip_model.safetensors": weights(9), "model.safetensors": weights(8), "open_clip_model.bin": JUNK})
    (siglip,) = model_sizes(ClipScorer(model="ViT-SO400M-16-SigLIP2-384/webli", dtype="bfloat16"))
    assert siglip.loaded_bytes == 2 * 9


def test_per_folder_one_set_of_weights() -> None:
    assert weight_names(["a/x.safetensors", "a/x.bin", "b/y.bin", "b/readme.md", "z.pt"]) == [
        "a/x.safetensors", "b/y.bin", "z.pt"]
