"""A path or a library's name, as a person gave it -> the weights that are meant.

Nothing is fetched: a name means weights that lie on this machine, in a file that is given or in
the library's own cache.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from interop.errors import ExtraMissing, ModelError, Unsettled
from interop.facts import AnyPreprocessing, Architecture, Evidence, Identity, Labels, Manifest
from interop.identity import identify_file
from interop.identity.user_facts import UserFacts
from interop.models.backbone import default_preprocessing
from interop.models.libraries.torchvision.imported import torchvision
from interop.models.pretrained import PretrainedSource

RANDOM = "random:"
LIBRARIES = ("torchvision", "timm", "transformers", "torchaudio")


def find(
    given: str,
    *,
    weights: str | Path | None = None,
    arch: str | None = None,
    labels: Labels | None = None,
    preprocessing: AnyPreprocessing | None = None,
    strict: bool = False,
    own: bool = False,
) -> PretrainedSource:
    """What `given` names.

    `own` says that the person's own code builds the module, so that nothing has to be assumed of
    its architecture; `strict` that nothing may be.

    A file, a bundle or a folder; "library/name" of weights that `weights` holds or the library has
    in its cache; "random:" and one of these for the same architecture with weights drawn at random.
    Raises ModelError where there are no such weights, ReadError.
    """
    if given.startswith(RANDOM):
        return _random(given, arch, labels, preprocessing)
    path = str(weights) if weights is not None else given
    name = arch
    if _is_name(given):
        name = given if not given.startswith("transformers/") else arch
        if weights is None:
            path = _cached(given)
    elif weights is not None:
        what = "--weights is for a library's name, and this is a file"
        raise ModelError(what, where=given, fix="give one of the two")
    from interop.models.build_module import as_built

    identity = identify_file(
        path,
        UserFacts(arch=name, labels=labels, preprocessing=preprocessing),
        content_hash=True,
        whole=True,
    )
    if not own:
        identity = as_built(identity, name if name and "/" in name else None, strict=strict)
    source = _source(given, identity)
    how = source.identity.preprocessing
    if strict and how is not None and how.evidence is Evidence.ASSUMED:
        raise Unsettled(
            f"no file states the preprocessing: that of {source.library}/{source.arch} would be "
            "assumed, which --strict does not allow",
            where=path,
            fix="pass --preprocess",
        )
    return source


def _source(given: str, identity: Identity) -> PretrainedSource:
    from interop.models.libraries.timm.build import described as by_timm
    from interop.models.libraries.transformers.build import described

    config = identity.manifest.metadata.get("config.json")
    if described(identity) is not None:
        stated = config["architectures"] if isinstance(config, dict) else None
        library, name = "transformers", (stated or [""])[0]
    elif (card := by_timm(identity)) is not None:
        library, name = "timm", str(card["architecture"])
    else:
        library, _, name = (identity.architecture or "").partition("/")
    return PretrainedSource(given, _with_published(identity, library, name), library, name)


def _with_published(identity: Identity, library: str, name: str) -> Identity:
    """The identity with its architecture's published preprocessing, where no file says another."""
    if identity.preprocessing is not None or library not in ("torchvision", "timm"):
        return identity
    how = default_preprocessing.preprocessing(library, name)
    return identity if how is None else replace(identity, preprocessing=how)


def _random(
    given: str, arch: str | None, labels: Labels | None, preprocessing: AnyPreprocessing | None
) -> PretrainedSource:
    """The architecture of what stands behind the colon, without its weights."""
    inner = given.removeprefix(RANDOM)
    if not _is_name(inner):
        source = find(inner, arch=arch, labels=labels, preprocessing=preprocessing)
        bare = replace(source.identity, tensors=(), labels=labels or Labels())
        return replace(source, name=given, identity=bare, random=True)
    library, _, name = inner.partition("/")
    manifest = Manifest(inner, "", "", 0, "", ())
    architectures = (Architecture(inner, "its name"),)
    identity = Identity(manifest, "", "", (), architectures, preprocessing=preprocessing)
    return PretrainedSource(
        given, _with_published(identity, library, name), library, name, random=True
    )


def _is_name(given: str) -> bool:
    library, slash, name = given.partition("/")
    return bool(slash and name) and library in LIBRARIES and not Path(given).exists()


def _cached(given: str) -> str:
    """The file in the library's own cache. Raises ModelError where it has none."""
    library, _, name = given.partition("/")
    looks: dict[str, Callable[[str], Path | None]] = {
        "torchvision": _torchvision, "timm": _timm, "transformers": _hub,
    }  # fmt: skip
    path = looks[library](name) if library in looks else None
    if path is None:
        raise ModelError(
            f"{library}'s cache on this machine holds no weights of {name}, and nothing is fetched",
            where=given,
            fix="give the file with --weights, or random: in front for weights drawn at random",
        )
    return str(path)


def _torchvision(name: str) -> Path | None:
    import torch

    get_model_weights = torchvision().models.get_model_weights

    try:
        known = get_model_weights(name)
    except ValueError:
        what = f"the torchvision here has no {name!r}"
        raise ModelError(what, fix="torchvision.models.list_models() has all") from None
    files = [Path(torch.hub.get_dir()) / "checkpoints" / w.url.rpartition("/")[2] for w in known]
    return next((f for f in files if f.is_file()), None)


def _timm(name: str) -> Path | None:
    try:
        import timm
        from huggingface_hub import try_to_load_from_cache
    except ImportError:
        what = "timm is not installed"
        raise ExtraMissing(what, fix="pip install 'model-interop[timm]'") from None
    known = timm.get_pretrained_cfg(name) if timm.is_model(name) else None
    for repository in (getattr(known, "hf_hub_id", None), f"timm/{name}"):
        for file in ("model.safetensors", "pytorch_model.bin"):
            path = try_to_load_from_cache(repository, file) if repository else None
            if isinstance(path, str):
                return Path(path)
    return None


def _hub(name: str) -> Path | None:
    """The folder of a Hub model ("google-bert/bert-base-uncased") in the local cache."""
    try:
        from huggingface_hub import try_to_load_from_cache
        from huggingface_hub.errors import HFValidationError
    except ImportError:
        what = "transformers is not installed"
        raise ExtraMissing(what, fix="pip install 'model-interop[hf]'") from None
    try:
        path = try_to_load_from_cache(name, "config.json")
    except HFValidationError:
        return None
    return Path(path).parent if isinstance(path, str) else None
