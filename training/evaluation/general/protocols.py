"""Items as lm-eval 0.4.13 puts them to a model: its prompts, its continuations, word for word.

| task | lm-eval's task | examples | a choice is | accuracy_norm |
|---|---|---|---|---|
| mmlu | mmlu | 5, the subject's dev split in its order | a letter | |
| arc_easy, arc_challenge | the same | 0 | an answer's text | yes |
| hellaswag, piqa | the same | 0 | an ending, a solution | yes |
| winogrande | the same | 0 | the sentence up to the blank and an option; scored is what follows ("partial") | |
| boolq | boolq (SuperGLUE) | 0 | no, yes | |

MMLU's loss is that of the right answer's text after the bare question, as ARC asks (OLMo calls that "rc"): the letter's
says no more than the accuracy.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from training.evaluation.general.olmo_files import Blank, Ending, Question, YesNoQuestion

VERSION = "lm-eval 0.4.13"
LETTERS = ("A", "B", "C", "D")
MMLU_EXAMPLES = 5


@dataclass(frozen=True, slots=True)
class Option:
    """A context and what is scored after it, the delimiting space included."""

    context: str
    continuation: str


@dataclass(frozen=True, slots=True)
class Item:
    """``characters``: of each choice's text, by which accuracy_norm divides, empty where lm-eval reports none;
    ``examples``: what all contexts begin with that other items share; ``gold``: whose loss is reported."""

    item_id: str
    category: str
    options: tuple[Option, ...]
    answer: int
    gold: Option
    characters: tuple[int, ...] = ()
    examples: str = ""


def mmlu_examples(subject: str, shots: Sequence[Question]) -> str:
    """What stands before each of a subject's questions."""
    head = f"The following are multiple choice questions (with answers) about {subject.replace('_', ' ')}.\n\n"
    return head + "".join(f"{_lettered(shot)} {LETTERS[shot.answer]}\n\n" for shot in shots)


def mmlu_item(question: Question, examples: str) -> Item:
    context = examples + _lettered(question)
    gold = Option(f"Question: {question.question.strip()}\nAnswer:", f" {question.choices[question.answer]}")
    options = tuple(Option(context, f" {letter}") for letter in LETTERS)
    return Item(question.item_id, question.subject, options, question.answer, gold, examples=examples)


def _lettered(question: Question) -> str:
    choices = "\n".join(f"{letter}. {text}" for letter, text in zip(LETTERS, question.choices, strict=True))
    return f"{question.question.strip()}\n{choices}\nAnswer:"


def question_item(category: str, question: Question) -> Item:
    """ARC and PIQA."""
    return _item(
        question.item_id, category, f"Question: {question.question}\nAnswer:", question.choices, question.answer
    )


def hellaswag_item(ending: Ending) -> Item:
    context = hellaswag_text(f"{ending.activity_label}: {ending.ctx_a} {ending.ctx_b.capitalize()}")
    return _item(ending.item_id, "hellaswag", context, [hellaswag_text(text) for text in ending.endings], ending.answer)


def hellaswag_text(text: str) -> str:
    """Without what WikiHow's pages left in it (``[title]``, ``[step]``)."""
    return re.sub(r"\[.*?\]", "", text.strip().replace(" [title]", ". ")).replace("  ", " ")


def winogrande_item(blank: Blank) -> Item:
    before, _, after = blank.sentence.partition("_")
    options = tuple(Option(before + option, f" {after.strip()}") for option in blank.options)
    return Item(blank.item_id, "winogrande", options, blank.answer, options[blank.answer])


def boolq_item(asked: YesNoQuestion) -> Item:
    context = f"{asked.passage}\nQuestion: {asked.question}?\nAnswer:"
    options = (Option(context, " no"), Option(context, " yes"))
    return Item(asked.item_id, "boolq", options, int(asked.answer), options[asked.answer])


def _item(item_id: str, category: str, context: str, choices: Sequence[str], answer: int) -> Item:
    options = tuple(Option(context, f" {choice}") for choice in choices)
    return Item(item_id, category, options, answer, options[answer], tuple(map(len, choices)))
