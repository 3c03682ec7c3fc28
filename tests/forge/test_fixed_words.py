from __future__ import annotations

import pytest
from pydantic import BaseModel, ConfigDict

from forge.config import ConfigurationError
from forge.fixed_words import parse_words, places_of


class Greetings(BaseModel):
    model_config = ConfigDict(extra="forbid")

    version: int
    greetings: dict[str, str]


def test_words_are_what_the_file_says() -> None:
    found = parse_words(Greetings, b"version: 1\ngreetings:\n  en: Hello {name}\n", "words.yaml")
    assert found == Greetings(version=1, greetings={"en": "Hello {name}"})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "words.yaml: file: "),
        (b"[1]", "words.yaml: file: "),
        (b"{", "words.yaml: "),
        (b"\xff", "words.yaml: "),
        (b"{version: one, greetings: {en: 1}}", "words.yaml: version: .*; greetings.en: "),
        (b"{version: 1, greetings: {}, other: 1}", "words.yaml: other: "),
    ],
)
def test_what_is_wrong_is_named(content: bytes, message: str) -> None:
    with pytest.raises(ConfigurationError, match=f"^{message}"):
        parse_words(Greetings, content, "words.yaml")


def test_places() -> None:
    assert places_of("Hello") == set()
    assert places_of("{api}: {title} of {api} {{not this}}") == {"api", "title"}
    with pytest.raises(ValueError, match="Single '}'"):
        places_of("}")
