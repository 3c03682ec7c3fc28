from __future__ import annotations

import random
import string
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forge.text.pii import passes_luhn, pii_spans, secret_spans


def kinds(text: str) -> list[str]:
    return [span.kind for span in pii_spans(text)]


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("write to jane.miller@physics-lab.org today", "email"),
        ("call +49 30 901820 4417 after noon", "phone"),
        ("call (617) 253-1000 now", "phone"),
        ("or 617-253-1000.", "phone"),
        ("from 81.169.145.78 we saw", "ip_address"),
        ("card 4929 1234 5678 9019 expires", "payment_card"),
        ("number 536-22-8726 of the form", "social_security_number"),
    ],
)
def test_personal_data_is_found(text: str, kind: str) -> None:
    if kind == "payment_card":
        digits = "492912345678901"
        check = next(str(one) for one in range(10) if passes_luhn(digits + str(one)))
        full = digits + check
        text = f"card {full[:4]} {full[4:8]} {full[8:12]} {full[12:]} expires"
    assert kinds(text) == [kind]
    (span,) = pii_spans(text)
    assert text[span.start : span.end].strip() == text[span.start : span.end]


@pytest.mark.parametrize(
    "text",
    [
        "user@example.com, a@b.example, root@localhost, git@github.com:org/repo.git, noreply@service.org",
        "AROA123456789EXAMPLE:me@my-company.com",
        "192.168.0.1 10.1.2.3 127.0.0.1 203.0.113.9 198.51.100.7 0.0.0.0 255.255.255.0 8.8.8.8",
        "version 81.169.145.78 and section 3.1.4.1 and 11.2.0.4",
        "(555) 123-4567, 212-555-0199, 123-456-7890, 2024-11-21 10:00, 000-00-0000",
        "4111 1111 1111 1111 and 1700000000000 and 123456789012",
        "+2147483647 -2147483648",
        "arn:aws:iam::123456789012:user/name",
        "icon@2x.png and @decorator",
    ],
)
def test_placeholders_are_not_counted(text: str) -> None:
    assert kinds(text) == []


def test_luhn() -> None:
    assert passes_luhn("4111111111111111")
    assert not passes_luhn("4111111111111112")


def fresh(alphabet: str, length: int) -> str:
    return "".join(random.Random(5).choices(alphabet, k=length))


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("key AKIA" + fresh(string.ascii_uppercase + "234567", 16), "aws_access_key"),
        ("aws_secret_access_key = " + fresh(string.ascii_letters + string.digits, 40), "aws_secret_key"),
        ("token ghp_" + fresh(string.ascii_letters + string.digits, 36), "github_token"),
        ("AIza" + fresh(string.ascii_letters + string.digits, 35), "google_api_key"),
        ("sk_live_" + fresh(string.ascii_letters + string.digits, 24), "stripe_key"),
        (
            "-----BEGIN RSA PRIVATE KEY-----\n" + (fresh(string.ascii_letters + string.digits, 64) + "\n") * 3,
            "private_key",
        ),
    ],
)
def test_secrets_are_found(text: str, kind: str) -> None:
    assert [span.kind for span in secret_spans(text)] == [kind]


@pytest.mark.parametrize(
    "text",
    [
        "AKIAIOSFODNN7EXAMPLE and wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        "aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        "-----BEGIN PRIVATE KEY-----\n...\n-----END PRIVATE KEY-----",
        "ghp_" + "x" * 36,
        "sk_live_your_key_here, sk_test_4eC39HqLyjWDarjtT1zdp7dc",
        "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIiwibmFtZSI6IkpvaG4ifQ.SflKxwRJSMeKKF2QT4fwpM",
    ],
)
def test_documented_examples_are_no_secrets(text: str) -> None:
    assert secret_spans(text) == []


@given(st.text(st.sampled_from("0123456789 -.()+@abc\n"), max_size=200))
def test_spans_are_ordered_disjoint_and_inside(text: str) -> None:
    end = 0
    for span in pii_spans(text):
        assert end <= span.start < span.end <= len(text)
        end = span.end


@pytest.mark.parametrize(
    "text", ["a" * 50_000 + "@", "1" * 50_000, "1-" * 25_000, "eyJ" * 15_000, "a.@" * 15_000, "+1 " * 15_000]
)
def test_hostile_text_takes_no_time(text: str) -> None:
    started = time.perf_counter()
    pii_spans(text)
    secret_spans(text)
    assert time.perf_counter() - started < 5
