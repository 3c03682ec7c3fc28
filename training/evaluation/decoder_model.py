"""The forward pass of a Llama for greedy decoding: a static cache, one product for several projections, no masks made
anew in each layer.

It reads the weights of a model of transformers and computes what that model computes, up to rounding. Understood are
Llama, Mistral and Qwen 2 with SwiGLU, one rotary table for all lengths, full attention and plain linear layers
(:func:`is_understood`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding, rms_norm, scaled_dot_product_attention, silu

_ROTARY_TABLES = ("default", "linear", "llama3", "yarn")
"""Kinds of rotary embedding that depend on the position alone, not on how long the text is."""


@dataclass(frozen=True, slots=True)
class _Layer:
    input_norm: Tensor
    query_key_value: Callable[[Tensor], Tensor]
    output: Callable[[Tensor], Tensor]
    mlp_norm: Tensor
    gate_up: Callable[[Tensor], Tensor]
    down: Callable[[Tensor], Tensor]


class KeyValueCache:
    """Keys and values of all layers in one tensor [layers, rows, 2 * key-value heads, slots, head width]: a slot is a
    token's place in its text. Rows are texts; those in use are the first ones."""

    def __init__(self, decoder: LlamaDecoder, rows: int, slots: int) -> None:
        self.rows = rows
        self.slots = slots
        heads = 2 * decoder.key_value_heads
        self.states = torch.zeros(
            decoder.layers, rows, heads, slots, decoder.head_width, dtype=decoder.dtype, device=decoder.device
        )

    def move(self, source: int, target: int, tokens: int) -> None:
        """Copy the first ``tokens`` slots of a row over those of another."""
        self.states[:, target, :, :tokens] = self.states[:, source, :, :tokens]

    def take(self, other: KeyValueCache, rows: int) -> None:
        """Copy the first rows of another cache; their texts must fit in both."""
        slots = min(self.slots, other.slots)
        self.states[:, :rows, :, :slots] = other.states[:, :rows, :, :slots]


def is_understood(model: Any) -> bool:
    """Whether :class:`LlamaDecoder` computes what the model computes."""
    from transformers import LlamaForCausalLM, MistralForCausalLM, Qwen2ForCausalLM

    if type(model) not in (LlamaForCausalLM, MistralForCausalLM, Qwen2ForCausalLM):
        return False
    configuration = model.config
    window = (
        getattr(configuration, "sliding_window", None) if getattr(configuration, "use_sliding_window", True) else None
    )
    return (
        configuration.hidden_act == "silu"
        and configuration.rope_parameters.get("rope_type", "default") in _ROTARY_TABLES
        and window is None
        and all(
            type(module) is nn.Linear for name, module in model.named_modules() if name.endswith(("_proj", "_head"))
        )
        and len({parameter.device for parameter in model.parameters()}) == 1
    )


class LlamaDecoder:
    """Weights laid out for decoding. They are copied: memory holds them twice.

    Matrix products and the cache are in the dtype of a surrounding ``torch.autocast`` when the decoder is made, else in
    that of the weights; the residual stream, norms and logits are in that of the weights.
    """

    def __init__(self, model: Any) -> None:
        configuration = model.config
        self.device: torch.device = model.device
        kind = self.device.type
        self.dtype: torch.dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else model.dtype
        self.layers: int = configuration.num_hidden_layers
        self.heads: int = configuration.num_attention_heads
        self.key_value_heads: int = configuration.num_key_value_heads
        first = model.model.layers[0].self_attn
        self.head_width: int = first.head_dim
        self._epsilon: float = configuration.rms_norm_eps
        self._embedding: Tensor = model.model.embed_tokens.weight.detach()
        self._final_norm: Tensor = model.model.norm.weight.detach()
        self._head = _product([model.lm_head], model.dtype)
        self._rotary: Any = model.model.rotary_emb
        self._cosines = self._sines = torch.empty(0, self.head_width)
        self._layers = [
            _Layer(
                layer.input_layernorm.weight.detach(),
                _product([layer.self_attn.q_proj, layer.self_attn.k_proj, layer.self_attn.v_proj], self.dtype),
                _product([layer.self_attn.o_proj], self.dtype),
                layer.post_attention_layernorm.weight.detach(),
                _product([layer.mlp.gate_proj, layer.mlp.up_proj], self.dtype),
                _product([layer.mlp.down_proj], self.dtype),
            )
            for layer in model.model.layers
        ]

    @property
    def slot_bytes(self) -> int:
        """Bytes that a cache holds for a token."""
        return 2 * self.layers * self.key_value_heads * self.head_width * int(self.dtype.itemsize)

    @torch.inference_mode()
    def prefill(self, texts: Sequence[Sequence[int]], cache: KeyValueCache | None = None, first_row: int = 0) -> Tensor:
        """Logits [texts, vocabulary] behind the last token of each text. Keys and values go to the cache's rows from
        ``first_row`` on. Texts are padded on the right: what follows a token never reaches it."""
        longest = max(map(len, texts))
        ids = torch.tensor([[*text, *[0] * (longest - len(text))] for text in texts], device=self.device)
        last = torch.tensor([len(text) - 1 for text in texts], device=self.device)
        cosines, sines = self._rotation(longest)
        rows, group = len(texts), self.heads // self.key_value_heads

        def attend(number: int, projected: Tensor) -> Tensor:
            states = projected.view(rows, longest, -1, self.head_width)
            turned = _turned(states[:, :, : self.heads + self.key_value_heads], cosines[:, None], sines[:, None])
            queries, keys = turned.transpose(1, 2).split([self.heads, self.key_value_heads], 1)
            values = states[:, :, self.heads + self.key_value_heads :].transpose(1, 2)
            if cache is not None:
                cache.states[number, first_row : first_row + rows, : self.key_value_heads, :longest] = keys
                cache.states[number, first_row : first_row + rows, self.key_value_heads :, :longest] = values
            attended = scaled_dot_product_attention(
                queries, keys.repeat_interleave(group, 1), values.repeat_interleave(group, 1), is_causal=True
            )
            return attended.transpose(1, 2).reshape(rows * longest, -1)

        hidden = self._through_layers(ids.flatten(), attend).view(rows, longest, -1)
        return self._logits(hidden[torch.arange(rows, device=self.device), last])

    @torch.inference_mode()
    def step(self, tokens: Sequence[int], positions: Sequence[int], cache: KeyValueCache, slots: int) -> Tensor:
        """Logits [rows, vocabulary] behind one more token of each of the first rows, which stands at ``positions``. No
        row has a token beyond the first ``slots``."""
        rows, group = len(tokens), self.heads // self.key_value_heads
        position = torch.tensor(positions, device=self.device)
        row = torch.arange(rows, device=self.device)
        seen = torch.arange(slots, device=self.device) <= position[:, None]
        mask = torch.zeros(seen.shape, dtype=self.dtype, device=self.device).masked_fill_(~seen, float("-inf"))
        mask = mask[:, None, None].expand(-1, -1, group, -1)
        cosines, sines = (table[position][:, None] for table in self._rotation(slots))

        def attend(number: int, projected: Tensor) -> Tensor:
            states = projected.view(rows, -1, self.head_width)
            turned = _turned(states[:, : self.heads + self.key_value_heads], cosines, sines)
            cached = cache.states[number]
            cached[row, : self.key_value_heads, position] = turned[:, self.heads :]
            cached[row, self.key_value_heads :, position] = states[:, self.heads + self.key_value_heads :]
            # The queries that share a key-value head stand where queries of several tokens would: nothing is repeated.
            queries = turned[:, : self.heads].view(rows, self.key_value_heads, group, self.head_width)
            keys, values = cached[:rows, :, :slots].split(self.key_value_heads, 1)
            return scaled_dot_product_attention(queries, keys, values, mask).reshape(rows, -1)

        return self._logits(self._through_layers(torch.tensor(tokens, device=self.device), attend))

    def _through_layers(self, ids: Tensor, attend: Callable[[int, Tensor], Tensor]) -> Tensor:
        """The residual stream [tokens, width] behind the last layer."""
        with torch.autocast(self.device.type, enabled=False):
            hidden = embedding(ids, self._embedding)
            for number, layer in enumerate(self._layers):
                projected = layer.query_key_value(self._normed(hidden, layer.input_norm))
                hidden = hidden + layer.output(attend(number, projected))
                gate, up = layer.gate_up(self._normed(hidden, layer.mlp_norm)).chunk(2, -1)
                hidden = hidden + layer.down(silu(gate).mul_(up))
        return hidden

    def _logits(self, hidden: Tensor) -> Tensor:
        with torch.autocast(self.device.type, enabled=False):
            normed = rms_norm(hidden, hidden.shape[-1:], self._final_norm, self._epsilon)
            return self._head(normed).float()

    def _normed(self, hidden: Tensor, weight: Tensor) -> Tensor:
        return rms_norm(hidden, hidden.shape[-1:], weight, self._epsilon).to(self.dtype)

    def _rotation(self, tokens: int) -> tuple[Tensor, Tensor]:
        """Cosines and sines [tokens, head width] of the positions; sines with the sign that :func:`_turned` needs."""
        if len(self._cosines) < tokens:
            positions = torch.arange(tokens, device=self.device)[None]
            cosines, sines = self._rotary(torch.empty(0, dtype=torch.float32, device=self.device), positions)
            half = self.head_width // 2
            sines = torch.cat([-sines[0, :, :half], sines[0, :, half:]], -1)
            self._cosines, self._sines = cosines[0].to(self.dtype), sines.to(self.dtype)
        return self._cosines[:tokens], self._sines[:tokens]


def _turned(states: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
    """Rotary embedding over the last dimension, whose halves are the two coordinates."""
    return torch.addcmul(states * cosines, states.roll(states.shape[-1] // 2, -1), sines)


def _product(linears: Sequence[Any], dtype: torch.dtype) -> Callable[[Tensor], Tensor]:
    """Several linear layers of one input as one: outputs side by side. Weights lie input by input, which is faster for
    few rows on a CPU."""
    weight = torch.cat([linear.weight.detach() for linear in linears]).to(dtype).t().contiguous()
    if linears[0].bias is None:
        return lambda inputs: inputs @ weight
    bias = torch.cat([linear.bias.detach() for linear in linears]).to(dtype)
    return lambda inputs: torch.addmm(bias, inputs, weight)
