"""The bar of D6: each profile keeps at least 95 % of clean documents of its kind and drops at least 90 % of junk."""

from __future__ import annotations

import base64
import gzip
import hashlib
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import orjson
import pytest

from forge.config import ConfigurationError, QualitySettings, load_settings
from forge.text.quality import PROFILES, quality_failures, quality_signals
from forge.text.tokens import TokenCounter, reference_tokenizer

SETTINGS = QualitySettings()


@pytest.fixture(scope="module")
def counter() -> TokenCounter:
    try:
        return TokenCounter(reference_tokenizer(load_settings("demo", environment={})))
    except ConfigurationError as error:
        pytest.skip(str(error))


def failures(counter: TokenCounter, text: str, kind: str) -> list[str]:
    return quality_failures(quality_signals(text, counter.count([text])[0]), kind, SETTINGS)


def botocore_documents(limit: int) -> Iterator[str]:
    botocore = pytest.importorskip("botocore")
    for service in ("sqs", "sns", "kms", "logs", "ecr"):
        for file in sorted((Path(botocore.__file__).parent / "data" / service).glob("*/service-2.json.gz")):
            model = orjson.loads(gzip.decompress(file.read_bytes()))
            for name, operation in sorted(model["operations"].items())[: limit // 5]:
                shape = model["shapes"].get(operation.get("input", {}).get("shape", ""), {})
                lines = [f"# {name}", "", strip(operation.get("documentation", "")), "", "## Parameters", ""]
                for parameter, member in shape.get("members", {}).items():
                    kind = model["shapes"][member["shape"]]["type"]
                    lines.append(f"- `{parameter}` ({kind}): {strip(member.get('documentation', ''))}")
                yield "\n".join(lines)


def strip(html: str) -> str:
    import re

    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html)).strip()


def trajectories(limit: int) -> Iterator[str]:
    for number in range(limit):
        hosts = [f"host-{(number * 7 + index) % 97}" for index in range(4)]
        yield "\n".join(
            [
                f"Task: find which of {len(hosts)} machines runs release 4.{number} and restart its service.",
                *(
                    f'Call list_processes({{"host": "{host}"}})\nObservation: [{{"pid": {number * 31 + rank}, '
                    f'"name": "postgres", "release": "4.{number + rank}"}}]'
                    for rank, host in enumerate(hosts)
                ),
                f'Call restart_service({{"host": "{hosts[0]}", "service": "postgres"}})',
                "Observation: the service was restarted.",
                f"Answer: {hosts[0]} runs the release, and its service was restarted.",
            ]
        )


def test_clean_api_documentation_is_kept(counter: TokenCounter) -> None:
    documents = list(botocore_documents(200))
    kept = sum(not failures(counter, document, "api_doc") for document in documents)
    assert len(documents) >= 100
    assert kept / len(documents) >= 0.95


def test_clean_trajectories_are_kept(counter: TokenCounter) -> None:
    documents = list(trajectories(200))
    kept = sum(not failures(counter, document, "trajectory") for document in documents)
    assert kept / len(documents) >= 0.95


def random_letters(draw: random.Random) -> str:
    return " ".join("".join(draw.choices("bcdfghjklmnpqrstvwxz", k=draw.randint(5, 14))) for _ in range(120))


def encoded_bytes(draw: random.Random) -> str:
    return base64.encodebytes(draw.randbytes(900)).decode()


def hexadecimal(draw: random.Random) -> str:
    return "\n".join(hashlib.sha256(draw.randbytes(8)).hexdigest() for _ in range(30))


def advertising(draw: random.Random) -> str:
    return f"Buy now! Free shipping on {draw.randint(10, 99)} items. Click here. Subscribe to our newsletter. " * 12


def repeated_line(draw: random.Random) -> str:
    return f"This line {draw.randint(0, 99)} says the same thing again and again and again.\n" * 40


def repeated_word(draw: random.Random) -> str:
    return f"{draw.choice(['casino', 'lottery', 'watches'])} " * 200


def error_page(draw: random.Random) -> str:
    number = draw.randint(0, 999)
    return f"404 - Page not found\nThe page you requested (/{number}) is gone.\nAccess denied. Enable JavaScript."


def placeholder(draw: random.Random) -> str:
    return (
        f"operation{draw.randint(0, 99)}\n\nNo description available.\n\nDescription not available.\n"
        + "TODO: TBD\n" * 3
    )


def mojibake(draw: random.Random) -> str:
    return "".join(draw.choice(["Ã©t", "â€œit", "Ã¼ber", "\ufffd\ufffd", "the "]) for _ in range(150))


def menu(draw: random.Random) -> str:
    words = [
        "Home",
        "About us",
        "Contact",
        "Products",
        "Careers",
        "Press",
        "Cookie policy",
        "Privacy policy",
        "Log in to continue",
    ]
    return "\n".join(draw.choice(words) for _ in range(80))


def latin_filler(_: random.Random) -> str:
    return "Lorem ipsum dolor sit amet, consectetur adipiscing elit, sed do eiusmod tempor incididunt ut labore. " * 6


def numbers(draw: random.Random) -> str:
    return "\n".join(" ".join(f"{draw.random():.6f}" for _ in range(8)) for _ in range(40))


JUNK: tuple[Callable[[random.Random], str], ...] = (
    random_letters, encoded_bytes, hexadecimal, advertising, repeated_line, repeated_word, error_page, placeholder,
    mojibake, menu, latin_filler, numbers,
)  # fmt: skip


@pytest.mark.parametrize("kind", ["api_doc", "trajectory", "web", "text", "code"])
def test_planted_junk_is_dropped(counter: TokenCounter, kind: str) -> None:
    draw = random.Random(7)
    planted = [(make.__name__, make(draw)) for make in JUNK for _ in range(10)]
    passed = [name for name, text in planted if not failures(counter, text, kind)]
    assert len(passed) / len(planted) <= 0.1, sorted(set(passed))


def test_signals_of_a_small_text() -> None:
    signals = quality_signals("one two\none two\n12", 6)
    assert signals["words"] == 5
    assert signals["lines"] == 3
    assert signals["digits_share"] == pytest.approx(2 / 14)
    assert signals["repeated_line_share"] == pytest.approx(7 / 16)
    assert signals["top_word_share"] == pytest.approx(2 / 5)
    assert signals["characters_per_token"] == pytest.approx((18 - 2) / (6 - 2))


def test_the_empty_text_has_finite_signals_and_fails_everywhere() -> None:
    for kind in PROFILES:
        assert "too_few_words" in quality_failures(quality_signals("", 0), kind, SETTINGS)


def test_length_limits_come_from_the_settings() -> None:
    tight = QualitySettings(max_characters=100)
    text = "A sentence of several words stands here. " * 10
    assert "too_long" in quality_failures(quality_signals(text, 90), "text", tight)
    assert "too_short" in quality_failures(quality_signals("Short text here", 3), "text", SETTINGS)
