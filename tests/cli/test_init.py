"""`interop init`: a policy fitted to two models, that parses and says whether it passes on them."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from interop.identity import identify_file
from interop.policy.compose import text
from interop.policy.keys import KEYS
from interop.policy.policy import parse_policy, read_policy
from tests.conftest import Run
from tests.helpers.commands import refused


def test_what_it_writes_passes_on_the_two_models(
    interop: Run, digits: Path, derived: Path, tmp_path: Path
) -> None:
    models = (digits / "shufflenet.pth", derived / "retrained.pth")
    done = interop("init", *models, cwd=tmp_path)
    assert done.returncode == 0 and "it passes" in done.stdout, done.stderr
    assert "10 labels" in done.stderr and "preprocessing known" in done.stderr
    policy = read_policy(tmp_path / "interop.toml")
    assert policy.budgets.keys() == {"size-mb"} and policy.labels is None
    done = interop("gate", models[1], "--baseline", models[0], cwd=tmp_path)
    assert done.returncode == 0


def test_what_it_cannot_know_is_left_to_fill_in_and_said(
    interop: Run, digits: Path, derived: Path, tmp_path: Path
) -> None:
    done = interop("init", digits / "shufflenet.pth", derived / "plain.pth", cwd=tmp_path)
    assert done.returncode == 3 and "inconclusive, labels-unknown" in done.stdout
    written = (tmp_path / "interop.toml").read_text()
    assert '# labels = ["zero", "one"' in written and "is it so?" in written
    (tmp_path / "interop.toml").write_text(
        re.sub(r"^# (labels = \[|preprocess = )", r"\1", written, flags=re.M)
    )
    done = interop(
        "gate", derived / "plain.pth", "--baseline", digits / "shufflenet.pth", cwd=tmp_path
    )
    assert done.returncode == 0, "filled in as it proposes, it passes"


def test_two_that_do_not_fit_are_told(
    interop: Run, digits: Path, derived: Path, tmp_path: Path
) -> None:
    done = interop("init", digits / "shufflenet.pth", derived / "relabelled.pth", cwd=tmp_path)
    assert done.returncode == 1 and "it fails, label-order-changed" in done.stdout


def test_it_overwrites_nothing_unasked(interop: Run, tmp_path: Path) -> None:
    out = tmp_path / "interop.toml"
    out.write_text("intent = 'reload'\n")
    assert "--force" in refused(interop("init", cwd=tmp_path))
    assert out.read_text() == "intent = 'reload'\n"
    done = interop("init", "--force", cwd=tmp_path)
    assert done.returncode == 0 and "[budgets]" in out.read_text()
    assert "no such folder" in refused(interop("init", "--out", "x/interop.toml", cwd=tmp_path))
    assert "no such file" in refused(interop("init", "a.pth", "--out", "b.toml", cwd=tmp_path))
    assert not (tmp_path / "b.toml").exists()


def test_every_key_is_in_it_with_an_example_that_parses(digits: Path) -> None:
    seen = [identify_file(digits / "shufflenet.pth")]
    for given in ([], seen, seen * 2):
        written = text(given)
        live = re.sub(r"^# ([a-z0-9-]+ = .*|\[.*\])$", r"\1", written, flags=re.M)
        document = tomllib.loads(live)
        parse_policy(document, Path("interop.toml"))
        for key in KEYS:
            group, _, own = key.name.rpartition(".")
            assert own in (document[group] if group else document), key.name
        parse_policy(tomllib.loads(written), Path("interop.toml"))
