"""interop.toml, or [tool.interop] of a pyproject.toml -> a Policy: what a candidate has to be.

Every value knows where it was written, so that `--show-config` can say it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import date
from difflib import get_close_matches
from hashlib import sha256
from math import isfinite
from pathlib import Path
from typing import Any

from interop.errors import ConfigError
from interop.facts import AnyPreprocessing, Evidence, Intent, Labels, Level, TaskName
from interop.identity.metadata import parse_preprocessing
from interop.policy.keys import BUDGETS, BY_NAME, GROUPS, KEYS, KINDS, MEASURED, WAIVER
from interop.policy.toml import Lines, load
from interop.records import dataclass, field
from interop.rules import all_rules, explain

__all__ = ["BUDGETS", "MEASURED", "Policy", "Section", "Waiver", "find_policy", "parse_policy",
           "read_policy"]  # fmt: skip

NAMES = ("interop.toml", "pyproject.toml")
DEFAULTS = "default"
_AGES = {"minute": 60, "hour": 3600, "day": 86400, "week": 604800}

# A dotted key -> its value as it was written, and where.
Settings = Mapping[str, tuple[Any, str]]


@dataclass(frozen=True, slots=True)
class Waiver:
    """A finding that somebody answers for: of `rule`, at `place` (a glob; "" is any), until and
    with the day `expires`."""

    rule: str
    reason: str
    expires: date
    place: str = ""
    origin: str = ""


@dataclass(frozen=True, slots=True)
class Section:
    """What holds for the models whose path fits the glob alone."""

    path: str
    settings: Settings
    waivers: tuple[Waiver, ...] = ()
    origin: str = ""


# Keys of [assess], and the figures that they are weights of.
_FIGURES = {"accuracy": "accuracy", "latency": "latency", "size": "weight bytes"}


@dataclass(frozen=True, slots=True)
class Policy:
    """What `interop gate` asks for; the defaults are those of an empty file.

    `check`, `export` and `bench` say whether that evidence is required, `max_age` (seconds) how old
    it may be where it is handed in, `accept` on what its facts may rest; `data` is the data set on
    which bench runs where no report is handed in, `data_sha256` its hash where evidence has to be
    of it, `device` where it runs,
    `providers` the execution providers that a node may run on. `arch`, `labels` and `preprocessing`
    are facts for files that do not state their own. `folder` is what paths of sections count from.
    """

    intent: Intent = Intent.REPLACE
    values: bool = True
    levels: Mapping[str, Level] = field(default_factory=dict)
    budgets: Mapping[str, float] = field(default_factory=dict)
    check: bool = False
    export: bool = False
    bench: bool = False
    max_age: float | None = None
    accept: tuple[Evidence, ...] = (Evidence.STATED, Evidence.MEASURED)
    data: Path | None = None
    data_sha256: str | None = None
    task: str | None = None
    split: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    device: str = "cpu"
    providers: tuple[str, ...] = ()
    arch: str | None = None
    labels: Labels | None = None
    preprocessing: AnyPreprocessing | None = None
    waivers: tuple[Waiver, ...] = ()
    source: str = "defaults"
    folder: Path | None = None
    settings: Settings = field(default_factory=dict)
    sections: tuple[Section, ...] = ()

    @property
    def score(self) -> dict[str, float]:
        """The weight of each figure in one score of an assessment, as [assess] has it."""
        return {
            figure: float(self.settings[f"assess.{key}"][0])
            for key, figure in _FIGURES.items()
            if f"assess.{key}" in self.settings
        }

    def reason(self, command: str) -> str:
        """Why a command's report is needed."""
        judged = [b for b in MEASURED if b in self.budgets]
        if command == "bench" and judged:
            return f"budget {', '.join(judged)}"
        if command == "bench" and self.providers:
            return "evidence.providers"
        if command == "export" and any(b.startswith("opset") for b in self.budgets):
            return "budget on the opset"
        return f"evidence.{command}"

    def of(self, model: str | Path) -> Policy:
        """What holds for one model: the sections whose path fits it, a later one above an
        earlier."""
        fitting = [s for s in self.sections if fits(s.path, self._named(model))]
        if not fitting:
            return self
        settings = dict(self.settings)
        waivers = self.waivers
        for section in fitting:
            settings |= section.settings
            waivers += section.waivers
        assert self.folder is not None  # sections come from a file
        return _policy(settings, waivers, (), self.folder / NAMES[0], self.source)

    def _named(self, model: str | Path) -> str:
        """The model's path from the policy's folder, by "/"."""
        if self.folder is not None and "://" not in str(model):
            try:
                return Path(model).resolve().relative_to(self.folder.resolve()).as_posix()
            except ValueError:
                pass
        return Path(model).as_posix()

    def sha256(self, today: date) -> str:
        """A hash of all that it asks for; one waiver more that has expired makes it another."""
        asked = sorted((k, repr(v)) for k, (v, _) in self.settings.items())
        waived = [(w.rule, w.place, w.reason, w.expires, w.expires >= today) for w in self.waivers]
        return sha256(repr((self.source, asked, waived)).encode()).hexdigest()


# ---------------------------------------------------------------- finding and reading


def find_policy(start: Path) -> Path | None:
    """The nearest interop.toml, or pyproject.toml with [tool.interop], from `start` up to the root
    of the repository; where there is no repository, in `start` alone. In one folder the former
    wins. Raises ConfigError for a file that is no TOML."""
    start = start.resolve()
    above = [start, *start.parents]
    root = next((p for p in above if (p / ".git").exists()), start)
    for folder in above[: above.index(root) + 1]:
        own, shared = (folder / name for name in NAMES)
        if own.is_file():
            return own
        if shared.is_file() and _within(load(shared)[0], shared) is not None:
            return shared
    return None


def own_policy(given: Path | None = None) -> Policy:
    """The policy of the file that is given, or found from here; the defaults where there is none.

    A file below the working directory is called by its path from here, as people write it.
    """
    here = Path.cwd()
    path = given or find_policy(here)
    if path is None:
        return Policy()
    return read_policy(path.relative_to(here) if path.is_relative_to(here) else path)


def read_policy(path: Path, *, content: Path | None = None, where: str = "") -> Policy:
    """Read a policy file. Raises ConfigError for what it cannot mean.

    `content` is a file that is read in place of `path`, and `where` what it is called: another
    commit has another policy at that path, and paths in it count from the same folder.
    """
    where = where or str(path)
    document, lines = load(content or path, where)
    if path.name == NAMES[1]:
        if (inner := _within(document, Path(where))) is None:
            fix = "add the table, or give another --policy"
            raise ConfigError("has no [tool.interop]", where=where, fix=fix)
        return parse_policy(inner, path, lines.within(("tool", "interop")), where)
    return parse_policy(document, path, lines, where)


def _within(document: Mapping[str, Any], path: Path) -> Mapping[str, Any] | None:
    tool = document.get("tool", {})
    section = tool.get("interop") if isinstance(tool, Mapping) else None
    if section is not None and not isinstance(section, Mapping):
        raise _wrong("tool.interop", section, "a table, [tool.interop]", str(path))
    return section


def parse_policy(
    document: Mapping[str, Any], path: Path, lines: Lines | None = None, where: str = ""
) -> Policy:
    """A Policy from a parsed file; paths in it are relative to the file."""
    where, lines = where or str(path), lines or Lines({})
    settings = _settings(document, where, lines, ("waivers", "models"))
    waivers = _waivers(document, where, lines)
    sections = tuple(_sections(document, where, lines))
    policy = _policy(settings, waivers, sections, path, where)
    for section in sections:  # what only one model would show is said now
        _policy({**settings, **section.settings}, (), (), path, where)
    return policy


def _policy(
    settings: Settings,
    waivers: tuple[Waiver, ...],
    sections: tuple[Section, ...],
    path: Path,
    where: str,
) -> Policy:
    def get(name: str) -> Any:
        return settings[name][0] if name in settings else BY_NAME[name].default

    def below(front: str) -> dict[str, Any]:
        return {k.removeprefix(front): v for k, (v, _) in settings.items() if k.startswith(front)}

    budgets = {name: float(value) for name, value in below("budgets.").items()}
    if budgets.get("opset-min", 0) > budgets.get("opset-max", float("inf")):
        raise ConfigError("opset-min lies above opset-max", where=where, fix="mend one of them")
    data, labels, preprocess, age = map(
        get, ("evidence.data", "facts.labels", "facts.preprocess", "evidence.max-age")
    )
    return Policy(
        intent=Intent(get("intent")),
        values=get("values"),
        levels={_id(name): Level(value) for name, value in below("rules.").items()},
        budgets=budgets,
        check=get("evidence.check"),
        # A graph's opset is known where there is a graph.
        export=get("evidence.export"),
        # A budget on a measured quantity is a demand for the measurement.
        bench=get("evidence.bench")
        or any(b in budgets for b in MEASURED)
        or bool(get("evidence.providers")),
        max_age=None if age is None else _seconds(age),
        accept=tuple(map(Evidence, get("evidence.accept"))),
        data=None if data is None else _data(path, data),
        task=get("evidence.task"),
        split=get("evidence.split"),
        columns=get("evidence.columns") or {},
        device=get("evidence.device"),
        providers=tuple(get("evidence.providers") or ()),
        arch=get("facts.arch"),
        labels=None if labels is None else Labels(tuple(labels), where),
        preprocessing=None
        if preprocess is None
        else parse_preprocessing(preprocess, where, base=path.parent),
        waivers=waivers,
        source=where,
        folder=path.parent,
        settings=settings,
        sections=sections,
    )


def _data(path: Path, given: str) -> Path:
    # "torchvision:cifar10=FOLDER" names a folder behind the sign.
    front, sign, folder = given.partition("=")
    if sign and front.startswith("torchvision:"):
        return Path(f"{front}={path.parent / folder}")
    return path.parent / given


# ---------------------------------------------------------------- the parts of a file


def _settings(
    document: Mapping[str, Any], where: str, lines: Lines, more: tuple[str, ...],
    place: tuple[str | int, ...] = (),
) -> Settings:  # fmt: skip
    """Every setting of a table and of the tables within, checked."""
    settings: dict[str, tuple[Any, str]] = {}
    top = [k.name for k in KEYS if "." not in k.name]
    _known(document, (*top, "rules", *GROUPS, *more), where)
    for name in top:
        if name in document:
            origin = lines.origin(where, *place, name)
            settings[name] = (_value(name, document[name], where), origin)
    for group in GROUPS:
        known = tuple(k.name.partition(".")[2] for k in KEYS if k.name.startswith(f"{group}."))
        table = _table(document, group, where)
        _known(table, known, where, f"{group}.")
        for key, value in table.items():
            name = f"{group}.{key}"
            origin = lines.origin(where, *place, group, key)
            settings[name] = (_value(name, value, where), origin)
    rules = _table(document, "rules", where)
    _known(rules, tuple(all_rules()), where, "rules.", aliases=True)
    for key, value in rules.items():
        if not isinstance(value, str) or value not in tuple(Level):
            raise _wrong(f"rules.{key}", value, KINDS["level"], where)
        settings[f"rules.{_id(key)}"] = (value, lines.origin(where, *place, "rules", key))
    return settings


def _waivers(
    document: Mapping[str, Any], where: str, lines: Lines, place: tuple[str | int, ...] = ()
) -> tuple[Waiver, ...]:
    waivers = []
    for n, given in _listed(document, "waivers", where):
        name = f"waivers[{n}]"
        _known(given, WAIVER, where, f"{name}.")
        rule, spot = given.get("rule"), given.get("place", "")
        if not isinstance(rule, str) or explain(rule) is None:
            near = get_close_matches(str(rule), all_rules(), n=1, cutoff=0.5)
            wanted = "the id of a rule" + (f"; did you mean {near[0]}?" if near else "")
            raise _wrong(f"{name}.rule", rule, wanted, where)
        if _id(rule).startswith("evidence-"):
            fix = "ask for less in [evidence], or give it"
            raise ConfigError(f"{name}: {rule} cannot be waived", where=where, fix=fix)
        if not isinstance(spot, str):
            raise _wrong(f"{name}.place", spot, "a glob of a finding's place", where)
        reason = given.get("reason")
        if not isinstance(reason, str) or not reason.strip():
            raise _wrong(f"{name}.reason", reason, "why the finding is put up with", where)
        if (expires := _day(given.get("expires"))) is None:
            wanted = "a date such as 2030-12-31, on which it ends"
            raise _wrong(f"{name}.expires", given.get("expires"), wanted, where)
        origin = lines.origin(where, *place, "waivers", n)
        waivers.append(Waiver(_id(rule), reason.strip(), expires, spot, origin))
    return tuple(waivers)


def _sections(document: Mapping[str, Any], where: str, lines: Lines) -> Iterator[Section]:
    for n, given in _listed(document, "models", where):
        path = given.get("path")
        if not isinstance(path, str) or not path:
            raise _wrong(f"models[{n}].path", path, "a glob of paths", where)
        inner = {k: v for k, v in given.items() if k != "path"}
        place = ("models", n)
        settings = _settings(inner, where, lines, ("path", "waivers"), place)
        waivers = _waivers(inner, where, lines, place)
        yield Section(path, settings, waivers, lines.origin(where, *place, "path"))


def _listed(
    document: Mapping[str, Any], key: str, where: str
) -> Iterator[tuple[int, Mapping[str, Any]]]:
    tables = document.get(key, [])
    if not isinstance(tables, list) or not all(isinstance(x, Mapping) for x in tables):
        raise _wrong(key, tables, f"tables, [[{key}]]", where)
    yield from enumerate(tables)


def _day(value: Any) -> date | None:
    if type(value) is date:  # a datetime is one as well, and a time of day is not meant
        return value
    if isinstance(value, str) and re.fullmatch(r"\d{4}-\d\d-\d\d", value):
        try:
            return date.fromisoformat(value)
        except ValueError:
            return None
    return None


def _value(name: str, value: Any, where: str) -> Any:
    kind = BY_NAME[name].kind
    if not _takes(kind, value):
        wanted = KINDS[kind]
        if kind in ("number", "percent"):
            wanted += f": {BY_NAME[name].what}"
        raise _wrong(name, value, wanted, where)
    return value


def _takes(kind: str, value: Any) -> bool:
    """Whether a value is of one of KINDS."""
    if kind in ("number", "percent"):
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        # A NaN would compare as false with everything, and so allow everything.
        if not number or not isfinite(value):
            return False
        return bool(0 <= value <= (100 if kind == "percent" else value))
    takes = _TAKES.get(kind, lambda v: isinstance(v, str) and bool(v))
    return takes(value)


AGE = re.compile(r"([1-9][0-9]{0,5}) (minute|hour|day|week)s?")
_TAKES: Mapping[str, Callable[[Any], bool]] = {
    "flag": lambda v: isinstance(v, bool),
    "names": lambda v: isinstance(v, list) and bool(v) and all(isinstance(n, str) for n in v),
    "evidence": lambda v: isinstance(v, list) and bool(v) and all(n in tuple(Evidence) for n in v),
    "words": lambda v: isinstance(v, Mapping) and all(isinstance(n, str) for n in v.values()),
    "facts": lambda v: isinstance(v, Mapping),
    "intent": lambda v: isinstance(v, str) and v in tuple(Intent),
    "device": lambda v: v in ("cpu", "cuda"),
    "task": lambda v: isinstance(v, str) and v in tuple(TaskName),
    "age": lambda v: isinstance(v, str) and AGE.fullmatch(v) is not None,
}


def _seconds(age: str) -> float:
    match = AGE.fullmatch(age)
    assert match is not None
    return float(int(match[1]) * _AGES[match[2]])


def fits(glob: str, path: str) -> bool:
    """Whether a path fits a glob: "*" and "?" stay within a folder, "**" goes over several; a glob
    without "/" is held against the name alone, as in .gitignore."""
    if "/" not in glob:
        path = path.rpartition("/")[2]
    pattern = ""
    for part in re.findall(r"\*\*/|\*\*|\*|\?|[^*?]+", glob.removeprefix("./")):
        words = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
        pattern += words.get(part, re.escape(part))
    return re.fullmatch(pattern, path) is not None


def _id(name: str) -> str:
    explained = explain(name)
    return explained.rule.id if explained else name


def _known(
    given: Mapping[str, Any], known: tuple[str, ...], where: str, front: str = "", *,
    aliases: bool = False,
) -> None:  # fmt: skip
    for key in given:
        if key in known or (aliases and explain(key)):
            continue
        near = get_close_matches(key, known, n=1, cutoff=0.5)
        fix = f"did you mean {front}{near[0]}?" if near else f"known: {', '.join(known)}"
        raise ConfigError(f"unknown key {front}{key}", where=where, fix=fix)


def _table(document: Mapping[str, Any], key: str, where: str) -> Mapping[str, Any]:
    table = document.get(key, {})
    if not isinstance(table, Mapping):
        raise _wrong(key, table, f"a table, [{key}]", where)
    return table


def _wrong(key: str, value: Any, wanted: str, where: str) -> ConfigError:
    return ConfigError(f"{key} is {value!r}", where=where, fix=f"it takes {wanted}")
