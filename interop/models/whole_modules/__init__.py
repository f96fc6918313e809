"""An Identity of a whole pickled module -> that module, rebuilt without running its pickle.

`allowed` says which names may stand for what, `rebuild` makes the module of the file's records,
`older` builds the class by its name if the installed library cannot run what an older one saved,
`unlike` says where the module is not what its architecture's name stands for.
"""

from __future__ import annotations

from torch import nn

from interop.errors import InteropError, ModelError
from interop.facts import Identity
from interop.models.build_module import refuse_kind, whole
from interop.models.whole_modules import older, unlike
from interop.models.whole_modules.allowed import Refused
from interop.models.whole_modules.rebuild import Rebuilding, unwrapped
from interop.reading.formats.pickled_module import opened

__all__ = ["is_pickled", "rebuilt"]


def is_pickled(identity: Identity) -> bool:
    """Whether what was chosen of the file is a whole pickled module, not a state dict."""
    if identity.manifest.container == "torchscript" or not whole(identity):
        return False
    return identity.state is not None and bool(identity.state.module)


def rebuilt(identity: Identity, *, arch: str | None = None) -> tuple[nn.Module, tuple[str, ...]]:
    """The module in eval mode, with notes on how it was made; `load` has yet to prove its weights.

    `arch` names the architecture to build if the installed library cannot run an older file.
    Raises ModelError if any part of the module is not of a listed library, or would replace code
    of its class.
    """
    refuse_kind(identity)
    where = identity.manifest.path
    try:
        module, tried = _module(identity), _module(identity)  # to ask for a signature may set some
    except Refused as error:
        raise ModelError(
            f"holds a whole pickled module that is not rebuilt: {error}",
            where=where,
            fix="give the module with --model package.module:factory, save its state_dict(), or "
            "pass --trust to unpickle it, which runs the code that the file names",
            rule="checkpoint-holds-code",
        ) from error
    kind = type(module)
    if lacking := older.lacks(tried, identity):
        named = older.by_name(identity, kind, lacking, arch)
        if named is not None:
            return named
    library = kind.__module__.partition(".")[0]
    note = (
        f"the pickled {kind.__name__} was rebuilt from the installed {library}'s own classes; "
        "nothing of the pickle was run"
    )
    if places := unlike.apart(module, identity, arch):
        name = arch or identity.architecture
        other = f"it is not {name} as the installed {library} builds it: {places}"
        return module, (note, other)
    return module, (note,)


def _module(identity: Identity) -> nn.Module:
    """Raises Refused, also if the file holds no module at the place."""
    for one in identity.manifest.imports:
        # The reader's marks for what a pickle computes, or changes once it is there: then its
        # records are not what unpickling would give.
        if one.module == "(computed)" or "__set" in one.name:
            raise Refused("its pickle changes what it has already made")
    with opened(identity.manifest.file, identity.place) as found:
        if found is None:
            raise Refused("there is no module at that place any more")
        node, spec_of = found
        try:
            module = Rebuilding(spec_of, identity.manifest.path).module(unwrapped(node))
            module.state_dict()  # which a hook of a norm may fail in
            return module.eval().requires_grad_(False)
        except (Refused, InteropError):
            raise
        except Exception as error:  # values of a file's choice, in the hands of a library
            why = f"{type(error).__name__}: {error}"
            raise Refused(f"its values do not fit together ({why[:120]})") from error
