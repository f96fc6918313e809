"""What a git repository holds: "git:REF:path" -> a file or folder of this machine, and which model
files there are with what identifies their content.

git itself is asked; nothing is written to the repository. A file in Git LFS is taken from the
repository's own store of objects, else fetched by git-lfs.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from errno import ENOSPC
from hashlib import file_digest
from pathlib import Path, PurePosixPath

from interop.errors import ConfigError
from interop.reading.bytes import location
from interop.reading.companion_files import DESCRIPTIONS, PICKLES, named_by, read_of
from interop.records import dataclass

PREFIX = "git:"
_POINTER = re.compile(
    rb"version https://git-lfs[^\n]*\n(?:ext-[^\n]*\n)*oid sha256:([0-9a-f]{64})\nsize (\d+)\n"
)
_MOST_POINTER = 1024  # bytes; the specification's own bound
_PLAIN = ("100644", "100755", "100664")
_STEP = 1 << 20


@dataclass(frozen=True, slots=True)
class GitBlob:
    """A file of a commit: the id of its content, and its size in bytes as git stores it."""

    oid: str
    size: int


@dataclass(frozen=True, slots=True)
class GitPath:
    """ "git:REF:path"; `path` is "" where it is the candidate's own, from the root of the
    repository."""

    ref: str
    path: str

    def __str__(self) -> str:
        return f"{PREFIX}{self.ref}:{self.path}"


def parse(given: str) -> GitPath | None:
    """The parts of a git address; None where it is none. Raises ConfigError for half of one."""
    if not given.startswith(PREFIX) or Path(given).exists():
        return None
    ref, colon, path = given.removeprefix(PREFIX).partition(":")
    if not colon or not ref or ref.startswith("-"):
        fix = "write it like git:origin/main:models/prod.pth"
        raise ConfigError("is no git:REF:path", where=given, fix=fix)
    return GitPath(ref, path)


def is_pointer(file: Path) -> bool:
    """Whether a file is what Git LFS leaves in place of one that it has not fetched."""
    return _small(file) and _POINTER.match(file.read_bytes()) is not None


def _small(file: Path) -> bool:
    return file.is_file() and file.stat().st_size <= _MOST_POINTER


def has_pointers(model: Path) -> bool:
    """Whether Git LFS left pointers in place of a model's file, or of files that it needs."""
    if model.is_file():
        return any(map(is_pointer, (model, *(model.parent / name for name in named_by(model)))))
    front, names = _parts_of(model)
    return any(is_pointer(front / name) for name in names)


class Repository:
    """The repository around a folder. Raises ConfigError where there is none, or no git."""

    def __init__(self, within: Path) -> None:
        within = within if within.is_dir() else within.parent
        process = self._run(within, "rev-parse", "--show-toplevel", "--git-common-dir")
        if process.returncode:
            fix = "run it in a repository; safe.directory must allow it"
            what = f"is in no git repository ({_said(process)})"
            raise ConfigError(what, where=str(within), fix=fix)
        top, common = os.fsdecode(process.stdout).splitlines()[:2]
        self.root = Path(top)
        self.objects = (within / common).resolve() / "lfs" / "objects"

    def commit(self, ref: str) -> str:
        """The id of the commit that `ref` names."""
        process = self._git("rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}")
        if process.returncode:
            raise ConfigError(
                "no such commit, branch or tag here",
                where=f"{PREFIX}{ref}",
                fix=f"git fetch origin {ref} (a CI checkout of one commit: fetch-depth: 0), or "
                "name another",
            )
        return os.fsdecode(process.stdout).strip()

    def files(self, ref: str, under: str = "") -> dict[str, GitBlob]:
        """Path from the root -> blob of each plain file of a commit, those under a path alone."""
        command = ["ls-tree", "-r", "-l", "-z", "--full-tree", self.commit(ref)]
        process = self._git(*command, *(["--", under] if under else []))
        files = {}
        for line in os.fsdecode(process.stdout).split("\0")[:-1]:
            about, _, path = line.partition("\t")
            mode, kind, oid, size = about.split()
            if kind == "blob" and mode in _PLAIN:
                files[path] = GitBlob(oid, int(size))
        return files

    def clean(self) -> tuple[dict[str, str], list[str]]:
        """Path -> blob id of the files that are as the index has them; and the paths of those that
        may not be, untracked ones among them. What .gitignore names is in neither.

        A file that was touched counts among the latter: whether its content changed is not looked
        at here, since that takes reading it. So does one that git was told to take for unchanged
        (assume-unchanged, skip-worktree); what a sparse checkout leaves out is in neither.
        """
        # Plumbing alone, which writes no index: two gates, or a person's git, may be at work
        # beside.
        dirty = self._names("diff-files", "--name-only", "-z")
        gone = set(self._names("ls-files", "--deleted", "-z"))
        blobs = {}
        for line in self._names("ls-files", "-s", "-v", "-z"):
            about, _, path = line.partition("\t")
            tag, mode, oid, stage = about.split()
            if mode in _PLAIN and stage == "0":
                blobs[path] = oid
            if tag == "S" or tag.islower():
                blobs.pop(path, None)
                dirty += [path] * (self.root / path).is_file()
        for path in dirty:
            blobs.pop(path, None)
        new = self._names("ls-files", "--others", "--exclude-standard", "-z")
        return blobs, [path for path in dict.fromkeys([*dirty, *new]) if path not in gone]

    def left_out(self) -> set[str]:
        """The paths that a sparse checkout leaves out of the working tree."""
        listed = self._names("ls-files", "-t", "-z")
        return {p for p in (x[2:] for x in listed if x[0] == "S") if not (self.root / p).exists()}

    def _names(self, *arguments: str) -> list[str]:
        done = self._git(*arguments)
        if done.returncode:
            raise ConfigError(_said(done), where=str(self.root), fix="see git status")
        return os.fsdecode(done.stdout).split("\0")[:-1]

    def fetch(self, spec: GitPath, into: Path) -> Path:
        """The file or folder of a spec, at its own path below `into`: a file with all those beside
        it that say what it is or hold its weights, of a folder's files in Git LFS those that its
        reader goes by."""
        # git itself knows "./x" from here; the path of a spec counts from the root.
        path = spec.path.removeprefix("./").rstrip("/")
        front = path.rpartition("/")[0]
        blobs = self.files(spec.ref, front)
        if path in blobs:
            there = {n.removeprefix(f"{front}/" if front else ""): n for n in blobs}
            name = path.rpartition("/")[2]
            described = [there[n] for n in there if n in DESCRIPTIONS and n != name]
            self._take(blobs, [path, *described], spec.ref, into)
            weight_files = [there[n] for n in named_by(into / path) if n in there and n != name]
            self._take(blobs, weight_files, spec.ref, into)
            return into / path
        within = {n: blob for n, blob in blobs.items() if not path or n.startswith(f"{path}/")}
        if not within:
            raise self._no_path(spec)
        self._take(within, self._of_folder(within, path), spec.ref, into)
        for name in [n for n in within if (into / n).is_file() and n.endswith(".onnx")]:
            place = PurePosixPath(name).parent
            weight_files = [str(place / n) for n in named_by(into / name)]
            weight_files = [n for n in weight_files if n in within and not (into / n).exists()]
            self._take(within, weight_files, spec.ref, into)
        return into / path

    def _of_folder(self, within: Mapping[str, GitBlob], path: str) -> list[str]:
        """Of a folder's files all but those in Git LFS that its reader does not look at."""
        front = f"{path}/" if path else ""
        names = [n.removeprefix(front) for n in within]
        if (wanted := read_of(names)) is None:
            return list(within)
        large = {f"{front}{n}" for n in names if n not in wanted}
        return [n for n, blob in within.items() if n not in large or not self._in_lfs(blob)]

    def _in_lfs(self, blob: GitBlob) -> bool:
        if blob.size > _MOST_POINTER:
            return False
        return _POINTER.match(self._git("cat-file", "blob", blob.oid).stdout) is not None

    def _take(
        self, blobs: Mapping[str, GitBlob], paths: Iterable[str], ref: str, into: Path
    ) -> None:
        for path in paths:
            self.take(blobs[path], into / path, f"{PREFIX}{ref}:{path}")

    def take(self, blob: GitBlob, target: Path, where: str) -> None:
        """Write a blob's content, or what it points at in Git LFS, to a new file."""
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            if blob.size <= _MOST_POINTER:
                data = self._git("cat-file", "blob", blob.oid).stdout
                if pointer := _POINTER.match(data):
                    self._from_lfs(data, pointer, target, where)
                    return
                target.write_bytes(data)
                return
            with target.open("wb") as out:
                done = self._git("cat-file", "blob", blob.oid, out=out.fileno())
            if done.returncode or target.stat().st_size != blob.size:
                # git does not say that it was for want of room.
                full = shutil.disk_usage(target.parent).free < blob.size
                raise _unwritten(where, target, os.strerror(ENOSPC) if full else _said(done))
        except OSError as error:
            raise _unwritten(where, target, error.strerror or str(error)) from None

    def pointed(self, model: Path, into: Path) -> Path:
        """A file or folder of the working tree itself; where Git LFS left pointers in place of
        files of it, a copy of it below `into` that has the files."""
        if not has_pointers(model):
            return model
        front, names = _parts_of(model)
        for name in names:
            self._put(front / name, into / name)
        if model.is_dir():
            return into
        # A graph or an index that was a pointer itself names its files only now.
        for name in named_by(into / model.name):
            if (front / name).is_file() and not (into / name).exists():
                self._put(front / name, into / name)
        return into / model.name

    def _put(self, file: Path, target: Path) -> None:
        """A file of the working tree, or what it points at in Git LFS, under another name."""
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            data = file.read_bytes() if _small(file) else b""
            if pointer := _POINTER.match(data):
                self._from_lfs(data, pointer, target, str(file))
            else:
                _copy(file, target)
        except OSError as error:
            raise _unwritten(str(file), target, error.strerror or str(error)) from None

    def _from_lfs(self, data: bytes, pointer: re.Match[bytes], target: Path, where: str) -> None:
        oid, size = pointer[1].decode(), int(pointer[2])
        kept = self.objects / oid[:2] / oid[2:4] / oid
        if kept.is_file() and kept.stat().st_size == size:
            _copy(kept, target)
            return
        with target.open("wb") as out:
            done = self._git("lfs", "smudge", given=data, out=out.fileno())
        with target.open("rb") as file:
            same = file_digest(file, "sha256").hexdigest() == oid
        if not same:
            target.unlink()
            raise ConfigError(
                f"lies in Git LFS and its {size:,} bytes are not here"
                + (f" ({complaint})" if (complaint := _said(done)) else ""),
                where=where,
                fix=f"install git-lfs and run: git lfs {_fetching(where)}",
            )

    def _no_path(self, spec: GitPath) -> ConfigError:
        near = get_close_matches(spec.path, self.files(spec.ref), n=1, cutoff=0.5)
        fix = f"did you mean {PREFIX}{spec.ref}:{near[0]}?" if near else (
            f"the path counts from the root of the repository, {self.root}"
        )  # fmt: skip
        return ConfigError(f"{spec.ref} holds no {spec.path!r}", where=str(spec), fix=fix)

    def _git(
        self, *arguments: str, given: bytes | None = None, out: int = subprocess.PIPE
    ) -> subprocess.CompletedProcess[bytes]:
        return self._run(self.root, *arguments, given=given, out=out)

    @staticmethod
    def _run(
        folder: Path, *arguments: str, given: bytes | None = None, out: int = subprocess.PIPE
    ) -> subprocess.CompletedProcess[bytes]:
        try:
            return subprocess.run(
                ["git", "-C", str(folder), *arguments],
                input=given,
                stdout=out,
                stderr=subprocess.PIPE,
                # A path with "*" in its name is a path, and no question is put to a terminal.
                env={**os.environ, "GIT_LITERAL_PATHSPECS": "1", "GIT_TERMINAL_PROMPT": "0"},
                check=False,
            )
        except FileNotFoundError:
            raise ConfigError("git is not installed", fix="install git, or give a file") from None


def _parts_of(model: Path) -> tuple[Path, list[str]]:
    """The folder of a model, and the files in it that its reader looks at, by their paths there."""
    if model.is_dir():
        names = [p.relative_to(model).as_posix() for p in model.rglob("*") if p.is_file()]
        wanted = read_of(names)
        # What is unsafe in a pickle beside the model is told of too.
        named = [n for n in names if wanted is None or n in wanted or n.endswith(PICKLES)]
        plain = [n for n in names if n not in named and not is_pointer(model / n)]
        return model, [*named, *plain]
    beside = [n for n in sorted(DESCRIPTIONS) if (model.parent / n).is_file()]
    weight_files = [n for n in named_by(model) if location.exists(str(model.parent / n))]
    return model.parent, list(dict.fromkeys([model.name, *beside, *weight_files]))


def _copy(file: Path, target: Path) -> None:
    try:
        os.link(file.resolve(), target)
    except OSError:  # another file system
        shutil.copyfile(file, target)


def unit_id(blobs: Mapping[str, str], paths: Iterable[str]) -> tuple[str, ...] | None:
    """What identifies the content of some files by their blobs; None where one is not clean."""
    ids = [f"{path.rpartition('/')[2]} {blobs.get(path)}" for path in sorted(paths)]
    return None if any(x.endswith(" None") for x in ids) else tuple(ids)


def _fetching(where: str) -> str:
    spec = where.split(":")
    return f"fetch origin {spec[1]}" if f"{spec[0]}:" == PREFIX and len(spec) > 2 else "pull"


def _said(done: subprocess.CompletedProcess[bytes]) -> str:
    lines = done.stderr.decode(errors="replace").strip().splitlines()
    lines = [line for line in lines if not line.startswith(("Errors logged to", "Use `git lfs"))]
    return "; ".join(lines[-2:])[:300]


def _unwritten(where: str, target: Path, why: str) -> ConfigError:
    fix = "make room, or set TMPDIR to a folder that has it"
    return ConfigError(f"cannot be copied to {target.parent} ({why})", where=where, fix=fix)
