"""`interop check` and `inspect` of two files: no crash, and what holds for every pair.

An input is two files, the first behind its length in four bytes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from fixtures import hostile
from interop.check import check, inspect
from interop.errors import InteropError
from interop.facts import Answer, Intent, Report
from interop.identity import identify_file
from interop.report import FORMATS, render
from interop.report.json import read_report
from tests.fuzz.guided import mutators as m
from tests.fuzz.guided.target import Finding, Target
from tests.fuzz.guided.watch import bounded, watched
from tests.fuzz.seeds import seeds

# HTML takes a fifth of a second, and has tests of its own (tests/report/test_hostile.py).
FORMS = tuple(form for form in FORMATS if form != "html")
_HDF5 = b"\x89HDF\r\n"  # a process for each


def pairs(folder: Path) -> Callable[[bytes], None]:
    one, two = folder / "one", folder / "two"

    def run(data: bytes) -> None:
        if _HDF5 in data:
            return
        contents = m.parted(data)
        for path, content in zip((one, two), contents, strict=True):
            path.write_bytes(content)
        with watched(folder):
            try:
                with bounded(3.0):
                    there, back = check(one, two), check(two, one)
            except InteropError:
                return
            _holds(there, back)
            pairing = there.details.pairing
            if contents[0] == contents[1] and (pairing.missing or pairing.extra):
                raise Finding("not-itself", str(pairing)[:600])
            with bounded(2.0):
                _lossless(inspect([identify_file(two)], tensors=True), folder)
                render(there, FORMS[len(data) % len(FORMS)]).encode("utf-8")
        _lossless(there, folder)

    return run


def _holds(there: Report, back: Report) -> None:
    """What is missing one way is left over the other, and equal files match whole."""
    a, b = there.details.pairing, back.details.pairing
    same = sorted(a.missing) == sorted(b.extra) and a.matched == b.matched
    if a.map is None and b.map is None and not same:
        raise Finding("not-symmetric", f"{a}; {b}"[:600])
    for report in (there, back):
        if [v.intent for v in report.verdicts] != list(Intent):
            raise Finding("verdicts", str(report.verdicts))
        reload = report.verdicts[0].answer
        if reload is Answer.YES and report.details.pairing.reshaped:
            raise Finding("reload-of-other-shapes", str(report.details.pairing)[:600])


def _lossless(report: Report, folder: Path) -> None:
    """A report that is written is read back the same."""
    path = folder / "report.json"
    text = render(report, "json")
    path.write_text(text, "utf-8")
    again = replace(read_report(path), file=report.file)
    if render(again, "json") != text:
        raise Finding("report-changed", f"{report.command}")
    json.loads(text)


_KINDS = ("safetensors", "torch-zip", "pickle", "onnx", "numpy", "torch-legacy")


def _pairs() -> Iterable[bytes]:
    files = [s.path.read_bytes() for kind in _KINDS for s in seeds().get(kind, ())]
    files += [one.content for one in hostile.HOSTILE[::20] if isinstance(one.content, bytes)]
    files = [content for content in files if len(content) < 12_000]
    for at, content in enumerate(files):
        yield m.joined(content, content)
        yield m.joined(content, files[(at + 1) % len(files)])


def targets() -> list[Target]:
    form = m.either((0.3, m.zipped(m.entry)), (0.3, m.safetensors), (0.2, m.PICKLES),
                    (0.1, m.protobuf))  # fmt: skip
    return [
        Target("check", pairs, _pairs, m.either((0.95, m.in_two(form))), weight=2.0, runs=60),
    ]  # fmt: skip
