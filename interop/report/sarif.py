"""A Report -> SARIF 2.1.0, which code scanning and IDEs show beside the code.

One result a finding; the model file is its physical location, the tensor or key its logical one.
Section numbers are those of the OASIS standard.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import PureWindowsPath
from posixpath import normpath
from urllib.parse import quote

from interop.facts import Finding, InputRole, Json, Level, Report, Skipped
from interop.patterns import lazy
from interop.report import wording
from interop.report.json import dump
from interop.report.sanitize import plain
from interop.rules import SECTIONS, explain

SCHEMA = (
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
)
LEVELS = {Level.ERROR: "error", Level.WARN: "warning", Level.NOTE: "note", Level.OFF: "none"}
# A head or a whole backbone can be at fault; whoever shows results shows a few places of each.
MOST_PLACES = 100
# Facts that tell two findings of one rule in one file apart.
_APART = ("batch", "evidence")
# Scheme, host and path of a URL; its query and fragment are left out: keys to it stand there.
_REMOTE = lazy("([a-z][a-z0-9+.-]+)://([^/?#]*)([^?#]*)", re.IGNORECASE)


def render(report: Report) -> str:
    """A SARIF log of one run."""
    return dump({"$schema": SCHEMA, "version": "2.1.0", "runs": [_run(report)]})


def uri_of(path: str) -> str:
    """A file as a URI: relative and %-encoded; a remote one as it is, without who asked for it.

    A path that is absolute names a place of the machine that made the report: its last part alone
    is kept, so that two machines say the same.
    """
    if remote := _REMOTE.match(path):
        scheme, host, place = remote.groups()
        # What is %-encoded there already stays so.
        place = re.sub("%(?![0-9a-f]{2})", "%25", place, flags=re.IGNORECASE)
        return f"{scheme}://{_encoded(host.rpartition('@')[2], ':')}{_encoded(place, '/%')}"
    drive = PureWindowsPath(path)
    if drive.drive:
        path = drive.name if drive.root else drive.as_posix().removeprefix(drive.drive)
    if path.startswith("/"):
        path = path.rstrip("/").rpartition("/")[2]
    return _encoded(normpath(path), "/") if path else ""


def _encoded(text: str, safe: str) -> str:
    return quote(_bytes(text), safe=safe)


def _bytes(text: str) -> bytes:
    """A name's own bytes; Python holds those that are no UTF-8 as halves of surrogate pairs."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")


def _run(report: Report) -> dict[str, Json]:
    shown = [(finding, "") for finding in wording.faults(report)] + wording.waived(report)
    # What was skipped need not be a rule: a runtime that is not installed, a batch size.
    ids = [finding.rule for finding, _ in shown]
    ids += [s.rule for s in report.skipped if explain(s.rule)]
    rules = list(dict.fromkeys(ids))
    seen: Counter[str] = Counter()
    return {
        "tool": {"driver": _driver(report, rules)},
        "automationDetails": {"id": _category(report)},
        "invocations": [_invocation(report, rules)],
        "artifacts": _artifacts(report),
        "results": [_result(report, f, why, rules.index(f.rule), seen) for f, why in shown],
        "properties": {
            "command": report.command,
            "outcome": str(report.outcome),
            "verdict": wording.word(report),
            "summary": wording.one_line(report.summary),
        },
    }


def _driver(report: Report, rules: Sequence[str]) -> dict[str, Json]:
    driver: dict[str, Json] = {"name": "interop", "rules": [_rule(r) for r in rules]}
    version = report.environment.get("interop")
    return {**driver, "version": wording.one_line(str(version))} if version else driver


def _rule(rule_id: str) -> dict[str, Json]:
    """A rule's record and docstring; its id alone where it is none of ours (a proof)."""
    if (known := explain(rule_id)) is None:
        return {"id": rule_id}
    texts = {name: _paragraphs(known.sections.get(name, "")) for name in SECTIONS}
    record: dict[str, Json] = {
        "id": rule_id,
        "shortDescription": {"text": known.title},
        "fullDescription": {"text": texts["What"] or known.title},
        "help": {
            "text": "\n\n".join(f"{name}: {text}" for name, text in texts.items() if text),
            "markdown": "\n\n".join(
                f"**{name}**\n\n{text}" for name, text in texts.items() if text
            ),
        },
        "defaultConfiguration": {"level": LEVELS[known.rule.level]},
        "properties": {"tags": ["model", *map(str, known.rule.breaks)]},
    }
    old = list({*known.rule.aliases} - {rule_id})
    return {**record, "deprecatedIds": sorted(old)} if old else record


def _paragraphs(text: str) -> str:
    return "\n\n".join(" ".join(part.split()) for part in text.split("\n\n"))


def _category(report: Report) -> str:
    """What tells one upload of a repository from another (3.17.3): the command and candidate."""
    models = [given for given in report.inputs if given.role != InputRole.DATA]
    last = [uri_of(wording.path_of(given)) for given in models[-1:]]
    return "/".join(["interop", report.command, *last, ""])


def _invocation(report: Report, rules: Sequence[str]) -> dict[str, Json]:
    """How the run ended. It was successful: a verdict of "no" is an answer, not a crash."""
    invocation: dict[str, Json] = {
        "executionSuccessful": True,
        "exitCode": report.exit_code,
        "exitCodeDescription": wording.headline(report),
    }
    when = report.environment.get("unix_time")
    if isinstance(when, (int, float)):
        invocation["endTimeUtc"] = datetime.fromtimestamp(when, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    if report.skipped:
        invocation["toolConfigurationNotifications"] = [_notice(s, rules) for s in report.skipped]
    return invocation


def _notice(skipped: Skipped, rules: Sequence[str]) -> dict[str, Json]:
    text = _message(f"{skipped.rule} was not checked: {skipped.why}")
    notice: dict[str, Json] = {"level": "note", "message": {"text": text}}
    if skipped.rule in rules:
        notice["associatedRule"] = {"id": skipped.rule, "index": rules.index(skipped.rule)}
    return notice


def _artifacts(report: Report) -> list[Json]:
    """The model files, each once."""
    by_uri: dict[str, Json] = {}
    for given in report.inputs:
        uri = uri_of(wording.path_of(given))
        if given.role == InputRole.DATA or not uri:
            continue
        one: dict[str, Json] = {"location": {"uri": uri}, "roles": ["analysisTarget"]}
        size, digest = given.facts.get("bytes"), given.facts.get("content_sha256")
        if isinstance(size, int):
            one["length"] = size
        if isinstance(digest, str) and digest:
            one["hashes"] = {"sha-256": digest}
        by_uri.setdefault(uri, one)
    return list(by_uri.values())


def _result(
    report: Report, finding: Finding, waiver: str, index: int, seen: Counter[str]
) -> dict[str, Json]:
    uris = [uri for uri in map(uri_of, wording.files_of(report, finding)) if uri]
    names = wording.names_in(report, finding)
    fingerprint = _fingerprint(report, finding, uris, seen)
    text = finding.what or finding.rule
    result: dict[str, Json] = {
        "ruleId": finding.rule,
        "ruleIndex": index,
        "level": LEVELS[wording.level_of(report, finding)],
        "message": {"text": _message(f"{text}\nFix: {finding.hint}" if finding.hint else text)},
        # The second name is the one that code scanning goes by. Left to itself it would hash the
        # file's first line: after each training the same fault would be a new one.
        "partialFingerprints": {"interop/v1": fingerprint, "primaryLocationLineHash": fingerprint},
        "properties": {"answer": str(finding.answer), "breaks": [str(b) for b in finding.breaks]},
    }
    if locations := _locations(uris, names[:MOST_PLACES]):
        result["locations"] = locations
    if waiver:
        why = wording.one_line(waiver)
        accepted = {"kind": "external", "status": "accepted", "justification": why}
        result["suppressions"] = [accepted]
    return result


def _locations(uris: Sequence[str], names: Iterable[str]) -> list[Json]:
    """A location for each tensor, as all have to change; else one for each file (3.27.12)."""
    # A line has no meaning in a model file, but code scanning refuses a location without one.
    files = [
        {"physicalLocation": {"artifactLocation": {"uri": uri}, "region": {"startLine": 1}}}
        for uri in uris
    ]
    first = files[0] if files else {}
    named = [
        {**first, "logicalLocations": [{"fullyQualifiedName": plain(n), "kind": "member"}]}
        for n in names
    ]
    return [*named, *files[1:]] if named else [*files]


def _fingerprint(report: Report, finding: Finding, uris: Sequence[str], seen: Counter[str]) -> str:
    """A hash of rule, files and place: the same for the same fault in the next run, elsewhere."""
    place = "" if finding.place in wording.files_of(report, finding) else finding.place
    apart = [f"{k}={finding.facts[k]}" for k in _APART if k in finding.facts]
    text = "\0".join([finding.rule, *uris, place, *apart])
    seen[text] += 1
    more = f"\0{seen[text]}" if seen[text] > 1 else ""
    return sha256(_bytes(text + more)).hexdigest()


def _message(text: str) -> str:
    """Text that holds no link (3.11.6) and no placeholder (3.11.5) but is read as it stands.

    The standard doubles every brace; viewers do not undo that where no number stands in them.
    """
    text = re.sub(r"\{(\d+)\}", r"{{\1}}", plain(text))
    return text.replace("](", "\\](")
