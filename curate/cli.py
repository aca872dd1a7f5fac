"""The command line. Few options; knobs live in YAML and ``--set``. Heavy imports happen inside the commands."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from curate.errors import CurateError

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False,
                  help="Make, filter and shard (content, style, stylized) triplets.")
zoo = typer.Typer(no_args_is_help=True, help="The compact models that ship with the project.")
app.add_typer(zoo, name="zoo")

Overrides = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a config value.")]


def _place(text: str) -> Path:
    from curate.files import as_path

    return as_path(text)


def _folder(text: str | Path) -> Path:
    """``text``: as given, or the default."""
    if "://" in str(text):
        raise typer.BadParameter(f"{text}: pictures are written to a folder, not to a bucket")
    return Path(text)


RunFolder = Annotated[Path, typer.Argument(metavar="RUN", parser=_place, help="A run directory, or its URL.")]


@app.command()
def run(
    config: Annotated[Path | None, typer.Argument(metavar="[CONFIG]", help="Default: the quick start.")] = None,
    overrides: Overrides = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Plan and count; make nothing.")] = False,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Try the failed units again.")] = False,
    address: Annotated[str | None, typer.Option("--address", help="A running Ray: auto, or HOST:PORT.")] = None,
) -> None:
    """Make the triplets of CONFIG; run it again to resume or after a change."""
    from curate.run.command import run_config

    joined = ("engine.kind=ray", f"engine.address={address}") if address else ()
    raise typer.Exit(run_config(config, (*(overrides or ()), *joined), dry_run=dry_run, retry_failed=retry_failed))


@app.command()
def plan(
    config: Annotated[Path | None, typer.Argument(metavar="[CONFIG]", help="Default: the quick start.")] = None,
    overrides: Overrides = None,
    pilot: Annotated[int | None, typer.Option(
        "--pilot", min=1, metavar="N", help="Make N units in a folder beside the run, and measure.")] = None,
) -> None:
    """Counts, models, memory and disk before any work; with a pilot also speed, yield, GPU-hours and cost."""
    from curate.run.plan_command import plan_config

    raise typer.Exit(plan_config(config, tuple(overrides or ()), pilot))


@app.command()
def seal(
    run_folder: RunFolder,
    rules: Annotated[Path | None, typer.Option("--rules", help="YAML with `rules:` (a run config will do).")] = None,
    overrides: Overrides = None,
    ids: Annotated[Path | None, typer.Option("--ids", help="Only units in this list (of `curate select`).")] = None,
) -> None:
    """Decide again and write the shards again, without any model."""
    from curate.run.command import seal_run

    raise typer.Exit(seal_run(run_folder, rules, tuple(overrides or ()), ids))


@app.command()
def whatif(
    run_folder: RunFolder,
    rules: Annotated[Path | None, typer.Option("--rules", help="YAML with `rules:`, as for seal.")] = None,
    overrides: Annotated[list[str] | None, typer.Option(
        "--set", metavar="KEY=VALUE", help="rules.0.min=0.7, or several to try: rules.0.min=[0.6,0.7].")] = None,
) -> None:
    """What other rules would keep, from the index alone; without options: each rule left out once."""
    from curate.steer.whatif import show_whatif

    show_whatif(run_folder, rules, tuple(overrides or ()))


@app.command()
def label(
    run_folder: RunFolder,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Of the page; 0: a free one.")] = 0,
    terminal: Annotated[bool, typer.Option("--terminal", help="In this terminal instead of a page.")] = False,
) -> None:
    """Say which triplets are good, on a local page; labels go into RUN/labels.parquet one by one."""
    from curate.steer.label import label_run

    label_run(run_folder, port=port, terminal=terminal)


@app.command()
def calibrate(
    run_folder: RunFolder,
    labels: Annotated[Path | None, typer.Option("--labels", help="Default: RUN/labels.parquet.")] = None,
    precision: Annotated[float, typer.Option("--precision", help="Share of good ones among the kept.")] = 0.95,
    confidence: Annotated[float, typer.Option("--confidence", help="That the precision is at least so high.")] = 0.975,
    rules: Annotated[Path | None, typer.Option("--rules", help="Which columns; default: the sealed rules.")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Default: RUN/calibrated.yaml.")] = None,
) -> None:
    """Thresholds of a wanted precision at the highest yield, from labels; exit code 1 if there are none."""
    from curate.steer.calibrate import calibrate_run

    raise typer.Exit(calibrate_run(run_folder, labels, rules, out, precision=precision, confidence=confidence))


@app.command()
def select(
    run_folder: RunFolder,
    count: Annotated[int, typer.Option("--count", "-k", min=1, help="How many.")],
    out: Annotated[Path | None, typer.Option("--out", help="Default: RUN/selected.txt.")] = None,
    max_similarity: Annotated[float, typer.Option(
        "--max-similarity", help="Cosine above which two targets are near-duplicates.")] = 0.98,
) -> None:
    """Choose K of the kept: balanced over styles and subjects, diverse, no near-duplicates."""
    from curate.steer.select import select as choose

    choose(run_folder, count, out, max_similarity=max_similarity)


@app.command()
def train(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="A training config; see configs/train.")],
    overrides: Overrides = None,
    resume: Annotated[bool, typer.Option("--resume", help="There must be a checkpoint to go on from.")] = False,
) -> None:
    """Train a USO model on sealed shards; the same command again resumes."""
    from curate.train.command import train_config

    raise typer.Exit(train_config(config, tuple(overrides or ()), resume=resume))


@app.command()
def generate(
    model: Annotated[str, typer.Argument(
        metavar="MODEL", help="A trained `model` folder, zoo:NAME, a hub id, a preset (uso), or an expert's YAML.")],
    out: Annotated[Path, typer.Option(
        "--out", parser=_folder, help="Folder for the pictures; those of the same seeds are replaced.",
        )] = Path("generated"),
    uso: Annotated[Path | None, typer.Option("--uso", help="Folder with dit_lora and projector .safetensors.")] = None,
    prompt: Annotated[str, typer.Option("--prompt", help="Empty: the content's layout is kept.")] = "",
    content: Annotated[list[Path] | None, typer.Option("--content", help="Content image; may be repeated.")] = None,
    style: Annotated[list[Path] | None, typer.Option("--style", help="Style image; may be repeated.")] = None,
    seed: Annotated[list[int] | None, typer.Option("--seed", help="A picture for each; may be repeated.")] = None,
    steps: Annotated[int | None, typer.Option(
        "--steps", min=1, help="Euler steps; default: the expert's, else 25.")] = None,
    guidance: Annotated[float | None, typer.Option(
        "--guidance", help="Where the model embeds one, as FLUX.1 dev; default: the expert's, else 4.")] = None,
    size: Annotated[str | None, typer.Option(
        "--size", metavar="WxH", help="In px; default: the model's own area in the first content's shape.")] = None,
) -> None:
    """Make pictures with a USO model, on a GPU in bfloat16."""
    from curate.train.generating import generate as make

    references = {"content": content or [], "style": style or []}
    for path in make(model, out, uso=uso, prompt=prompt, seeds=seed or [0], steps=steps, guidance=guidance, size=size,
                     **references):
        print(path)


@app.command()
def bench(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="A bench config; see configs/bench.")],
    overrides: Overrides = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Read the bench and count; make nothing.")] = False,
) -> None:
    """Measure systems on subject, style and combined tasks; the same command again resumes."""
    from curate.bench.command import run_bench

    raise typer.Exit(run_bench(config, tuple(overrides or ()), dry_run=dry_run))


@app.command()
def stats(
    run_folder: RunFolder,
    as_json: Annotated[bool, typer.Option("--json", help="Print report/stats.json instead of tables.")] = False,
) -> None:
    """Funnel, reasons, scores, yield, speed; writes report/stats.json and report/contact_sheet.png."""
    from curate.run.looking import show_stats

    show_stats(run_folder, as_json=as_json)


@app.command()
def report(
    run_folder: RunFolder,
    other: Annotated[Path | None, typer.Argument(
        metavar="[OTHER]", parser=_place, help="A second run to set beside it.")] = None,
) -> None:
    """One page to open in a browser: what was kept and why, thresholds to try, pictures; or two runs side by side."""
    from curate.run.looking import show_report

    show_report(run_folder, other)


@app.command()
def verify(
    run_folder: RunFolder,
    deep: Annotated[bool, typer.Option("--deep", help="Also hash every candidate image.")] = False,
) -> None:
    """Prove that the shards are whole and the accounts add up; exit code 1 and a list of faults if not."""
    from curate.run.looking import show_faults

    raise typer.Exit(show_faults(run_folder, deep=deep))


@app.command()
def explain(
    run_folder: RunFolder,
    unit: Annotated[str, typer.Argument(
        metavar="ID", help="A unit id, its beginning, its number in the plan, or a part of an input file's name.")],
    regenerate: Annotated[bool, typer.Option("--regenerate", help="Make it again and compare.")] = False,
) -> None:
    """Sources, models, prompts, seeds, scores and margins of one unit; exit code 1 if it comes out differently."""
    from curate.trust.explain import explain as explain_unit

    raise typer.Exit(explain_unit(run_folder, unit, regenerate=regenerate))


@app.command()
def diff(
    first: Annotated[Path, typer.Argument(metavar="A", parser=_place, help="A run directory or sealed folder.")],
    second: Annotated[Path, typer.Argument(metavar="B", parser=_place, help="Another.")],
) -> None:
    """Differences in config, models, units, verdicts, scores and bytes; exit code 1 if there are any."""
    from curate.trust.diff import diff as show_diff

    raise typer.Exit(show_diff(first, second))


@app.command()
def merge(
    runs: Annotated[list[Path], typer.Argument(
        metavar="RUN...", parser=_place, help="Run directories or sealed folders.")],
    out: Annotated[Path, typer.Option("--out", help="Folder of the merged dataset.")],
    skip_duplicates: Annotated[bool, typer.Option(
        "--skip-duplicates", help="Take units that stand in several from the first; else they are refused.")] = False,
) -> None:
    """Several runs into one sealed dataset; near-duplicates and the split are judged over all of them."""
    from curate.trust.merge import merge as merge_runs

    merge_runs(runs, out, skip_duplicates=skip_duplicates)


@app.command()
def export(
    run_folder: RunFolder,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="A new folder.")],
    form: Annotated[Literal["parquet", "shards", "folder", "open_clip", "energon"], typer.Option(
        "--as", help="parquet: for the Hub; shards: a sealed folder; folder: image files.")] = "parquet",
    ids: Annotated[Path | None, typer.Option("--ids", help="Only units in this list (of `curate select`).")] = None,
) -> None:
    """The kept triplets in the form that another tool reads, with a card that names the licences."""
    from curate.trust.export import export as write

    write(run_folder, out, form, ids)


@app.command()
def doctor() -> None:
    """What works here and what does not, with the fix: versions, GPU, Ray, disk, hub, compact models."""
    from curate.trust.doctor import doctor as examine

    raise typer.Exit(examine())


@zoo.command("list")
def zoo_list() -> None:
    """The models that ship, with their sizes."""
    from curate.zoo.builds import list_models

    list_models()


@zoo.command("build")
def zoo_build(
    name: Annotated[str, typer.Argument(help="A model of `curate zoo list`.")],
    out: Annotated[Path | None, typer.Option("--out", help="Default: the package's own weights folder.")] = None,
    work: Annotated[Path | None, typer.Option("--work", help="Checkpoints and logs; a second call resumes.")] = None,
) -> None:
    """Train a compact model from nothing (or resume)."""
    from curate.zoo.builds import build_model

    build_model(name, out, work)


@zoo.command("eval")
def zoo_eval(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Default: all.")] = None,
    write: Annotated[bool, typer.Option("--write", help="Put the figures into the model cards.")] = False,
) -> None:
    """Figures of the zoo on held-out subjects, with chance and a no-op beside each; exit code 1 if a bar is missed."""
    from curate.zoo.builds import evaluate_models

    raise typer.Exit(evaluate_models(tuple(names or ()), write=write))


def main() -> None:
    """Entry point: known errors are one line on stderr and exit code 2 (1 when a finished run is not clean)."""
    from curate.errors import BudgetError

    try:
        app()
    except BudgetError as error:
        sys.exit(f"curate: {error}")
    except CurateError as error:
        print(f"curate: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
