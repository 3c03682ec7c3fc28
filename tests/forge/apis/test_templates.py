"""The words of rendered documents are data: checked when they are loaded."""

from __future__ import annotations

from importlib import resources

import pytest
import yaml

from forge.apis.templates import FILE, Templates, templates, templates_hash
from forge.config import ConfigurationError
from forge.fixed_words import parse_words

CONTENT = resources.files("forge.apis").joinpath(FILE).read_text(encoding="utf-8")
OPENINGS = yaml.safe_load(CONTENT)["openings"]


def test_the_installed_templates_are_valid() -> None:
    assert templates() == parse_words(Templates, CONTENT.encode(), FILE)
    assert len(templates_hash()) == 32


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 0}, "version"),
        ({"headings": {}}, "headings: .*missing: authentication"),
        ({"openings": {**OPENINGS, "cli": []}}, "openings: .*cli: empty"),
        (
            {"openings": {**OPENINGS, "cli": ["{nonsense}"]}},
            r"cli: '{nonsense}' has the place",
        ),
        ({"openings": {**OPENINGS, "cli": ["{"]}}, "openings: .*cli"),
        ({"unknown": 1}, "unknown: "),
        ({"verbs": 3}, "verbs: "),
    ],
)
def test_what_is_wrong_is_named(change: dict[str, object], message: str) -> None:
    content = yaml.safe_dump({**yaml.safe_load(CONTENT), **change}).encode()
    with pytest.raises(ConfigurationError, match=f"{FILE}: .*{message}"):
        parse_words(Templates, content, FILE)
