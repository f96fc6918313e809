"""Each command as a person types it: what it prints, its exit code, and the files it writes."""

from __future__ import annotations

import json
from pathlib import Path
from subprocess import CompletedProcess
from xml.etree import ElementTree

import jsonschema
import pytest

from interop.cli.group import COMMANDS
from interop.installation import conflicts
from interop.report import FORMATS
from interop.report.json import SCHEMA_FILE
from tests.conftest import Run


def test_help_has_an_example_for_each_command(interop: Run, interop_alone: Run) -> None:
    done = interop_alone("--help")
    assert done.returncode == 0 and all(name in done.stdout for name in COMMANDS)
    for name in COMMANDS:
        text = interop(name, "--help").stdout
        assert f"  interop {name}" in text.partition("Example:")[2], name
        assert max(map(len, text.splitlines())) <= 80, name


def test_inspect(interop: Run, interop_alone: Run, digits: Path, derived: Path) -> None:
    done = interop_alone("inspect", digits / "shufflenet.pth")
    assert done.returncode == 0
    for word in ("torchvision/shufflenet_v2_x0_5", "fc (linear, of pooled", "zero, one", "64x64"):
        assert word in done.stdout
    done = interop("inspect", derived / "ema.pth")
    assert done.returncode == 0
    assert "state_dict, state_dict_ema" in done.stdout and "several-state-dicts" in done.stdout
    done = interop("inspect", derived / "nan.pth", "--values")
    assert done.returncode == 1 and "tensor-not-finite" in done.stdout


def test_inspect_of_ones_own_module(
    interop: Run, interop_alone: Run, digits: Path, derived: Path
) -> None:
    own = ["--model", "fixtures.autoencoder:ConvAutoencoder"]
    done = interop_alone("inspect", digits / "autoencoder.pth", *own)
    assert done.returncode == 0
    assert "fixtures.autoencoder:ConvAutoencoder" in done.stdout
    assert "your own code" in done.stderr
    done = interop("inspect", derived / "plain.pth", *own)
    assert done.returncode == 2 and "are not those of" in done.stderr


def test_check_prints_three_verdicts_within_80_columns(
    interop: Run, digits: Path, derived: Path
) -> None:
    done = interop("check", digits / "shufflenet.pth", derived / "five-classes.pth")
    assert done.returncode == 1
    starts = [line.split()[:2] for line in done.stdout.splitlines()]
    for verdict in (["reload", "no"], ["transfer", "yes"], ["replace", "no"]):
        assert verdict in starts
    texts = [done.stdout]
    for b in (digits / "autoencoder.pth", derived / "training.pth", digits / "squeezenet.pth"):
        texts.append(interop("check", digits / "shufflenet.pth", b).stdout)
    for text in texts:  # a path is not broken
        assert max(len(x) for x in text.splitlines() if "/" not in x) <= 80


@pytest.mark.parametrize("intent", ["reload", "transfer", "replace"])
def test_the_intent_sets_the_exit_code(interop: Run, digits: Path, intent: str) -> None:
    b = digits / "squeezenet.pth"
    done = interop("check", digits / "shufflenet.pth", b, "--for", intent)
    assert done.returncode == (0 if intent == "replace" else 1)


def test_files_alone_are_taken_without_a_parser_as_with_one(
    interop_alone: Run, digits: Path
) -> None:
    """The text, the last line, the exit code and the errors are the same either way."""
    a, b = digits / "shufflenet.pth", digits / "squeezenet.pth"
    for given in (["check", a, b], ["check", a, a], ["inspect", a], ["check", a, "none.pth"],
                  ["inspect", digits]):  # fmt: skip
        plain, parsed = interop_alone(*given), interop_alone(*given, "--format", "text")
        assert (plain.stdout, plain.stderr) == (parsed.stdout, parsed.stderr)
        assert plain.returncode == parsed.returncode
    assert "Usage" in interop_alone("check", "-h").stdout
    assert "see 'interop check --help'" in interop_alone("check", a).stderr


def test_reports_are_written_beside_the_printed_one(
    interop: Run, digits: Path, derived: Path, tmp_path: Path
) -> None:
    files = {form: tmp_path / f"report.{form}" for form in FORMATS}
    arguments = [x for form, path in files.items() for x in ("--report", f"{form}:{path}")]
    done = interop(
        "check",
        digits / "shufflenet.pth",
        derived / "relabelled.pth",
        "--for",
        "replace",
        *arguments,
    )
    assert done.returncode == 1
    assert files["text"].read_text() == done.stdout
    document = json.loads(files["json"].read_text())
    jsonschema.validate(document, json.loads(SCHEMA_FILE.read_text()))
    assert document["outcome"] == "no" and document["environment"]["interop"]
    suite = ElementTree.parse(files["junit"]).getroot()[0]
    # The outcome, the verdict asked for and the finding.
    assert (suite.get("failures"), suite.get("errors")) == ("3", "0")
    for form, path in files.items():
        assert "label-order-changed" in path.read_text(), form
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(p.name for p in files.values())


def test_a_report_that_cannot_be_written_is_said(
    interop: Run, digits: Path, tmp_path: Path
) -> None:
    target = tmp_path / "nowhere" / "x.json"
    done = interop("inspect", digits / "base.pth", "--report", f"json:{target}")
    assert done.returncode == 2 and "no such folder" in done.stderr


def test_a_report_never_replaces_what_was_to_be_read(
    interop: Run, digits: Path, tmp_path: Path
) -> None:
    model = tmp_path / "model.pth"
    model.write_bytes((digits / "base.pth").read_bytes())
    before = model.read_bytes()
    link = tmp_path / "link.json"
    link.symlink_to(model)
    for target in (model, link):
        done = interop("inspect", model, "--report", f"json:{target}")
        assert done.returncode == 2 and "given to be read" in done.stderr
    assert model.read_bytes() == before
    real = tmp_path / "real.json"
    real.write_text("old")
    (tmp_path / "other.json").symlink_to(real)
    assert interop("inspect", model, "--report", f"json:{tmp_path / 'other.json'}").returncode == 0
    assert (tmp_path / "other.json").is_symlink() and real.read_text().startswith("{")


Doctor = tuple[CompletedProcess[str], str]


@pytest.fixture(scope="module")
def doctor(interop: Run, tmp_path_factory: pytest.TempPathFactory) -> Doctor:
    """What it prints as JSON, and what it writes as text: it tries to load each library."""
    text = tmp_path_factory.mktemp("doctor") / "report.txt"
    return interop("doctor", "--format", "json", "--report", f"text:{text}"), text.read_text()


def test_json_on_stdout_is_json_alone(interop: Run, digits: Path, doctor: Doctor) -> None:
    for done in (interop("inspect", digits / "base.pth", "--format", "json"), doctor[0]):
        document = json.loads(done.stdout)
        jsonschema.validate(document, json.loads(SCHEMA_FILE.read_text()))


def test_explain_prints_the_rules_own_words(interop: Run) -> None:
    done = interop("explain", "label-order-changed")
    for word in ("What", "Why", "Example", "Fix", "breaks replace"):
        assert word in done.stdout
    assert "label-order-changed" in interop("explain").stdout


@pytest.mark.needs_torch
def test_doctor_names_versions_and_providers(doctor: Doctor) -> None:
    done, text = doctor
    assert done.returncode == 0
    assert "CPUExecutionProvider" in text and "torchvision" in text


def test_doctor_finds_conflicts(monkeypatch: pytest.MonkeyPatch) -> None:
    from interop import installation

    both = {"onnxruntime": "1.31", "onnxruntime-gpu": "1.31"}
    ((what, fix),) = conflicts(both)
    assert "overwrite each other" in what and "pip uninstall" in fix
    monkeypatch.setattr(installation, "_pinned_torch", lambda: "2.15.0")
    ((what, fix),) = conflicts({"torch": "2.13.0", "torchvision": "0.29.0"})
    assert "built for torch 2.15.0" in what and "together" in fix
    assert conflicts({"torch": "2.15.0+cu130", "torchvision": "0.29.0"}) == []
