"""The natural language in a rendered trajectory: what people and the agent say, without calls and observations."""

from __future__ import annotations

import re

import orjson

from forge.trajectories.wording import speaker

MIN_WORDS = 20
"""Fewer words are no sample of a language: of 25,000 English documents 8 with fewer were taken for another one."""
_SPEAKERS = ("task", "user", "assistant", "thought")


def spoken_text(document: str) -> str:
    """Of a document of any form; empty where fewer than :data:`MIN_WORDS` words are spoken."""
    said = _of_chat(document) if document.startswith("{") else _of_transcript(document)
    return said if len(said.split(maxsplit=MIN_WORDS)) >= MIN_WORDS else ""


def _of_transcript(text: str) -> str:
    """The paragraphs that begin with a speaker; what a paragraph calls or observes below is left out."""
    labels = "|".join(re.escape(speaker(name)) for name in _SPEAKERS)
    stops = re.escape(speaker("action"))
    paragraphs = re.findall(rf"^(?:{labels})((?:(?!\n(?:\n|{stops}|\$ |>>> |> )).)*)", text, re.MULTILINE | re.DOTALL)
    return "\n".join(paragraph.strip() for paragraph in paragraphs)


def _of_chat(text: str) -> str:
    try:
        messages = orjson.loads(text)["messages"]
        said = [message["content"] for message in messages if message["role"] in {"user", "assistant"}]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return ""
    return "\n".join(content for content in said if isinstance(content, str))
