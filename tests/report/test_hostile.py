"""Whatever text a file's author put in it, every format stays valid and writable, and steers
neither a terminal nor a CI server."""

from __future__ import annotations

import io
import json
import struct
import sys
import tomllib
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interop.facts import (
    Answer,
    AxisDomain,
    AxisState,
    Finding,
    Input,
    Intent,
    Level,
    Measurement,
    Proof,
    Report,
    Skipped,
    Verdict,
)
from interop.facts.sections.bench import BenchSection
from interop.facts.sections.check import CheckSection
from interop.facts.sections.doctor import DoctorSection
from interop.facts.sections.export import (
    Attempt,
    ExportSection,
    GraphDeparture,
    PortSection,
    VerifySection,
)
from interop.facts.sections.finetune import FinetuneSection
from interop.facts.sections.gate import GateSection, WaivedFinding
from interop.pytest_plugin import Checker
from interop.report import FORMATS, render
from interop.report.json import from_json, to_json
from interop.report.sanitize import brief, in_json, one_name, plain
from tests.conftest import Run
from tests.helpers.steering import HOSTILE, steering

from .test_github import commands
from .test_junit import SCHEMA
from .test_markdown import OURS, Shown
from .test_sarif import VALIDATOR

# What means something to one of the formats, and any other character, half pairs among them.
TEXT = st.lists(
    st.one_of(
        st.sampled_from(
            ["|", "`", "``", "\\", "<b>", "</code>", "<!--", "-->", "]]>", "&lt;", "&#64;", "@a",
             "#1", "[x](y)", "::", "%0A", "\n", "\r\n", "\n\n", " ", "{0}", "{{", "*", "_", "~~",
             "$", "www.", "s3://", "https://[", "](", "/", "..", "C:", "#", "- ", "1. ", "    ",
             "\t", "===", "---", "\u2028", "a"]
        ),
        st.text(st.characters(exclude_categories=()), max_size=3),
    ),
    max_size=12,
).map("".join)  # fmt: skip


def report(t: Any) -> Report:
    """A report of as many texts as are drawn by `t`."""
    return Report(
        command="gate",
        outcome=Answer.NO,
        summary=t(),
        inputs=(Input(t(), t(), t(), {"place": t()}), Input("candidate", t(), t())),
        verdicts=(Verdict(Intent.REPLACE, Answer.NO, t()),),
        findings=(
            Finding("key-missing", Level.ERROR, (), Answer.NO, t(), t(), t(), {"tensors": [t()]}),
            Finding("labels-unknown", Level.NOTE, (), Answer.UNKNOWN, t(), facts={"files": [t()]}),
        ),
        proofs=(Proof(t(), False, t()),),
        skipped=(Skipped("key-missing", t()),),
        environment={"interop": t()},
        details=GateSection(
            policy=t(), waived=(WaivedFinding(rule="size-over-budget", reason=t()),)
        ),
    )


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_every_format_stays_what_it_is(data: st.DataObject) -> None:
    made = report(lambda: data.draw(TEXT))
    said = {form: render(made, form) for form in FORMATS}
    for form, text in said.items():
        assert text.encode("utf-8") and text.endswith("\n"), form
    assert from_json(json.loads(said["json"])).summary is not None
    VALIDATOR.validate(json.loads(said["sarif"]))
    SCHEMA.validate(said["junit"])
    kinds = [c.kind for c in commands(said["github"])]
    assert len(kinds) in (4, 5) and set(kinds) <= {"error", "warning", "notice"}
    shown = Shown(said["markdown"])
    assert shown.tags <= OURS and shown.attributes == []


@pytest.mark.parametrize("path", ["\udcff.pth", "caf\udce9/b.pth"])
def test_a_name_of_other_bytes_comes_back_from_json(path: str) -> None:
    made = Report("check", Answer.YES, "", (Input("B", path, ""),))
    again = from_json(json.loads(render(made, "json")))
    assert again.inputs[0].path == path and to_json(again) == to_json(made)


# ---------------------------------------------------------------- what steers a reader


def test_what_steers_is_found_where_it_is_written_as_it_is() -> None:
    only_markup = [h for h in HOSTILE if not steering(f"{h}\n")]
    assert all(h.isprintable() or h.startswith('"\n[rules]') for h in only_markup), only_markup
    assert len(only_markup) == 14 and len(HOSTILE) - len(only_markup) == 30
    assert steering("  ::error::a", "github") and not steering("::error title=a::b", "github")
    for h in HOSTILE:
        assert not steering(plain(h)) and not steering(one_name(h)), h
        assert "\n" not in one_name(h) and len(brief("\n".join([h] * 9), 4000)) <= 4100
        assert json.loads(in_json(json.dumps(h, ensure_ascii=False))) == h
        assert not steering(in_json(json.dumps(h, ensure_ascii=False)))


class Structure(HTMLParser):
    """The elements of a page, each with the attributes that it has."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, tuple[str, ...]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, tuple(name for name, _ in attrs)))


def holds(text: str, form: str, benign: str) -> None:
    """An output that names of a file steer nowhere; `benign` is the same of a harmless name."""
    assert not steering(text, form), form
    if form == "html":
        assert Structure(text).elements == Structure(benign).elements
    elif form == "markdown":
        shown = Shown(text)
        assert shown.tags <= OURS | {"h2", "h3"} and shown.attributes == []
        assert "@octocat" not in shown.text
    elif form == "junit":
        SCHEMA.validate(text)
    elif form in ("json", "sarif"):
        json.loads(text)
    elif form == "text":
        assert max(map(len, text.split("\n"))) <= 1001


def named(command: str, h: str) -> Report:
    """A report of a command in which the names and sentences are this."""
    section: Any = {
        "gate": GateSection(
            policy=h, evidence={h: h}, waived=(WaivedFinding(rule="size-over-budget", reason=h),)
        ),
        "check": CheckSection(), "bench": BenchSection(conditions={h: h}, notes=(h,)),
        "export": ExportSection(
            bundle=h, files={h: 1}, route=h, attempts=(Attempt(h, h, 1.0), Attempt(h, h)),
            notes=(h,), domain=(AxisDomain(h, 0, h, AxisState.OPEN, 1, 2, why=h),),
            departure=GraphDeparture(
                runtime=h, what=h, node=h, operator=h, module=h, kind=h, source=h, relative=1.0,
                at_inputs=1.0, bound=1.0, compared=1, agreed=1, others=(h,), value=h, batch=h,
                route=h, folder=h, files={h: 1},
            ),
        ),
        "verify": VerifySection(source={h: h}, notes=(h,)),
        "port": PortSection(out=h, standing=h, call=h, notes=(h,)),
        "doctor": DoctorSection(packages={h: h}, providers={h: h}, gpu=h, problems=((h, h),)),
        "finetune": FinetuneSection(out=h, notes=(h,), labels=(h,), settings={h: h}),
    }[command]  # fmt: skip
    measured = Measurement(h, "ms", 1.5, (1.0, 2.0), (), {"group": "other", "of": h, "batch": 1})
    return replace(
        report(lambda: h), command=command, details=section, measurements=(measured,)
    )  # fmt: skip


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize(
    "command", ["gate", "check", "bench", "export", "verify", "port", "doctor", "finetune"]
)
def test_no_command_nor_format_is_steered(command: str, form: str) -> None:
    benign = render(named(command, "a name"), form)
    for h in HOSTILE:
        holds(render(named(command, h), form), form, benign)


# ---------------------------------------------------------------- of files


def safetensors(tensors: dict[str, int], metadata: dict[str, str]) -> bytes:
    """float32 tensors of one axis, by name."""
    header: dict[str, Any] = {"__metadata__": metadata}
    at = 0
    for name, size in tensors.items():
        header[name] = {"dtype": "F32", "shape": [size], "data_offsets": [at, at + 4 * size]}
        at += 4 * size
    raw = json.dumps(header).encode()
    return struct.pack("<Q", len(raw)) + raw + bytes(at)


def message(*fields: tuple[int, bytes | int]) -> bytes:
    """A protobuf message; its numbers and lengths are below 2 ** 28."""
    out = b""
    for number, value in fields:
        coded = value if isinstance(value, int) else len(value)
        out += bytes([number << 3 | (0 if isinstance(value, int) else 2)])
        out += bytes([0x80 | coded >> at & 0x7F for at in (0, 7, 14)] + [coded >> 21])
        out += b"" if isinstance(value, int) else value
    return out


def graph(name: str) -> bytes:
    """An ONNX model in which all that can have a name has this one."""
    n = name.encode("utf-8", "replace")
    kind = message((1, message((1, 1), (2, message((1, message((2, n))))))))
    node = message((1, n), (2, b"out " + n), (3, n), (4, n), (7, n))
    port = message((1, n), (2, kind))
    outer = message((1, node), (2, n), (11, port), (12, message((1, b"out " + n), (2, kind))))
    pair = message((1, n), (2, n))
    return message((1, 8), (2, n), (3, n), (7, outer), (8, message((1, n), (2, 1))), (14, pair))


def pickled(name: str) -> bytes:
    """A pickle that would import this name from a module of this name."""
    raw = name.encode("utf-8", "surrogatepass")
    text = b"X" + struct.pack("<I", len(raw)) + raw
    return b"\x80\x04}" + text + text + text + b"\x93s."


PLACES: dict[str, Callable[[str], bytes]] = {
    "model.safetensors": lambda h: safetensors({h: 2, f"{h}.fc.weight": 3}, {h: h, "note": h}),
    "labels.safetensors": lambda h: safetensors(
        {"fc.weight": 2, "fc.bias": 2}, {"labels": json.dumps([h, "b"]), "preprocess": h}
    ),
    "graph.onnx": graph,
    "globals.pkl": pickled,
    "broken.safetensors": lambda h: struct.pack("<Q", 9) + h.encode("utf-8", "surrogatepass"),
    "folder/config.json": lambda h: json.dumps(
        {"architectures": [h], "model_type": h, "id2label": {"0": h, "1": "b"}}
    ).encode(),
    "interop.toml": lambda h: "\n".join([
        "[[waivers]]", 'rule = "preprocessing-unknown"', f"reason = {json.dumps(h)}",
        "expires = 2030-01-01", "[[waivers]]", 'rule = "key-missing"', f"place = {json.dumps(h)}",
        f"reason = {json.dumps(h)}", "expires = 2020-01-01", "[facts]",
        f"labels = [{json.dumps(h)}]",
    ]).encode(),
    "wrong.toml": lambda h: f'[rules]\n{json.dumps(h)} = "off"\n'.encode(),
    "bench.json": lambda h: render(named("bench", h), "json").encode(),
}  # fmt: skip


def written(folder: Path, h: str) -> list[list[str]]:
    """Files in which this stands in every place, and the commands that read them."""
    for name, make in PLACES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(make(h))
    other = safetensors({"a.weight": 2, "fc.weight": 3}, {})
    (folder / "other.safetensors").write_bytes(other)
    (folder / "folder/model.safetensors").write_bytes(other)
    models = ["model.safetensors", "labels.safetensors", "graph.onnx", "globals.pkl",
              "broken.safetensors", "folder"]  # fmt: skip
    commands = [["inspect", name, "--values", "--tensors"] for name in models]
    commands += [["check", name, "other.safetensors"] for name in models]
    commands += [["check", "other.safetensors", "model.safetensors", "--map-out", "map.json"]]
    gate = ["gate", "model.safetensors", "--baseline", "other.safetensors"]
    commands += [[*gate, "--policy", "interop.toml"], [*gate, "--policy", "wrong.toml"]]
    return [*commands, [*gate, "--policy", "interop.toml", "--evidence", "bench.json"]]


def steered(run: Run, folder: Path, command: Sequence[str]) -> list[str]:
    """What steers, of all that a command says and writes; a fault of interop's own too."""
    # "\0" is in no argument that a process can be given.
    done = run(*(word.replace("\0", "0") for word in command), cwd=folder)
    form = command[command.index("--format") + 1] if "--format" in command else ""
    found = steering(done.stdout, form) + steering(done.stderr)
    found += [] if done.returncode in (0, 1, 2, 3) else [done.stderr]
    for file in folder.glob("out.*"):
        found += steering(file.read_bytes().decode(), file.suffix[1:])
    return [f"{command}: {one}" for one in found]


@pytest.mark.parametrize("h", HOSTILE, ids=[ascii(h)[:20] for h in HOSTILE])
def test_no_file_steers_who_reads_of_it(interop: Run, tmp_path: Path, h: str) -> None:
    reports = [word for form in FORMATS for word in ("--report", f"{form}:out.{form}")]
    for command in written(tmp_path, h):
        assert not steered(interop, tmp_path, [*command, *reports])
    assert not steering((tmp_path / "map.json").read_bytes().decode())
    for command in (
        ["gate", "--show-config", "--policy", "interop.toml"], [h], [f"--{h}"], ["explain", h],
        ["gate", "model.safetensors", "--baseline", f"git:{h}:a"],
        ["inspect", h], ["inspect", f"a#{h}"], ["check", "a", "b", "--for", h], ["verify", h],
        ["inspect", "model.safetensors", "--format", h],
        ["inspect", "model.safetensors", "--report", h], ["bench", "--compare", "bench.json", h],
        ["bench", "--compare", "bench.json", "bench.json"],
        ["init", "model.safetensors", "--out", "made.toml", "--force"],
    ):  # fmt: skip
        assert not steered(interop, tmp_path, command)
    made = tomllib.loads((tmp_path / "made.toml").read_text("utf-8"))
    assert set(made) <= {"intent", "values", "rules", "budgets", "evidence", "facts", "assess"}
    assert made["rules"] == {}


@pytest.mark.parametrize("form", [f for f in FORMATS if f != "html"])
def test_no_format_on_stdout_is_steered(interop: Run, tmp_path: Path, form: str) -> None:
    for h in HOSTILE[::5]:
        for command in written(tmp_path, h)[::3]:
            assert not steered(interop, tmp_path, [*command, "--format", form])


def test_the_name_of_a_file_or_a_folder_steers_nobody(interop: Run, tmp_path: Path) -> None:
    for n, h in enumerate(h.replace("\0", "").replace("/", "∕")[:80] for h in HOSTILE):
        place = tmp_path / f"{n}{h}" / f"{h}{n}.safetensors"
        if n % 2:
            place = tmp_path / str(n) / f"{h}.safetensors"
        place.parent.mkdir()
        place.write_bytes(safetensors({f"w{n}": 2}, {}))
        folder = tmp_path / str(n) / h
        if n % 4 == 1:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "made.toml").write_text("[rules]\n")
            given = [
                "gate",
                str(place),
                "--baseline",
                str(place),
                "--policy",
                f"{folder}/made.toml",
            ]
            assert not steered(interop, tmp_path, given)
        for form in ("text", "github", "json", "junit", "sarif", "markdown"):
            assert not steered(interop, tmp_path, ["inspect", str(place), "--format", form])
        made = ["init", str(place), "--out", "made.toml", "--force"]
        assert not steered(interop, tmp_path, made)
        assert tomllib.loads((tmp_path / "made.toml").read_text("utf-8"))["rules"] == {}
    every = ["gate", "--all", str(tmp_path), "--baseline", str(tmp_path)]
    for form in ("text", "github", "json"):
        assert not steered(interop, tmp_path, [*every, "--format", form])


def test_a_failed_test_of_the_pytest_plugin_steers_nobody(tmp_path: Path) -> None:
    for n, h in enumerate(HOSTILE):
        (tmp_path / f"{n}.safetensors").write_bytes(safetensors({h: n + 1}, {}))
        (tmp_path / "b.safetensors").write_bytes(safetensors({h: n + 2, "b": 1}, {}))
        for b in ("b.safetensors", h.replace("\0", "")):
            with pytest.raises(pytest.fail.Exception) as failed:
                Checker(tmp_path).assert_reloadable(f"{n}.safetensors", b)
            assert not steering(str(failed.value))


def test_errors_warnings_and_progress_are_no_way_out(
    interop: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from interop import api
    from interop.cli import output

    h = "a\n::error::b\x1b[2J\u202e##[add-mask]c"

    def fails(*_: object, **__: object) -> Report:
        sys.stderr.write(warnings.formatwarning(h, UserWarning, "x.py", 1))
        raise ValueError(h)

    monkeypatch.setattr(api, "inspect", fails)
    done = interop("inspect", "x", cwd=tmp_path)
    assert done.returncode == 4 and "a\\x3a" not in done.stdout
    assert "\n\\x3a:error::b\\x1b[2J" in done.stderr and not steering(done.stderr)
    told = io.StringIO()
    told.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setattr("sys.stderr", told)
    for tell in (output.progress, output.log, output.say):
        tell(h + "d" * 9000)
    assert not steering(told.getvalue().replace("\r\x1b[K", "")) and len(told.getvalue()) < 3000


def test_one_module_prints() -> None:
    cli = Path(__file__).parents[2] / "interop" / "cli"
    printing = [p.name for p in cli.glob("*.py") if "echo(" in p.read_text("utf-8")]
    assert sorted(printing) == ["__init__.py", "output.py"]
