"""The command line: light imports, few options, known errors in one line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from curate.cli import app, main

HEAVY = ("torch", "ray", "diffusers", "transformers", "open_clip", "pandas", "pyarrow", "numpy")


def test_importing_the_cli_loads_nothing_heavy() -> None:
    code = f"import sys, curate.cli; print([m for m in {HEAVY!r} if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"


def options_of(command: object) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for name, sub in command.commands.items():  # type: ignore[attr-defined]
        if hasattr(sub, "commands"):
            found |= {f"{name} {inner}": names for inner, names in options_of(sub).items()}
        else:
            found[name] = {option for p in sub.params for option in p.opts if option.startswith("--")} - {"--help"}
    return found


def test_commands_and_options_are_these_and_no_more() -> None:
    assert options_of(typer.main.get_command(app)) == {
        "run": {"--set", "--dry-run", "--retry-failed", "--address"},
        "plan": {"--set", "--pilot"},
        "seal": {"--rules", "--set", "--ids"},
        "whatif": {"--rules", "--set"},
        "label": {"--port", "--terminal"},
        "calibrate": {"--labels", "--precision", "--confidence", "--rules", "--out"},
        "select": {"--count", "--out", "--max-similarity"},
        "train": {"--set", "--resume"},
        "generate": {"--out", "--uso", "--prompt", "--content", "--style", "--seed", "--steps",
                     "--guidance", "--size"},
        "bench": {"--set", "--dry-run"},
        "stats": {"--json"},
        "report": set(),
        "verify": {"--deep"},
        "explain": {"--regenerate"},
        "diff": set(),
        "merge": {"--out", "--skip-duplicates"},
        "export": {"--as", "--ids"},
        "doctor": set(),
        "zoo list": set(),
        "zoo build": {"--out", "--work"},
        "zoo eval": {"--write"},
    }


def test_every_command_explains_itself() -> None:
    for name in options_of(typer.main.get_command(app)):
        result = CliRunner().invoke(app, [*name.split(), "--help"])
        assert result.exit_code == 0 and "Usage" in result.output


def test_a_config_error_is_one_line_with_file_key_and_line_and_exit_code_2(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "c.yaml"
    config.write_text("output: x\nsizee: 64\n")
    monkeypatch.setattr(sys, "argv", ["curate", "run", str(config)])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 2
    assert f"{config}:2: sizee: unknown key; did you mean 'size'?" in capsys.readouterr().err


def test_looking_at_a_folder_that_is_no_run_says_so(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["curate", "seal", str(tmp_path)])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 2 and "not a run directory" in capsys.readouterr().err
