"""What several rules have in common: a look at one kind of fact, made into findings."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from interop.facts import (
    Case,
    Finding,
    Graph,
    Identity,
    Measurement,
    PartChange,
    Port,
    Rule,
    Side,
    Within,
)
from interop.rules import finding, listed

SIGNIFICANT = 0.05  # McNemar's p below which a change of accuracy is no chance


def unreadable(rule: Rule, case: Case) -> Iterator[Finding]:
    """A finding for each file that the reader refused under the rule's id."""
    for file in case.unreadable:
        if file.rule == rule.id:
            yield finding(rule, file.what, place=file.path, hint=file.fix)


def failed_proof(rule: Rule, case: Case, name: str) -> Iterator[Finding]:
    """A finding where the proof of that name does not hold."""
    for proof in case.proofs:
        if proof.name == name and not proof.holds:
            yield finding(rule, proof.what, facts=proof.facts)


def judged(case: Case, name: str, budget: str) -> Iterator[tuple[Measurement, float, float]]:
    """The measurements of candidate against baseline that a budget bounds: each with its value
    and the bound; none where the policy has no such budget."""
    bound = case.budgets.get(budget)
    for m in case.measurements:
        between = m.conditions.get("between") == "models"
        if m.name == name and between and m.value is not None and bound is not None:
            yield m, m.value, bound


def beyond_chance(m: Measurement, allowed: float) -> str:
    """By which rule a drop of accuracy beyond `allowed` points is no chance; "" where it may be.

    The whole interval of the drop lies beyond what is allowed, or McNemar's exact test tells the
    two models apart; a report that has neither is taken at its word.
    """
    p = m.conditions.get("mcnemar_p")
    if m.interval is not None and -100 * m.interval[1] > allowed:
        low, high = (-100 * end for end in reversed(m.interval))
        return f"its 95 % interval, {low:.2f} to {high:.2f}, lies beyond"
    if p is not None and p < SIGNIFICANT:
        return f"McNemar p = {p:.2g}"
    return "no interval and no test are known" if m.interval is None and p is None else ""


def unstated(
    rule: Rule, silent: list[Identity], what: str, flag: str, why: Callable[[Identity], str]
) -> Iterator[Finding]:
    """A finding where files do not state a fact; `flag` is the option that gives it.

    `why` says what is wrong with what a file does state, if anything.
    """
    if silent:
        name = silent[0].manifest.path.rpartition("/")[2]
        where = "either file" if len(silent) == 2 else name
        paths = [i.manifest.path for i in silent]
        because = next((f" ({r})" for i in silent if (r := why(i))), "")
        key = flag.removeprefix("--")
        yield finding(
            rule,
            f"{what} in {where}{because}; {flag} tells (in a policy: facts.{key})",
            facts={"files": paths},
        )


def changed_to(changes: Sequence[PartChange], most: int = 4) -> str:
    """ "num_attention_heads 4 -> 2, hidden_act gelu -> relu"; the whole file where no field is
    known."""
    words = []
    for change in changes[:most]:
        if not change.field:
            words.append(change.why or "has other bytes")
            continue
        old = "absent" if change.side is Side.B else str(change.a)
        new = "absent" if change.side is Side.A else str(change.b)
        words.append(f"{change.field} {old} -> {new}")
    more = len(changes) - most
    return ", ".join(words) + (f" and {more} more" if more > 0 else "")


def sides(case: Case) -> list[Identity]:
    """The files of a case, A first."""
    return [i for i in (case.a, case.b) if i is not None]


def contract(rule: Rule, case: Case, side: str) -> Iterator[Finding]:
    """A finding where the "inputs" or "outputs" of two graphs differ in name, type or shape."""
    assert case.a is not None and case.b is not None
    old, new = case.a.manifest.graph, case.b.manifest.graph
    if old is None or new is None:
        return
    was, now = _ports(old, side), _ports(new, side)
    wider = _wider(old, new) if side == "inputs" else set()
    names = [n for n in {**was, **now} if was.get(n) != now.get(n) and n not in wider]
    if names:
        changes = [f"{n} {was.get(n, 'absent')} -> {now.get(n, 'absent')}" for n in names]
        yield finding(rule, "; ".join(changes[:2]), facts={side: names})


def _wider(old: Graph, new: Graph) -> set[str]:
    """The inputs that take all that the old ones did: an open axis takes each size."""
    before = {p.name: p for p in old.inputs}
    return {
        p.name
        for p in new.inputs
        if (was := before.get(p.name)) is not None
        and (p.dtype, len(p.shape)) == (was.dtype, len(was.shape))
        and all(isinstance(n, str) or n == o for n, o in zip(p.shape, was.shape, strict=True))
    }


def _ports(graph: Graph, side: str) -> dict[str, str]:
    ports: tuple[Port, ...] = getattr(graph, side)
    # What a dynamic axis is called does not matter to a caller.
    axes = {p: ["?" if isinstance(a, str) else str(a) for a in p.shape] for p in ports}
    return {p.name: f"{p.dtype} ({', '.join(axes[p])})" for p in ports}


def mend(case: Case) -> str:
    """The Python expression that makes of B's file one that A's code loads; "" where none is known.

    It undoes wrapper and prefix together, and is offered only where that is all that differs.
    """
    a, b = case.a, case.b
    if a is None or b is None or case.pairing is None or "…" in a.prefix + b.prefix:
        return ""
    p = case.pairing
    over = [t.name for t in p.extra if t.name not in p.taken]
    state = _loaded(b)
    if p.lacking or over or not state:
        return ""
    if len(p.reshaped) > len(p.resized) or any(i.state and i.state.module for i in (a, b)):
        return ""
    if a.prefix != b.prefix or p.refused:
        name = f"k.removeprefix({b.prefix!r})" if b.prefix != a.prefix else "k"
        name = f"{a.prefix!r} + {name}" if a.prefix and a.prefix != b.prefix else name
        drop = f" if k not in {list(p.refused)!r}" if p.refused else ""
        state = f"{{{name}: v for k, v in {state}.items(){drop}}}"
    for key in reversed([k for k in a.place.split(".") if k]):
        state = f"{{{key!r}: {state}}}"
    return f"torch.save({state}, 'mended.pth')"


def _loaded(b: Identity) -> str:
    """The Python expression that gives B's state dict; "" where none is known."""
    keys = b.place.split(".") if b.place else []
    if b.manifest.container not in ("torch-zip", "torch-legacy") or any(k.isdigit() for k in keys):
        return ""
    return f"torch.load({b.manifest.file!r})" + "".join(f"[{k!r}]" for k in keys)


def under_prefix(case: Case) -> str:
    """How A's module loads B, where the backbone of the one is in the other under a prefix."""
    a, b, pairing = case.a, case.b, case.pairing
    if a is None or b is None or pairing is None or not pairing.within:
        return ""
    within = pairing.within[0]
    if "…" in a.prefix + b.prefix + within.prefix:
        return "save both without torch.compile's wrapper first"
    state = _loaded(b) or "B"
    names = b.file_names
    conditions = []
    if within.side is Side.B:
        key = f"k.removeprefix({within.prefix!r})"
        key = f"{a.prefix!r} + {key}" if a.prefix else key
        conditions.append(f"k.startswith({within.prefix!r})")
    else:
        key = f"k.removeprefix({b.prefix!r})" if b.prefix else "k"
        key = f"{within.prefix!r} + {key}"
    # torch refuses another shape under a name that it knows, even with strict=False.
    if others := [names.get(p.b.name, p.b.name) for p in within.reshaped]:
        conditions.append(f"k not in {others!r}")
    such = f" if {' and '.join(conditions)}" if conditions else ""
    taken = {p.a.name for p in within.pairs}
    rest = [t.name for t in a.tensors if t.name not in taken]
    loose = rest or (within.side is Side.A and len(within.pairs) < len(b.tensors))
    meant = "for the one that is meant, here the first: " if pairing.within[1:] else ""
    kept = beside(rest, within.prefix.removeprefix(a.prefix) if within.side is Side.A else "")
    return (
        f"{meant}model.load_state_dict({{{key}: v for k, v in {state}.items(){such}}}"
        f"{', strict=False' * bool(loose)}){f'; nothing of B fills {kept}' if rest else ''}"
    )


def mostly(a: Identity, place: Within) -> bool:
    """Whether what a place fills is at least half of A's bytes: less may be one of its parts."""
    taken = {p.a.name for p in place.pairs}
    sizes = {t.name: t.nbytes for t in a.tensors if not t.is_buffer}
    return 2 * sum(n for name, n in sizes.items() if name in taken) >= sum(sizes.values())


def beside(names: Sequence[str], prefix: str = "") -> str:
    """The modules that tensors are in, each as far as it is not a prefix's own."""
    parts = prefix.split(".")
    paths: dict[str, None] = {}
    for name in names:
        own = name.split(".")
        same = 0
        while same < min(len(own), len(parts)) - 1 and own[same] == parts[same]:
            same += 1
        paths[".".join(own[: same + 1])] = None
    return listed(list(paths))


def command(case: Case, end: str) -> str:
    """The command that gives B's weights A's names."""
    assert case.a is not None and case.b is not None
    words = [f"interop port {_named(case.b)} --like {_named(case.a)}"]
    if "--prove" in end:
        # What runs must be one architecture; which of several it is, a person has to say.
        words += ["--arch NAME"] * (len(case.b.architectures) > 1)
        words += ["--like-arch NAME"] * (len(case.a.architectures) > 1)
    return " ".join([*words, end])


def port(case: Case) -> str:
    """That command, and how much of A it fills from B; "" where it is known to fail."""
    a, pairing = case.a, case.pairing
    if a is None or case.b is None or pairing is None or not (share := pairing.fills):
        return ""
    rest = "" if share == 1 else "; the head is B's own"
    # Rounded down: what is missing must not round to nothing.
    part = f"{int(1000 * share) / 10:g} % of A's bytes come from B{rest}"
    # In A's container, since it is A's code that is to load it.
    name = f"mended.{'safetensors' if a.manifest.container == 'safetensors' else 'pth'}"
    return f"{command(case, f'-o {name}')} ({part})"


def _named(identity: Identity) -> str:
    """A file as a command names it, with the place in it where there are several."""
    import shlex

    place = f"#{identity.place}" if len(identity.manifest.state_dicts) > 1 else ""
    return shlex.quote(identity.manifest.path + place)
