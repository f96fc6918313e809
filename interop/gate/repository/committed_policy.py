"""A policy as another commit has it: "git:origin/main:interop.toml" -> a Policy.

A pull request can change the policy that judges it. The one of the branch that it goes to cannot be
changed by it.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from interop.errors import ConfigError
from interop.gate.repository.git import GitPath, Repository, parse
from interop.policy.policy import Policy, own_policy, read_policy

__all__ = ["asked_policy", "committed_policy"]


def asked_policy(given: str | None) -> Policy:
    """The policy of a file or of another commit; without one, the one that is found from here.
    Raises ConfigError."""
    if given is None:
        return own_policy()
    spec = parse(given)
    return own_policy(Path(given)) if spec is None else committed_policy(spec)


def committed_policy(spec: GitPath) -> Policy:
    """The policy of a commit of the repository around the working directory.

    Paths in it count from where it is in the working tree. Raises ConfigError for a file that the
    commit does not have, and for what a policy cannot mean.
    """
    if not spec.path:
        raise ConfigError("names no policy", where=str(spec), fix=f"name it: {spec}interop.toml")
    repository = Repository(Path.cwd())
    with TemporaryDirectory(prefix="interop-policy-") as scratch:
        file = repository.fetch(spec, Path(scratch))
        if not file.is_file():
            raise ConfigError("is a folder", where=str(spec), fix="name the policy in it")
        place = repository.root / spec.path.removeprefix("./")
        return read_policy(place, content=file, where=str(spec))
