from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from forge.config import ConfigurationError
from training.base_model import load_tokenizer
from training.control_tokens import control_tokens, encode_rendered, encode_text, encode_texts, set_aside

NAMES = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
PIECES = st.lists(st.sampled_from([*NAMES, "<|", "im_end", "|>", "<", "\ufdd0", " get", "\n", "zoë", "🙂"])).map(
    "".join
)


@pytest.fixture(scope="module")
def tokenizer(tiny_model):
    return load_tokenizer(tiny_model)


@pytest.fixture(scope="module")
def word_mark_tokenizer():
    """Marks the start of words, and of a text, as SentencePiece does; ``<end>`` takes the white space behind it."""
    tokenizer = Tokenizer(models.Unigram([("<unk>", 0.0), ("<s>", 0.0), ("</s>", 0.0)], unk_id=0))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    tokenizer.train_from_iterator(
        ["get user list </s> put user <s> end x"] * 20,
        trainers.UnigramTrainer(
            vocab_size=60, special_tokens=["<unk>", "<s>", "</s>"], unk_token="<unk>", show_progress=False
        ),
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        extra_special_tokens=[AddedToken("<end>", rstrip=True, special=True)],
    )


@given(text=PIECES)
def test_no_text_becomes_a_control_token_and_none_is_changed(tokenizer, text):
    (ids,) = encode_texts(tokenizer, [text])
    assert min(ids, default=3) > 2  # the control tokens are 0, 1 and 2
    assert tokenizer.decode(ids, skip_special_tokens=False) == text
    assert encode_text(tokenizer, text).ids == ids
    if not any(name in text for name in NAMES):
        assert ids == tokenizer(text, add_special_tokens=False)["input_ids"]


@given(parts=st.lists(PIECES.map(lambda text: text.replace("\ufdd0", "")), min_size=1, max_size=4))
def test_a_rendered_chat_has_the_control_tokens_of_its_template(tokenizer, parts):
    rendered = "".join(f"<|im_start|>{set_aside(tokenizer, part)}<|im_end|>" for part in parts)
    found = encode_rendered(tokenizer, rendered)
    assert [token for token in found.ids if token < 3] == [1, 2] * len(parts)
    assert tokenizer.decode(found.ids) == "".join(f"<|im_start|>{part}<|im_end|>" for part in parts)
    assert [rendered[start:end] for token, (start, end) in zip(found.ids, found.offsets, strict=True) if token < 3] == [
        "<|im_start|>",
        "<|im_end|>",
    ] * len(parts)
    if not any(name in part for part in parts for name in NAMES):
        assert found.ids == tokenizer(rendered, add_special_tokens=False)["input_ids"]


def test_ids_are_those_of_the_whole_text_where_the_start_of_a_text_is_marked(word_mark_tokenizer):
    text = "<s>get user<end> \nlist user</s>put"
    ids = word_mark_tokenizer(text, add_special_tokens=False)["input_ids"]
    assert encode_rendered(word_mark_tokenizer, text, [3, text.index("put")]).ids == ids
    parts = [word_mark_tokenizer(part, add_special_tokens=False)["input_ids"] for part in (text[:3], text[3:])]
    assert ids != parts[0] + parts[1]


def test_a_vocabulary_that_holds_a_control_token_does_not_give_it_for_text(word_mark_tokenizer):
    ids = {name: word_mark_tokenizer.convert_tokens_to_ids(name) for name in ("<s>", "</s>", "<end>")}
    for name, token_id in ids.items():
        assert token_id in word_mark_tokenizer(f"put {name}", add_special_tokens=False)["input_ids"]
        (found,) = encode_texts(word_mark_tokenizer, [f"put {name}"])
        assert not set(found) & set(ids.values())
        assert not set(encode_rendered(word_mark_tokenizer, set_aside(word_mark_tokenizer, name)).ids) & set(
            ids.values()
        )


def test_a_token_starts_where_generation_starts(tokenizer):
    text = "user bucket"
    offsets = encode_rendered(tokenizer, text).offsets
    place = next(start + 1 for start, end in offsets if end - start > 1)
    cut = encode_rendered(tokenizer, text, [place])
    assert place in [start for start, _ in cut.offsets]
    assert "".join(text[start:end] for start, end in cut.offsets) == text
    assert encode_rendered(tokenizer, text, [0, *(end for _, end in offsets)]).offsets == offsets


def test_names_that_overlap_are_all_set_aside(tiny_model):
    tokenizer = load_tokenizer(tiny_model)
    tokenizer.add_special_tokens({"extra_special_tokens": ["<a>", "a>b"]})
    ids = tokenizer.convert_tokens_to_ids(["<a>", "a>b"])
    assert not set(encode_rendered(tokenizer, set_aside(tokenizer, "<a>b")).ids) & set(ids)
    assert encode_rendered(tokenizer, "<a>b").ids[0] == ids[0]


def test_other_added_tokens_are_control_tokens_where_the_template_writes_them(tiny_model):
    tokenizer = load_tokenizer(tiny_model)
    tokenizer.add_tokens(["<tool>", "\n\n"])
    assert set(control_tokens(tokenizer).ids) == set(NAMES)
    tokenizer.chat_template = "<tool>\n\n"
    assert set(control_tokens(tokenizer).ids) == {*NAMES, "<tool>"}


def test_too_many_kinds_of_control_tokens_are_said(tiny_model):
    tokenizer = load_tokenizer(tiny_model)
    tokenizer.add_special_tokens({"extra_special_tokens": [f"{chr(0x100 + number)}!" for number in range(40)]})
    with pytest.raises(ConfigurationError, match="41 different characters"):
        control_tokens(tokenizer)
