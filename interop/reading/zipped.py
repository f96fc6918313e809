"""A zip archive -> the Manifest by the reader of whatever was zipped; the entries' names tell."""

from __future__ import annotations

from interop.facts import Manifest
from interop.reading import formats
from interop.reading.source import Source, unrecognised
from interop.reading.zip_archive import Archive

_SAVE = "save the model's state_dict() with torch.save and give that file"
# An entry of this name, at the top or one folder down, tells whose archive it is.
_FOREIGN = (
    ("[Content_Types].xml", "an office document"),
    ("META-INF/MANIFEST.MF", "a Java archive"),
    ("MAR-INF/MANIFEST.json", "a TorchServe archive (.mar)"),
    ("model.weights.h5", "a Keras archive (.keras)"),
    ("archive_format", "an exported program (.pt2)"),
    ("serialized_exported_program.json", "an exported program (.pt2)"),
)


def read(source: Source) -> Manifest:
    """Raises ReadError for an archive of something that is no model."""
    archive = Archive(source)
    container = _container(archive)
    manifest: Manifest = formats.reader(container).read_archive(archive)
    return manifest


def _container(archive: Archive) -> str:
    path = archive.source.path
    if _has(archive, "data.pkl"):
        return "torch-zip"
    for name, what in _FOREIGN:
        if _has(archive, name):
            raise unrecognised(path, f"this is {what}", _SAVE)
    if archive.entries and all(name.endswith(".npy") for name in archive.entries):
        raise unrecognised(path, "this is a numpy archive (.npz)", _SAVE)
    fix = "unpack it and give the model file in it"
    raise unrecognised(path, "this is a zip archive, but no PyTorch checkpoint", fix)


def _has(archive: Archive, name: str) -> bool:
    """Is there an entry of this name, at the top or one folder down?"""
    below = "/" + name
    return any(
        n == name or (n.endswith(below) and n.count("/") == below.count("/"))
        for n in archive.entries
    )
