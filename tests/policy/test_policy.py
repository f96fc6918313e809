"""interop.toml: what it may say; all else is an error with the nearest right word."""

from __future__ import annotations

from pathlib import Path

import pytest

from interop.errors import ConfigError
from interop.facts import Intent, Level
from interop.policy.policy import Policy, read_policy


def read(tmp_path: Path, text: str) -> Policy:
    file = tmp_path / "interop.toml"
    file.write_text(text)
    return read_policy(file)


def test_the_defaults_ask_whether_it_can_replace(tmp_path: Path) -> None:
    policy = read(tmp_path, "")
    assert (policy.intent, policy.values, policy.export, policy.bench) == (
        Intent.REPLACE,
        True,
        False,
        False,
    )


def test_all_that_a_policy_can_say(tmp_path: Path) -> None:
    policy = read(
        tmp_path,
        """
        intent = "reload"
        values = false
        [rules]
        key-unexpected = "warn"
        [budgets]
        accuracy-drop = 1
        size-mb = 50.5
        [evidence]
        export = true
        data = "heldout"
        device = "cuda"
        [facts]
        labels = ["cat", "dog"]
        preprocess = {resize = [8, 8], mean = [0, 0, 0], std = [1, 1, 1]}
        """,
    )
    assert policy.intent is Intent.RELOAD and not policy.values
    assert policy.levels == {"key-unexpected": Level.WARN}
    assert policy.budgets == {"accuracy-drop": 1.0, "size-mb": 50.5}
    assert policy.export and policy.bench, "a budget on accuracy is a demand for bench"
    assert policy.data == tmp_path / "heldout" and policy.device == "cuda"
    assert policy.labels is not None and policy.labels.names == ("cat", "dog")
    assert policy.preprocessing is not None and policy.preprocessing.size == (8, 8)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('intents = "replace"', "unknown key intents; did you mean intent?"),
        ("[budgets]\naccuracy_drop = 1", "did you mean budgets.accuracy-drop?"),
        ('[rules]\nkey-mising = "off"', "did you mean rules.key-missing?"),
        ('[rules]\nkey-missing = "fatal"', "rules.key-missing is 'fatal'; it takes one of error"),
        ("[budgets]\nsize-mb = true", "budgets.size-mb is True"),
        ("[budgets]\nsize-mb = -1", "budgets.size-mb is -1"),
        ("[budgets]\naccuracy-drop = nan", "budgets.accuracy-drop is nan"),
        ("[budgets]\nnegative-flips = inf", "budgets.negative-flips is inf"),
        ("[budgets]\nagreement = 101", "budgets.agreement is 101"),
        ('[evidence]\nexport = "yes"', "evidence.export is 'yes'; it takes true or false"),
        ("[evidence]\ndevice = 'tpu'", "evidence.device is 'tpu'"),
        ("[facts]\nlabels = 'cat'", "facts.labels is 'cat'; it takes a list of names"),
        ("[facts]\narch = 3", "facts.arch is 3; it takes the name of an architecture"),
        ("[facts]\npreprocess = {}", "has no resize and no mean and no std"),
        ("rules = 3", "rules is 3; it takes a table"),
        ("intent = ", "is not TOML"),
        ("intent = " + "[" * 100_000, "is not TOML"),
        ("intent = " + "1" * 10_000, "is not TOML"),
        (f"[facts.preprocess]\nkind = 'text'\ntokenizer = 'a/{'x' * 300}'", "cannot be read"),
        (
            "[facts.preprocess]\nkind = 'text'\ntokenizer = 'a/\\u0000'".replace("'", '"'),
            "cannot be read",
        ),
    ],
)
def test_what_it_cannot_mean_ends_in_one_line(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, text)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_policy_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        read_policy(tmp_path / "nowhere.toml")


def test_a_policy_may_name_the_architecture_that_the_weights_leave_open(tmp_path: Path) -> None:
    policy = tmp_path / "interop.toml"
    policy.write_text('[facts]\narch = "torchvision/resnet18"\n')
    assert read_policy(policy).arch == "torchvision/resnet18"
