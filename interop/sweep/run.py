"""A store of models -> a table of one row a model, and the Report that sums it up.

Each batch of rows goes to a journal beside the table as it is done. A run that was killed goes on
from there, and reads again what has changed since.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from time import monotonic

from interop import __version__
from interop.check import InspectOptions
from interop.errors import ConfigError
from interop.facts import Answer, Finding, Input, InputRole, Json, Level, Report, SweptAs
from interop.facts.sections.sweep import SweepSection
from interop.reading.bytes.address import is_remote, shown
from interop.records import dataclass, field
from interop.sweep import table
from interop.sweep.journal import Journal
from interop.sweep.options import SweepOptions
from interop.sweep.rows import COLUMNS, Item, Reading, Row, killed, rows
from interop.sweep.spread import batches_of, spread
from interop.sweep.store import Store, opened

Say = Callable[[str], None]
BATCH = 32  # models
MOST_LISTED = 50  # models of each outcome whose faults the report has
_MOST_NAMES = 200  # architectures that are counted one by one


def sweep(
    given: str,
    facts: InspectOptions | None = None,
    options: SweepOptions | None = None,
    *,
    progress: Say | None = None,
) -> Report:
    """Read the header of each model of a store, and write a row for each to `options.out`.

    `given` is a folder, a prefix (s3://bucket/prefix), a list of addresses (a .txt file) or "-" for
    one on stdin. Raises ConfigError if there are no models or the table cannot be written,
    ReadError if a server refuses to list them.
    """
    facts, options = facts or InspectOptions(), options or SweepOptions()
    out = _target(facts, options)
    store = opened(given)
    reading = Reading(store.root, _opened(store.root), facts)
    with Journal(out, store.given, _key(facts)) as journal:
        kept = _read_all(store, reading, journal, options, progress or (lambda _: None))
        counts = Counts()
        table.write(out, COLUMNS, counts.of(journal.rows()))
        journal.remove()
    return _report(store, out, counts, kept)


def _target(facts: InspectOptions, options: SweepOptions) -> Path:
    if options.out is None:
        raise ConfigError("--all writes a table", fix="say where: --out results.parquet or .jsonl")
    one_file = {"--values": facts.values, "--tensors": facts.tensors, "--data": facts.data,
                "--model": facts.factory}  # fmt: skip
    for flag, asked in one_file.items():
        if asked:
            what = "looks into one file, and --all reads headers alone"
            raise ConfigError(what, where=flag, fix="leave one of the two away")
    table.check_target(options.out)
    return options.out


def _opened(root: str) -> str:
    """A root as processes open it that may have another working directory."""
    return root if is_remote(root) else os.path.abspath(root)  # noqa: PTH100 - "" is the list's


def _key(facts: InspectOptions) -> str:
    """What rows depend on beside the files."""
    asked = facts.arch, facts.labels, facts.stated
    return sha256(repr((__version__, list(COLUMNS), asked)).encode()).hexdigest()


# ---------------------------------------------------------------- reading


def _read_all(
    store: Store, reading: Reading, journal: Journal, options: SweepOptions, say: Say
) -> int:
    """Have a row of each model in the journal; return how many were there before."""
    todo, kept = _todo(store, journal)
    done, began = 0, monotonic()
    batches = batches_of(todo, BATCH, options.processes)
    for batch, found in spread(rows, reading, batches, options, forks=not store.remote):
        if found is None:
            found = [killed(reading, batch[0])]
        journal.add(row for row in found if row is not None)
        done += len(batch)
        kept += sum(row is None for row in found)
        rate = done / max(monotonic() - began, 1e-9)
        say(f"{len(store.models) - len(todo) + done:,} of {len(store.models):,} models, "
            f"{rate:,.0f} a second")  # fmt: skip
    return kept


def _todo(store: Store, journal: Journal) -> tuple[list[Item], int]:
    """The models that have no row of their files as they are, and how many have one."""
    known = journal.stamps()
    todo = []
    for model in store.each():
        before = known.pop(shown(store.address(model.path)), "")
        if not before or before != model.stamp:
            todo.append(Item(model, "" if model.stamp else before))
    journal.drop(known)
    return todo, len(store.models) - len(todo)


# ---------------------------------------------------------------- what all rows say


@dataclass(slots=True)
class Counts:
    """What the report says of all rows, gathered while they go by."""

    bytes: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    containers: Counter[str] = field(default_factory=Counter)
    architectures: Counter[str] = field(default_factory=Counter)
    rules: Counter[str] = field(default_factory=Counter)
    faults: dict[str, list[Row]] = field(default_factory=dict)

    def of(self, rows: Iterable[Row]) -> Iterator[Row]:
        """Yield the rows, and count them."""
        for row in rows:
            self._count(row)
            yield row

    def _count(self, row: Row) -> None:
        outcome = row["outcome"]
        self.outcomes[outcome] += 1
        self.bytes += row["bytes"] or 0
        self.rules.update({f"{f['level']} {f['rule']}" for f in row["findings"]})
        if row["container"]:
            self.containers[row["container"]] += 1
            self.architectures[row["architecture"] or " or ".join(row["architectures"])] += 1
        if outcome in (SweptAs.FAULTY, SweptAs.UNREADABLE):
            listed = self.faults.setdefault(outcome, [])
            if len(listed) < MOST_LISTED:
                listed.append(row)


def _report(store: Store, out: Path, counts: Counts, kept: int) -> Report:
    bad = counts.outcomes[SweptAs.FAULTY] + counts.outcomes[SweptAs.UNREADABLE]
    listed = [row for outcome in (SweptAs.FAULTY, SweptAs.UNREADABLE)
              for row in counts.faults.get(outcome, ())]  # fmt: skip
    summary = _summary(counts.outcomes)
    facts = {"models": len(store.models), "bytes": counts.bytes}
    return Report(
        command="inspect",
        outcome=Answer.NO if bad else Answer.YES,
        summary=summary,
        inputs=(Input(InputRole.STORE, store.given, summary, facts),),
        findings=tuple(f for row in listed for f in _faults(row)),
        details=SweepSection(
            out=str(out),
            models=len(store.models),
            kept=kept,
            bytes=counts.bytes,
            outcomes=_most(counts.outcomes),
            containers=_most(counts.containers),
            architectures=_most(_named(counts.architectures)),
            rules=_by_level(counts.rules),
            unlisted=bad - len(listed),
        ),
    )


def _summary(outcomes: Mapping[str, int]) -> str:
    total = sum(outcomes.values())
    parts = [f"{n:,} {word}" for word in SweptAs if (n := outcomes.get(word, 0))]
    return f"{total:,} model{'s' * (total != 1)}: {', '.join(parts)}"


def _most(counts: Mapping[str, int]) -> dict[str, int]:
    """Counts, the largest first; the same ones by name."""
    return dict(sorted(counts.items(), key=lambda one: (-one[1], one[0])))


def _named(counts: Counter[str]) -> dict[str, int]:
    named = {name or "unknown": count for name, count in counts.most_common(_MOST_NAMES)}
    if len(counts) > _MOST_NAMES:
        named["others"] = counts.total() - sum(named.values())
    return named


def _by_level(counts: Mapping[str, int]) -> dict[str, int]:
    levels = [*map(str, Level)]
    return dict(sorted(counts.items(), key=lambda one: (
        levels.index(one[0].partition(" ")[0]), -one[1], one[0])))  # fmt: skip


def _faults(row: Row) -> Sequence[Finding]:
    """The errors of a row as findings of the report."""
    address: str = row["address"]
    facts: Mapping[str, Json] = {"files": [address]}
    if row["error"] is not None:
        rule = row["error_rule"] or "file-unrecognised"
        what = f"{address}: {row['error']}"
        facts = {**facts, "unreadable": True}
        return [Finding(rule, Level.ERROR, (), Answer.NO, what, address, facts=facts)]
    return [
        Finding(f["rule"], Level.ERROR, (), Answer.NO, f"{address}: {f['what']}", address,
                facts=facts)
        for f in row["findings"] if f["level"] == Level.ERROR
    ]  # fmt: skip
