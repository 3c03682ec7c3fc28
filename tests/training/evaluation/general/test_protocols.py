"""Prompts word for word, as lm-eval 0.4.13 writes them, from items of our own."""

from __future__ import annotations

from training.evaluation.general import protocols
from training.evaluation.general.olmo_files import Blank, Ending, Question, YesNoQuestion
from training.evaluation.general.protocols import Option


def test_mmlu() -> None:
    shots = [
        Question("high_school_cooking/0", " How hot is boiling water?\n", ("0 °C", "50 °C", "100 °C", "200 °C"), 2),
        Question("high_school_cooking/1", "What thickens a sauce?", ("Salt", "Flour", "Water", "Ice"), 1),
    ]
    asked = Question("high_school_cooking/7", "What melts?", ("Ice", "Sand", "Steam", "Air"), 0, "high_school_cooking")
    examples = protocols.mmlu_examples("high_school_cooking", shots)
    found = protocols.mmlu_item(asked, examples)
    assert examples == (
        "The following are multiple choice questions (with answers) about high school cooking.\n\n"
        "How hot is boiling water?\nA. 0 °C\nB. 50 °C\nC. 100 °C\nD. 200 °C\nAnswer: C\n\n"
        "What thickens a sauce?\nA. Salt\nB. Flour\nC. Water\nD. Ice\nAnswer: B\n\n"
    )
    context = examples + "What melts?\nA. Ice\nB. Sand\nC. Steam\nD. Air\nAnswer:"
    assert found.options == tuple(Option(context, f" {letter}") for letter in "ABCD")
    assert (found.answer, found.category, found.characters) == (0, "high_school_cooking", ())
    assert found.gold == Option("Question: What melts?\nAnswer:", " Ice")


def test_arc_and_piqa() -> None:
    found = protocols.question_item("arc_easy", Question("Q_1", "What is wet?", ("water", "Straße", "fire"), 1))
    context = "Question: What is wet?\nAnswer:"
    assert found.options == (Option(context, " water"), Option(context, " Straße"), Option(context, " fire"))
    assert found.characters == (5, 6, 4)  # characters, not bytes
    assert found.gold == found.options[1]


def test_hellaswag() -> None:
    ending = Ending(
        "3", "Baking", "A man stands.", "he", (" [step] stirs [substeps] it.", "sits  down [title] Rest."), 1
    )
    found = protocols.hellaswag_item(ending)
    assert found.options == (
        Option("Baking: A man stands. He", "  stirs it."),
        Option("Baking: A man stands. He", " sits down. Rest."),
    )
    assert found.characters == (10, 16)


def test_winogrande_scores_what_follows_the_blank() -> None:
    found = protocols.winogrande_item(Blank("0", "The cup fell off the shelf as _ was wet.", ("the cup", "it"), 1))
    assert found.options == (
        Option("The cup fell off the shelf as the cup", " was wet."),
        Option("The cup fell off the shelf as it", " was wet."),
    )
    assert found.gold == found.options[1]


def test_boolq() -> None:
    found = protocols.boolq_item(YesNoQuestion("0", "Water -- Water is wet.", "is water wet", True))
    context = "Water -- Water is wet.\nQuestion: is water wet?\nAnswer:"
    assert found.options == (Option(context, " no"), Option(context, " yes"))
    assert found.answer == 1
