"""A zip archive -> the Manifest by the reader of whatever was zipped; the entries' names tell."""

from __future__ import annotations

from interop.errors import ReadError
from interop.facts import Manifest
from interop.reading.archives.zip_archive import Archive
from interop.reading.bytes.address import unrecognised
from interop.reading.bytes.source import Source
from interop.reading.formats import foreign, table

_MAX_SCHEMA = 1 << 24  # bytes of a description of what is in an archive
# An entry of this name, at the top or one folder down, tells whose archive it is.
_FOREIGN = (
    ("[Content_Types].xml", "an office document", "give a model file"),
    ("META-INF/MANIFEST.MF", "a Java archive", "give a model file"),
    ("MAR-INF/MANIFEST.json", "a TorchServe archive (.mar)",
     "unpack it with unzip and give the file that its manifest calls serializedFile"),
    ("com.apple.CoreML/model.mlmodel", "a Core ML package (.mlpackage)",
     foreign.CORE_ML),
    ("coremldata.bin", "a compiled Core ML model (.mlmodelc)",
     foreign.CORE_ML),
)  # fmt: skip
# Entries that tell of a container that is read; the first that is there decides.
_KNOWN = (
    ("data.pkl", "torch-zip"),  # first: whatever else is in it, this is what torch.load runs
    ("archive_format", "exported-program"),
    ("serialized_exported_program.json", "exported-program"),
    ("model.weights.h5", "keras"),
)


def read(source: Source) -> Manifest:
    """Raises ReadError for an archive of something that is no model, or that plays tricks."""
    try:
        archive = Archive(source)
        archive.agree()
        manifest: Manifest = table.reader(kind(archive)).read_archive(archive)
    except ReadError as error:
        from interop.reading.archives import nested_models

        raise nested_models.told(source, error) from None
    return manifest


def kind(archive: Archive) -> str:
    """The container of the table of formats whose archive this is."""
    path = archive.source.path
    for name, container in _KNOWN:
        if _has(archive, name):
            return container
    for name, what, fix in _FOREIGN:
        if _has(archive, name):
            raise unrecognised(path, f"this is {what}", fix)
    schema = archive.entries.get("schema.json")
    if schema is not None and b'"__loader__"' in (archive.read(schema, _MAX_SCHEMA) or b""):
        fix = "load it with skops.io.load, convert it to ONNX with skl2onnx and give that file"
        raise unrecognised(path, "this is a scikit-learn model (.skops)", fix)
    if archive.entries and all(name.endswith(".npy") for name in archive.entries):
        return "numpy"
    from interop.reading.archives import nested_models

    if (hidden := nested_models.in_zip(archive)) is not None:
        raise hidden
    fix = "unpack it and give the model file in it"
    raise unrecognised(path, "this is a zip archive, but no PyTorch checkpoint", fix)


def _has(archive: Archive, name: str) -> bool:
    """Is there an entry of this name, at the top or one folder down?"""
    below = "/" + name
    return any(
        n == name or (n.endswith(below) and n.count("/") == below.count("/"))
        for n in archive.entries
    )
