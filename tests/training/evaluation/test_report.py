"""The report: everything is said in it, it needs no other file, and nothing that a model wrote is more than text."""

from __future__ import annotations

import html
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from tests.training.evaluation.evaluation_example import BFCL, SUBJECTS, evaluation_example
from training.evaluation.page import MAX_QUOTED_CHARACTERS
from training.evaluation.report import shown, with_interval, write_report

HOSTILE = (
    "</pre></td><script>alert(1)</script><img src=x onerror=alert(2)> `````\n# [x](javascript:a) | \x1b[31m \u202e &lt;"
)
ALLOWED = {
    "html", "head", "meta", "title", "style", "body", "h1", "h2", "h3", "p", "div", "table", "thead", "tbody", "tr",
    "th", "td", "details", "summary", "img", "pre",
}  # fmt: skip


class Elements(HTMLParser):
    """Every element and attribute of a page, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def report_of(evaluation: dict[str, Any], folder: Path) -> tuple[str, str]:
    folder.mkdir(exist_ok=True)
    path = write_report(folder, evaluation)
    assert path == folder / "report.html"
    return path.read_text(), (folder / "report.md").read_text()


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str, Path]:
    """HTML, Markdown and folder of the example."""
    folder = tmp_path_factory.mktemp("honest")
    return (*report_of(evaluation_example(), folder), folder)


def with_strings(value: Any, hostile: str) -> Any:
    """The evaluation with every string that is a value replaced."""
    if isinstance(value, dict):
        return {key: with_strings(inner, hostile) for key, inner in value.items()}
    if isinstance(value, list):
        return [with_strings(inner, hostile) for inner in value]
    return hostile if isinstance(value, str) else value


def test_everything_is_said_in_both_forms(honest: tuple[str, str, Path]) -> None:
    page, markdown, folder = honest
    text = " ".join("".join(Elements(page).text).split())
    plain = re.sub(r"\\(.)", r"\1", markdown)
    for words in (
        "Evaluation of run 0123456789abcdef", "other prompts", "f" * 32, "5" * 32,
        "Promotion refused (1 of 3 checks passed): winogrande accuracy may have fallen",
        "SmolLM2-135M-Instruct", "seed 3", "95%", "torch 2.13.0", "before (base)", "after III", "48.0 % [44.0, 52.0]",
        "1.640 [1.560, 1.720]", "executable, multi-turn", "live_relevance", "decodable", "no Java was found",
        "its servers are not running", "wrong value of city", "get_weather", "+18.0", "[+16.0, +20.0]", "< 0.001",
        "virology", "items_in_all: 14042", "-3.1", "[-5.1, -1.1]", "failed", "unresolved", "812",
    ):  # fmt: skip
        assert words in text, words
        assert words in html.unescape(plain), words
    assert "](accuracy.svg)" in markdown
    assert "](losses.svg)" in markdown
    assert (folder / "accuracy.svg").read_bytes().startswith(b"<?xml")


def test_an_overall_score_stands_above_its_categories_and_says_what_it_leaves_out(
    honest: tuple[str, str, Path],
) -> None:
    page = honest[0]
    section = page.split("<h2>bfcl</h2>")[1].split("<h2>")[0]
    assert section.index("leaves out") < section.index("executable categories") < section.index("simple_python")
    assert all(f"<td>{category}</td><td>decodable</td>" in section for category in BFCL)
    assert all(f"<td>{category}</td><td>accuracy</td>" in section for category in BFCL)
    assert "<details>" not in section
    folded = page.split("<h2>mmlu</h2>")[1].split("<h2>")[0]
    assert "<details><summary>mmlu: 57 figures of 57 categories</summary>" in folded
    assert all(f"<td>{subject}</td>" in folded for subject in SUBJECTS)


def test_equal_evaluations_give_equal_files(honest: tuple[str, str, Path], tmp_path: Path) -> None:
    report_of(evaluation_example(), tmp_path)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"report.html", "report.md", "accuracy.svg", "losses.svg"}
    for name in names:
        assert (tmp_path / name).read_bytes() == (honest[2] / name).read_bytes(), name


def test_the_page_needs_nothing_else_and_runs_nothing(honest: tuple[str, str, Path]) -> None:
    page = honest[0]
    found = Elements(page).elements
    assert {tag for tag, _ in found} <= ALLOWED
    policy = next(attributes["content"] for tag, attributes in found if "http-equiv" in attributes)
    assert policy is not None
    assert "default-src 'none'" in policy
    assert all(
        str(attributes["src"]).startswith("data:image/svg+xml;base64,") for tag, attributes in found if tag == "img"
    )
    assert not any("href" in attributes for _, attributes in found)
    assert "url(" not in page
    assert "@import" not in page


def test_whatever_a_model_or_a_benchmark_writes_is_text(honest: tuple[str, str, Path], tmp_path: Path) -> None:
    evaluation = evaluation_example()
    for answer in evaluation["answers"]:
        answer |= {"answer": HOSTILE * 3, "problem": HOSTILE, "item_id": HOSTILE}
    page, markdown = report_of(evaluation, tmp_path / "answers")
    tags = [tag for tag, _ in Elements(page).elements]
    assert tags == [tag for tag, _ in Elements(honest[0]).elements], "the answers made no element"
    assert "\x1b" not in page + markdown
    assert "\u202e" not in page + markdown
    assert any("<script>alert(1)</script>" in text for text in Elements(page).text), "shown as it was written"

    page, markdown = report_of(with_strings(evaluation_example(), HOSTILE), tmp_path / "all")
    found = Elements(page).elements
    assert {tag for tag, _ in found} <= ALLOWED
    names = {name for _, attributes in found for name in attributes}
    assert names <= {"lang", "charset", "http-equiv", "content", "name", "class", "alt", "src"}
    assert all(
        name != "src" or str(attributes[name]).startswith("data:") for _, attributes in found for name in attributes
    )
    outside, inside = "", False
    for line in markdown.splitlines():
        if line.startswith("``````"):
            inside = not inside
        elif not inside:
            outside += line + "\n"
    assert not inside, "no answer leaves its fence"
    assert "<script" not in outside
    assert re.search(r"(?<!\\)\]\(", re.sub(r"!\[.*\]\(\w+\.svg\)", "", outside)) is None, "no link but to our pictures"


def test_long_answers_and_many_answers_are_cut(tmp_path: Path) -> None:
    evaluation = evaluation_example()
    first = evaluation["answers"][0]
    evaluation["answers"] = [first | {"item_id": f"item{number}", "answer": "x" * 10**6} for number in range(500)]
    page, markdown = report_of(evaluation, tmp_path)
    assert page.count("<pre>") == 3
    assert page.count("x" * MAX_QUOTED_CHARACTERS) == 3
    assert "x" * (MAX_QUOTED_CHARACTERS + 1) not in page
    assert "(1,000,000 characters)" in page
    assert len(markdown) < 100_000


def test_a_promoted_model_and_one_that_nobody_asked_about(tmp_path: Path) -> None:
    evaluation = evaluation_example()
    evaluation["promotion"] |= {"promoted": True, "reason": "every check passed."}
    assert '<p class="good">The model may be promoted (1 of 3 checks passed).</p>' in report_of(evaluation, tmp_path)[0]
    evaluation |= {"promotion": None, "differences": [], "answers": [], "curve": None, "run_id": ""}
    page, _ = report_of(evaluation, tmp_path)
    assert "romot" not in page
    assert "<h2>Differences</h2>" not in page
    assert "<title>Evaluation</title>" in page


@pytest.mark.parametrize(
    ("value", "metric", "text"),
    [
        (0.4815, "accuracy", "48.1"),
        (1.0, "decodable", "100.0"),
        (0.65, "accuracy_norm", "65.0"),
        (1.04249, "nats_per_token", "1.042"),
        (1234.5, "steps", "1,234"),
        (float("nan"), "accuracy", "-"),
        (None, "bits_per_byte", "-"),
    ],
)
def test_values_are_shown_in_their_unit(value: float | None, metric: str, text: str) -> None:
    assert shown(value, metric) == text


def test_an_interval_has_its_unit() -> None:
    figure = {"value": 0.5, "low": 0.25, "high": 0.75}
    assert with_interval(figure, "accuracy") == "50.0 % [25.0, 75.0]"
    assert with_interval(figure, "bits_per_byte") == "0.500 [0.250, 0.750]"
    assert with_interval(figure | {"low": None}, "accuracy") == "50.0 %"
    assert with_interval(figure | {"value": None}, "accuracy") == "-"
