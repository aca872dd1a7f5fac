"""Image and text pairs for open_clip's trainer: tars with ``jpg`` and ``txt`` members, and a sizes.json."""

from __future__ import annotations

from pathlib import Path

from curate.files import write_json
from curate.seal import SealConfig
from curate.seal.samples import Members, dump_json
from curate.seal.sealing import write_splits
from curate.trust.exported import Export, new_folder

TRAINING = '''```
python -m open_clip_train.main --dataset-type webdataset --train-data "{first}" --model ViT-B-32
```'''


def export_open_clip(export: Export, out: Path) -> None:
    """The target under its caption: open_clip knows one image a sample. sizes.json: shard -> samples."""

    def build(unit_id: str) -> Members:
        sample = export.sample(unit_id)
        said = sample.described
        return [(f"{unit_id}.{sample.suffix}", sample.images["stylized"]),
                (f"{unit_id}.txt", str(said["caption"]).encode()),
                (f"{unit_id}.json", dump_json(said).encode())]

    with new_folder(out) as folder:
        sides = {unit_id: split for split, ids in export.splits.items() for unit_id in ids}
        config = SealConfig.model_validate(export.sealed.dataset["settings"])
        shards, _ = write_splits(folder, sides, build, config)
        write_json(folder / "sizes.json", {shard.name: shard.samples for shard in shards})
        about = ["## Train on it", TRAINING.format(first=shards[0].name),
                 "A sample is the target with its caption; sizes.json says how many each shard holds."]
        export.write_card(folder, files={split: f"{split}-*.tar" for split in export.splits}, says=about,
                          tags=("webdataset",))
