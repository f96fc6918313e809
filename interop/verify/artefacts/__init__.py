"""A path -> the artefact that is to be proved: a graph, a program, an OpenVINO IR."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

from interop.errors import ReadError
from interop.facts import Identity, Manifest
from interop.identity import identify_file
from interop.identity.user_facts import UserFacts
from interop.models import programs
from interop.verify.artefacts.base import Artefact

__all__ = ["Artefact", "opened"]


def opened(path: Path, *, device: str, trust: bool, runtime: str) -> Artefact:
    """Opens what lies at `path`; of a folder, the one graph in it. `runtime` is where a graph runs.

    Raises ReadError for what is no such file or damaged, and ModelError for a program that is not
    trusted or that torch cannot open.
    """
    file = _graph_of(path) if path.is_dir() else path
    if file.suffix == ".xml":
        from interop.verify.artefacts.openvino import OpenVinoArtefact

        return OpenVinoArtefact(_ir(file), device)
    identity = identify_file(file, UserFacts(), content_hash=True, whole=True)
    if identity.manifest.container == "onnx":
        from interop.verify.artefacts.onnx import OnnxArtefact

        return OnnxArtefact(identity, device, runtime)
    if programs.is_program(identity):
        from interop.verify.artefacts.program import ProgramArtefact

        return ProgramArtefact(identity, device, trust=trust)
    what = "is no graph and no program, so there is nothing in it to run and to prove"
    fix = "give an ONNX file, a .pt2, a TorchScript file or an OpenVINO IR (.xml); interop check "
    fix += "compares two checkpoints"
    raise ReadError(what, where=str(path), fix=fix)


def _ir(file: Path) -> Identity:
    """An IR as far as it is read without OpenVINO: its path, and one hash of both of its files."""
    whole = sha256()
    size = 0
    for part in (file, file.with_suffix(".bin")):
        if part.is_file():
            size += part.stat().st_size
            with part.open("rb") as opened:
                while block := opened.read(1 << 20):
                    whole.update(block)
    digest = whole.hexdigest()
    manifest = Manifest(str(file), str(file), "openvino", size, digest, (), content_sha256=digest)
    return Identity(manifest, "", "", (), kind="OpenVINO IR")


def _graph_of(folder: Path) -> Path:
    files = sorted(p for p in folder.iterdir() if p.suffix in (".onnx", ".xml"))
    plain = [p for p in files if p.name == "model.onnx"]
    if len(files) == 1 or plain:
        return (plain or files)[0]
    what = f"holds {len(files)} graphs" if files else "holds no graph"
    fix = "give the file of the one that is to be proved"
    raise ReadError(what, where=str(folder), fix=fix)
