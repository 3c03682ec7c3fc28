"""Trajectories as training texts, each form in a module of its own.

- ``transcript``: the whole episode as it happened
- ``plan``: the task, the plan, the calls, without what was observed
- ``feedback``: each failed call with its error and what corrected it
- ``chat_messages``: messages for a model's own chat template, for instruction tuning

A document shows the tools that the episode calls and a few others of its environment, chosen by hash: with all of them
(AgentDojo: 28) the list would be longer than the episode, and near-duplicate detection would see only the list.
"""

from __future__ import annotations

from collections.abc import Iterator

from forge.schema import CHAT_FORM, Document, DocumentOutcome, Trajectory, content_hash, split_of
from forge.trajectories.chat_messages import chat
from forge.trajectories.feedback import feedback
from forge.trajectories.fitting import fitted
from forge.trajectories.identity import normalised_key
from forge.trajectories.plan import plan
from forge.trajectories.recovery import corrections, recovers
from forge.trajectories.shown_tools import task_group
from forge.trajectories.transcript import transcript
from forge.trajectories.wording import TEMPLATES_FILE

TRANSCRIPT_FORM, PLAN_FORM, FEEDBACK_FORM = "transcript", "plan", "feedback"


def render_version() -> str:
    """Hash of the fixed words: documents rendered with others are other documents. The code counts by itself, as a part
    of the job's fingerprint."""
    return content_hash(TEMPLATES_FILE.read_bytes())


def render(trajectory: Trajectory, held_out_share: float, max_characters: int) -> Iterator[Document]:
    """The documents of one episode, each of at most ``max_characters``.

    What is too long loses the middle of its longest observations, then its last steps; a form with nothing to say is
    left out. The split is that of the task and of what was seen before the first action, so that other runs of one
    task, and all forms, fall on one side. ``outcome`` marks the documents of failed episodes.
    """
    split = split_of(task_group(trajectory), held_out_share)
    outcome = document_outcome(trajectory)
    corrected = corrections(trajectory)
    identity = _identity(trajectory)
    for form, text in (
        (TRANSCRIPT_FORM, fitted(trajectory, transcript, max_characters)),
        (PLAN_FORM, plan(trajectory, corrected, max_characters)),
        (FEEDBACK_FORM, feedback(trajectory, corrected, max_characters)),
        (CHAT_FORM, fitted(trajectory, chat, max_characters, needs_action=True)),
    ):
        if text is not None:
            # A correction teaches the same whatever became of the episode.
            shown = "recovered" if form == FEEDBACK_FORM and outcome == "failure" else outcome
            yield Document(kind="trajectory", form=form, text=text, split=split, outcome=shown, identity=identity)


def _identity(trajectory: Trajectory) -> str:
    """What an episode tells: its normalised steps; where nothing is called, also of which tools none was right."""
    key = normalised_key(trajectory)
    if any(step.calls for step in trajectory.steps):
        return key
    return content_hash(key, *sorted(str(tool.get("name")) for tool in trajectory.tools))


def document_outcome(trajectory: Trajectory) -> DocumentOutcome:
    """The episode's outcome; ``recovered`` for a failure in which a later step made good what an earlier one broke."""
    return "recovered" if trajectory.outcome == "failure" and recovers(trajectory) else trajectory.outcome
