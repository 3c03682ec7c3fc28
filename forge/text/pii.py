"""Personal data and secrets in a text, as character spans.

Patterns are narrow on purpose: documentation is full of example addresses, versions and keys, and a false alarm costs
a document. Placeholders that a standard reserves (RFC 2606 domains, RFC 5737 addresses, 555-01xx numbers) or that a
vendor documents (``AKIAIOSFODNN7EXAMPLE``, Stripe's test cards) are not counted. Names and postal addresses are not
looked for.
"""

from __future__ import annotations

import ipaddress
import math
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Span:
    """Characters ``start`` (included) to ``end`` (excluded) of the text hold data of this kind."""

    start: int
    end: int
    kind: str


_EMAIL = re.compile(
    r"(?<![\w.+%-])[A-Za-z0-9](?:[\w.+%-]{0,62}[\w])?@((?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.){1,6}[A-Za-z]{2,24})(?![\w-])"
)
_PHONE = re.compile(
    r"(?<![\w.+/=-])(?:\+\d{1,3}[ .-]?(?:\(\d{1,4}\)[ .-]?)?\d{2,7}(?:[ .-]\d{2,7}){1,4}|\+\d{10,14}|"
    r"\(\d{3}\) ?\d{3}-\d{4}|\d{3}-\d{3}-\d{4})(?![\w/-]|\.\d)"
)
_IP = re.compile(r"(?<![\w.-])(?:\d{1,3}\.){3}\d{1,3}(?![\w-]|\.\d)")
_CARD = re.compile(r"(?<![\w.-])(?:(?:\d{4}[ -]){3}\d{1,7}|\d{4}[ -]\d{6}[ -]\d{5}|\d{13,19})(?![\w.-])")
_SSN = re.compile(r"(?<![\w.-])(\d{3})-(\d{2})-(\d{4})(?![\w-]|\.\d)")
_NUMBER_LIKE = re.compile(r"\d[\d .()-]{5,}\d")  # what every number below contains

_RESERVED_DOMAIN = re.compile(
    r"(?:^|\.)(?:example(?:\.[a-z]{2,3}){0,2}|test|invalid|localhost|local|internal|domain\.(?:com|tld)|"
    r"(?:my|your|some)(?:-?(?:company|domain|host|email|org|site|name|server))\.[a-z]{2,4}|foo\.(?:com|org)|bar\.(?:com|org)|email\.com|"
    r"acme\.(?:com|org)|anycompany\.com|contoso\.com|company\.com|noreply\.github\.com|iam\.gserviceaccount\.com)$",
    re.IGNORECASE,
)
_ROLE_NAMES = frozenset(
    {"git", "user", "username", "noreply", "no-reply", "root", "admin", "name", "you", "me", "foo", "someone"}
)
_FILE_SUFFIXES = frozenset({"py", "js", "json", "png", "html", "md", "txt", "xml", "yaml", "whl", "so", "jpg", "svg"})
_WELL_KNOWN_IPS = frozenset({"8.8.8.8", "8.8.4.4", "1.1.1.1", "1.0.0.1", "9.9.9.9", "1.2.3.4", "4.3.2.1", "5.6.7.8"})
_TEST_CARDS = frozenset(
    re.findall(
        r"\d+",
        "4111111111111111 4242424242424242 4012888888881881 4000056655665556 4222222222222 5555555555554444 "
        "5105105105105100 5200828282828210 2223003122003222 378282246310005 371449635398431 378734493671000 "
        "6011111111111117 6011000990139424 30569309025904 38520000023237 3530111333300000 3566002020360505 ",
    )
)
_CARD_PREFIX = re.compile(r"4|5[1-5]|2(?:22[1-9]|2[3-9]|[3-6]|7[01]|720)|3[47]|6(?:011|5|4[4-9])|35|3[0689]")
_CARD_LENGTHS = frozenset({13, 14, 15, 16, 19})


def pii_spans(text: str) -> list[Span]:
    """Spans of e-mail addresses, phone numbers, public IP addresses, payment cards and US social security numbers, in
    the order of the text, not overlapping (an earlier kind in this list wins)."""
    spans: list[Span] = []
    if "@" in text:
        spans += _spans(_EMAIL, text, "email", _is_personal_email)
    if _NUMBER_LIKE.search(text) is not None:
        spans += _spans(_CARD, text, "payment_card", _is_card)
        spans += _spans(_SSN, text, "social_security_number", _is_social_security_number)
        spans += _spans(_IP, text, "ip_address", _is_public_ip)
        if "-" in text or "+" in text:
            spans += _spans(_PHONE, text, "phone", _is_phone)
    return _without_overlaps(spans)


def _spans(pattern: re.Pattern[str], text: str, kind: str, is_real: Callable[[re.Match[str]], bool]) -> Iterator[Span]:
    return (Span(match.start(), match.end(), kind) for match in pattern.finditer(text) if is_real(match))


def _without_overlaps(spans: list[Span]) -> list[Span]:
    kept: list[Span] = []
    for span in spans:
        if all(span.end <= other.start or span.start >= other.end for other in kept):
            kept.append(span)
    return sorted(kept, key=lambda span: span.start)


def _is_personal_email(match: re.Match[str]) -> bool:
    address = match[0].lower()
    name, _, domain = address.rpartition("@")
    if _RESERVED_DOMAIN.search(domain) or name in _ROLE_NAMES or domain.rpartition(".")[2] in _FILE_SUFFIXES:
        return False
    return "example" not in address


def _is_phone(match: re.Match[str]) -> bool:
    digits = re.sub(r"\D", "", match[0])
    if not 10 <= len(digits) <= 15 or len(set(digits)) < 4 or digits in "012345678901234567890":
        return False
    national = digits[-10:]
    if national[3:6] == "555" or national[:3] == "555" or digits.startswith("21474836"):
        return False  # fictional exchanges; the limits of a 32-bit integer
    return "123456" not in digits and not (match[0][0].isdigit() and national[0] in "01")


def _is_public_ip(match: re.Match[str]) -> bool:
    before = match.string[max(0, match.start() - 12) : match.start()].lower()
    if match[0] in _WELL_KNOWN_IPS or re.search(r"(?:version|release|v|==|>=|<=|~=)[\s:=\"']*$", before):
        return False
    try:
        address = ipaddress.IPv4Address(match[0])
    except ValueError:
        return False
    if max(address.packed) <= 20 or address.packed[3] in {0, 255}:
        return False  # section numbers and versions; networks and broadcasts
    return address.is_global and not address.is_multicast


def _is_card(match: re.Match[str]) -> bool:
    digits = re.sub(r"\D", "", match[0])
    if len(digits) not in _CARD_LENGTHS or digits in _TEST_CARDS or len(set(digits)) < 5:
        return False
    if digits == match[0] and len(digits) != 16 and not (len(digits) == 15 and digits[:2] in {"34", "37"}):
        return False  # unformatted: time stamps in milliseconds, seeds and 64-bit ids
    return _CARD_PREFIX.match(digits) is not None and passes_luhn(digits)


def passes_luhn(digits: str) -> bool:
    """Luhn's check (ISO/IEC 7812-1 annex B) of a string of decimal digits."""
    total = 0
    for index, digit in enumerate(reversed(digits)):
        value = int(digit) * (2 if index % 2 else 1)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


def _is_social_security_number(match: re.Match[str]) -> bool:
    area, group, serial = match[1], match[2], match[3]
    if match[0] in {"123-45-6789", "078-05-1120", "111-11-1111"} or area in {"000", "666"} or area[0] == "9":
        return False
    return group != "00" and serial != "0000"


@dataclass(frozen=True, slots=True)
class _SecretKind:
    kind: str
    hint: str  # a substring that every match contains: tested first, because it is far faster than the pattern
    pattern: re.Pattern[str]
    min_entropy_bits: float = 3.0


_SECRETS = (
    _SecretKind("aws_access_key", "IA", re.compile(r"(?<![A-Za-z0-9])((?:AKIA|ASIA)[A-Z2-7]{16})(?![A-Za-z0-9])")),
    _SecretKind(
        "aws_secret_key", "ecret", re.compile(
            r"(?i:aws_?secret_?(?:access_?)?key|secret_?access_?key)[\"']?\s*[:=]\s*[\"']?([A-Za-z0-9/+]{40})(?![A-Za-z0-9/+=])"
        ), 4.0,
    ),
    _SecretKind(
        "private_key", "PRIVATE KEY", re.compile(
            r"-----BEGIN (?:[A-Z0-9]+ ){0,2}PRIVATE KEY(?: BLOCK)?-----\s+((?:[A-Za-z0-9+/=]{32,}\s+){2,})"
        ), 4.0,
    ),
    _SecretKind("github_token", "gh", re.compile(r"(?<!\w)(gh[pousr]_[A-Za-z0-9]{36,255})(?!\w)")),
    _SecretKind("github_token", "github_pat_", re.compile(r"(?<!\w)(github_pat_[A-Za-z0-9_]{60,255})(?!\w)")),
    _SecretKind("gitlab_token", "glpat-", re.compile(r"(?<!\w)(glpat-[A-Za-z0-9_-]{20,64})(?!\w)")),
    _SecretKind("slack_token", "xox", re.compile(r"(?<!\w)(xox[abeoprs]-\d{8,}-[A-Za-z0-9-]{16,200})")),
    _SecretKind("google_api_key", "AIza", re.compile(r"(?<!\w)(AIza[A-Za-z0-9_-]{35})(?![\w-])")),
    _SecretKind("stripe_key", "_live_", re.compile(r"(?<!\w)([rs]k_live_[A-Za-z0-9]{20,247})(?!\w)")),
    _SecretKind(
        "openai_key", "sk-", re.compile(
            r"(?<![\w-])(sk-(?:proj-|ant-[a-z0-9]+-)?[A-Za-z0-9_-]{32,200})(?![\w-])"
        ), 3.5,
    ),
    _SecretKind("hugging_face_token", "hf_", re.compile(r"(?<!\w)(hf_[A-Za-z]{34})(?!\w)")),
    _SecretKind("npm_token", "npm_", re.compile(r"(?<!\w)(npm_[A-Za-z0-9]{36})(?!\w)")),
    _SecretKind("pypi_token", "pypi-AgEI", re.compile(r"(?<!\w)(pypi-AgEI[A-Za-z0-9_-]{50,512})")),
    _SecretKind(
        "json_web_token", "eyJ", re.compile(
            r"(?<![\w.-])(eyJ[A-Za-z0-9_-]{10,2000}\.eyJ[A-Za-z0-9_-]{10,4000}\.[A-Za-z0-9_-]{20,2000})(?![\w-])"
        ), 4.0,
    ),
)  # fmt: skip
_PLACEHOLDER = re.compile(
    r"example|sample|dummy|placeholder|redacted|your[-_]?|xxxx|0{6}|1{6}|a{6}|1234567|abcdefg|fake|test[-_]?(?:key|token)",
    re.IGNORECASE,
)
_DOCUMENTED_TOKEN_PREFIX = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkw"  # noqa: S105  jwt.io's example


def secret_spans(text: str) -> list[Span]:
    """Spans of credentials: cloud keys, private keys, access tokens. Documented example keys are not counted."""
    spans = [
        Span(match.start(1), match.end(1), secret.kind)
        for secret in _SECRETS
        if secret.hint in text
        for match in secret.pattern.finditer(text)
        if _is_secret(match[1], secret.min_entropy_bits)
    ]
    return _without_overlaps(spans)


def _is_secret(value: str, min_entropy_bits: float) -> bool:
    if _PLACEHOLDER.search(value) or value.startswith(_DOCUMENTED_TOKEN_PREFIX):
        return False
    counts = Counter(value)
    entropy_bits = -sum(n / len(value) * math.log2(n / len(value)) for n in counts.values())
    return entropy_bits >= min_entropy_bits
