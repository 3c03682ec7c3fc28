"""Quality signals of a document and the profile of rules for its kind (D6).

Web heuristics judge prose: line punctuation, stop words, alphabetic characters. On API documentation they keep 0.9 %
and on trajectories none, so each kind has its own profile here. Signals are numbers stored beside the document; rules
only compare them, so a changed threshold costs no second pass over the text.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from forge.config import QualitySettings

MAX_WORDS = 20_000
"""Signals of longer texts are measured on their first words: cost stays bounded."""

_WORD = re.compile(r"\w+")
_LETTERS = bytes(range(65, 91)) + bytes(range(97, 123)) + bytes(range(128, 256))  # any non-ASCII byte counts as letter
_DIGITS = b"0123456789"
_SPACE = b" \t\r\n\f\v"
_CONTROL = re.compile("[\x00-\x08\x0e-\x1f\x7f\ufffd]|\u00c3[\u0080-\u00bf]|\u00e2\u20ac")  # and UTF-8 read as Latin-1
_FUNCTION_WORDS = frozenset(
    re.findall(
        r"\w+",
        "the of and to in a is that for it as was with be by on not he i this are or his from at which but "
        "have an had they you were their one all we can her has there been if more when will would who so no",
    )
)
_BOILERPLATE = re.compile(
    r"lorem ipsum|dolor sit amet|enable javascript|javascript is (?:disabled|required)|accept (?:all )?cookies|"
    r"we use cookies|cookie policy|privacy policy|terms of (?:use|service)|all rights reserved|subscribe to our|"
    r"sign up for our newsletter|click here|buy now|add to cart|log ?in to continue|access denied|"
    r"404 (?:-|:)? ?(?:page )?not found|page not found|page you (?:are looking for|requested)|are you a robot|"
    r"verify you are human|under construction|coming soon|no description (?:available|provided)|"
    r"description (?:is )?not available|(?:documentation|description):? (?:tbd|todo)\b|limited time offer|"
    r"free shipping|work from home|online casino|skip to (?:main )?content"
)  # matched on lower-cased text: ignoring case costs seven times as much


def quality_signals(text: str, tokens: int) -> dict[str, float]:
    """Signals of a text from one pass over its words and one over its lines. Shares lie in [0, 1].

    ``tokens`` is its count by the reference tokenizer: random letters, base64 and unknown languages need many
    tokens for few characters, which no list of words would tell (digits, one token each, are left out). Repetition
    signals follow Gopher (Rae et al. 2021, table A1): share of characters in repeated lines, share of repeated word
    5-grams.
    """
    folded_text = text.lower()
    words = _WORD.findall(folded_text)
    if len(words) > MAX_WORDS:
        del words[MAX_WORDS:]
    count = len(words)
    data = text.encode("utf-8", "replace")
    dense_bytes = len(data) - _count(data, _SPACE)
    lines = [line for line in (raw.strip() for raw in text.split("\n")) if line]
    line_counts = Counter(lines)
    line_characters = sum(map(len, lines))
    digits = _count(data, _DIGITS)
    repeated = sum(len(line) * (times - 1) for line, times in line_counts.items() if times > 1)
    grams = set(zip(words, words[1:], words[2:], words[3:], words[4:], strict=False))
    possible = max(0, count - 4)
    frequencies = Counter(words)
    boilerplate = sum(1 for _ in _BOILERPLATE.finditer(folded_text))
    return {
        "characters": float(len(text)),
        "words": float(count),
        "lines": float(len(lines)),
        "characters_per_token": (len(text) - digits) / max(1, tokens - digits),
        "characters_per_word": sum(map(len, words)) / max(1, count),
        "letters_share": _count(data, _LETTERS) / max(1, dense_bytes),
        "digits_share": digits / max(1, dense_bytes),
        "repeated_line_share": repeated / max(1, line_characters),
        "repeated_five_gram_share": 1.0 - len(grams) / possible if possible else 0.0,
        "top_word_share": max(frequencies.values()) / count if count else 1.0,
        "distinct_word_share": len(frequencies) / max(1, count),
        "function_word_share": sum(frequencies[word] for word in _FUNCTION_WORDS) / max(1, count),
        "short_line_share": sum(1 for line in lines if len(line) < 30) / max(1, len(lines)),
        "longest_line_characters": float(max(map(len, lines), default=0)),
        "longest_word_characters": float(max(map(len, words), default=0)),
        "control_share": sum(1 for _ in _CONTROL.finditer(text)) / max(1, len(text)),
        "boilerplate_per_100_words": 100.0 * boilerplate / max(1, count),
    }


def _count(data: bytes, alphabet: bytes) -> int:
    return len(data) - len(data.translate(None, alphabet))


@dataclass(frozen=True, slots=True)
class Rule:
    """``signal`` must lie in [minimum, maximum]. The rule only speaks for texts of at least ``from_words`` words."""

    name: str
    signal: str
    minimum: float = float("-inf")
    maximum: float = float("inf")
    from_words: int = 0

    def fails(self, signals: Mapping[str, float]) -> bool:
        if signals["words"] < self.from_words:
            return False
        return not self.minimum <= signals[self.signal] <= self.maximum


_ANY = (
    Rule("broken_encoding", "control_share", maximum=0.002),
    Rule("one_word_repeated", "top_word_share", maximum=0.5, from_words=20),
)

PROFILES: Mapping[str, tuple[Rule, ...]] = {
    # Signatures, tables of parameters and JSON: punctuation, short lines and repetition are its nature.
    "api_doc": (
        *_ANY,
        Rule("not_language", "characters_per_token", minimum=2.1, from_words=5),
        Rule("too_few_words", "words", minimum=8),
        Rule("too_few_letters", "letters_share", minimum=0.45),
        Rule("too_many_digits", "digits_share", maximum=0.35),
        Rule("repeated_text", "repeated_five_gram_share", maximum=0.8, from_words=60),
        Rule("repeated_lines", "repeated_line_share", maximum=0.7, from_words=60),
        Rule("boilerplate", "boilerplate_per_100_words", maximum=4.0),
        Rule("unbroken_string", "longest_word_characters", maximum=400),
    ),
    # Observations repeat what was asked and hold identifiers and numbers.
    "trajectory": (
        *_ANY,
        Rule("not_language", "characters_per_token", minimum=1.75, from_words=5),
        Rule("too_few_words", "words", minimum=10),
        Rule("too_few_letters", "letters_share", minimum=0.15),
        Rule("too_many_digits", "digits_share", maximum=0.75),
        Rule("repeated_text", "repeated_five_gram_share", maximum=0.93, from_words=100),
        Rule("repeated_lines", "repeated_line_share", maximum=0.85, from_words=100),
        Rule("boilerplate", "boilerplate_per_100_words", maximum=4.0),
    ),
    "code": (
        *_ANY,
        Rule("not_language", "characters_per_token", minimum=2.1, from_words=5),
        Rule("too_few_words", "words", minimum=15),
        Rule("too_few_letters", "letters_share", minimum=0.4),
        Rule("data_table", "digits_share", maximum=0.3),
        Rule("minified", "longest_line_characters", maximum=2_000),
        Rule("unbroken_string", "longest_word_characters", maximum=500),
        Rule("repeated_text", "repeated_five_gram_share", maximum=0.75, from_words=100),
        Rule("repeated_lines", "repeated_line_share", maximum=0.6, from_words=100),
    ),
    "text": (
        *_ANY,
        Rule("not_language", "characters_per_token", minimum=2.4, from_words=5),
        Rule("too_few_words", "words", minimum=50),
        Rule("too_few_letters", "letters_share", minimum=0.7),
        Rule("not_prose", "function_word_share", minimum=0.08),
        Rule("list_of_short_lines", "short_line_share", maximum=0.9, from_words=100),
        Rule("repeated_text", "repeated_five_gram_share", maximum=0.35, from_words=60),
        Rule("repeated_lines", "repeated_line_share", maximum=0.3),
        Rule("word_length", "characters_per_word", minimum=2.5, maximum=9.0),
        Rule("boilerplate", "boilerplate_per_100_words", maximum=1.0),
    ),
    # Documentation pages: prose between code and tables; menus and notices are what must go.
    "web": (
        *_ANY,
        Rule("not_language", "characters_per_token", minimum=2.4, from_words=5),
        Rule("too_few_words", "words", minimum=40),
        Rule("too_few_letters", "letters_share", minimum=0.5),
        Rule("not_prose", "function_word_share", minimum=0.04),
        Rule("list_of_short_lines", "short_line_share", maximum=0.95, from_words=60),
        Rule("repeated_text", "repeated_five_gram_share", maximum=0.6, from_words=60),
        Rule("repeated_lines", "repeated_line_share", maximum=0.5),
        Rule("boilerplate", "boilerplate_per_100_words", maximum=2.0),
    ),
}
"""The rules of each kind, in the order in which their names are reported."""


def quality_failures(signals: Mapping[str, float], kind: str, settings: QualitySettings) -> list[str]:
    """Names of the rules of the kind's profile that a document fails; empty for one that passes. Raises KeyError for an
    unknown kind."""
    failures = [rule.name for rule in PROFILES[kind] if rule.fails(signals)]
    if signals["characters"] < settings.min_characters.get(kind, 0):
        failures.append("too_short")
    if signals["characters"] > settings.max_characters:
        failures.append("too_long")
    return failures
