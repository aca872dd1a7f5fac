"""Features on disk: tensors come back as they were, damage is named, and several processes may write."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from curate.errors import StoreError
from pipelines.data import FeatureCache


def test_cache_keeps_tensors_as_they_are(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path, fingerprint="vae-1")
    rows = torch.arange(12, dtype=torch.float32).reshape(3, 4)
    tensors = {"latent": torch.randn(2, 3).half(), "text": torch.randn(4).bfloat16(), "a": rows[0], "b": rows[1],
               "all": rows, "turned": rows.T, "ids": torch.tensor([1, 2])}
    assert cache.get("k") is None
    cache.put("k", tensors)
    got = cache.get("k")
    assert got is not None and set(got) == set(tensors)
    assert all(got[n].dtype == t.dtype and torch.equal(got[n], t) for n, t in tensors.items())
    assert FeatureCache(tmp_path, fingerprint="vae-2").get("k") is None and cache.get("other") is None
    cache.put("../odd key", {"x": torch.ones(1)})
    assert cache.get("../odd key") is not None
    (files, folders) = ([p for p in tmp_path.rglob("*") if p.is_file()], list((tmp_path / "vae-1").iterdir()))
    assert len(files) == 2 and all(p.suffix == ".safetensors" for p in files)
    assert all(len(folder.name) == 2 for folder in folders)
    with pytest.raises(ValueError, match="not a plain name"):
        FeatureCache(tmp_path, fingerprint="../x")


def test_cache_names_a_damaged_file(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path, fingerprint="f")
    cache.put("k", {"x": torch.arange(100.0)})
    (path,) = tmp_path.rglob("*.safetensors")
    whole = path.read_bytes()
    for cut in (0, 4, 40, len(whole) - 1):
        path.write_bytes(whole[:cut])
        with pytest.raises(StoreError, match=rf"{path.name}: damaged .*delete this file"):
            cache.get("k")
    path.unlink()
    assert cache.get("k") is None


def test_processes_may_write_the_same_key(tmp_path: Path) -> None:
    write = ("import sys, torch; from pathlib import Path; from pipelines.data.cache import FeatureCache\n"
             "cache = FeatureCache(Path(sys.argv[1]), fingerprint='f')\n"
             "for _ in range(40): cache.put('k', {'x': torch.arange(5000.0)})")
    cache = FeatureCache(tmp_path, fingerprint="f")
    cache.put("k", {"x": torch.arange(5000.0)})
    with subprocess.Popen([sys.executable, "-c", write, str(tmp_path)]) as other:
        while other.poll() is None:
            time.sleep(0.002)  # leaves the other one a core
            if any(tmp_path.rglob(".*.tmp")):  # the other one is at it
                cache.put("k", {"x": torch.arange(5000.0)})
            got = cache.get("k")
            assert got is not None and torch.equal(got["x"], torch.arange(5000.0))
    assert other.returncode == 0
    assert [p.suffix for p in tmp_path.rglob("*") if p.is_file()] == [".safetensors"]
