"""The recipe of a release: how much of each domain a model should see, and what the corpus can give.

About 1:1:1 agent:code:text with an agent share near 36 % is the optimum that the Hephaestus paper reports. The corpus
holds every eligible document once; the *loader* realises the shares by weights. Nothing is repeated to fill a share.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from forge.config import MixSettings
from forge.schema import DOMAINS, KINDS, Domain

STAGES_OF_KIND: Mapping[str, tuple[str, ...]] = {
    "api_doc": ("I", "II"),
    "trajectory": ("I", "II"),
    "web": ("I",),
    "code": ("I",),
    "text": ("I",),
}
"""Stage I sees the whole mix, stage II the seed data only. Chat renderings belong to stage III alone."""
assert set(STAGES_OF_KIND) == set(KINDS)


def domain_weights(tokens: Mapping[str, int], shares: Mapping[Domain, float]) -> dict[str, float]:
    """Weight of one token of each domain so that weighted tokens stand in the ratio of ``shares``, scaled so that the
    weights average to 1 over all tokens. A domain without tokens has weight 0."""
    total = sum(tokens.values())
    present = sum(shares[domain] for domain in DOMAINS if tokens.get(domain, 0) > 0)
    return {
        domain: round(shares[domain] / present * total / tokens[domain], 6) if tokens.get(domain, 0) > 0 else 0.0
        for domain in DOMAINS
    }


def recipe_of(tokens: Mapping[str, int], mix: MixSettings) -> dict[str, Any]:
    """The recipe for a corpus with so many stage-I training tokens by domain.

    ``one_pass_tokens`` is the largest stage-I budget that keeps the shares and shows no document twice; it is set by
    ``scarce_domain``. ``epochs_at_full_corpus`` says how often each domain would be seen by a budget as large as the
    corpus; domains above ``max_epochs`` there are listed as ``short``.
    """
    shares = mix.domain_shares
    known: dict[str, int] = {domain: int(tokens.get(domain, 0)) for domain in DOMAINS}
    reach = {domain: int(known[domain] / shares[domain]) for domain in DOMAINS if shares[domain] > 0}
    scarce = min(sorted(reach), key=lambda domain: reach[domain])
    total = sum(known.values())
    epochs = {domain: round(shares[domain] * total / known[domain], 2) if known[domain] else None for domain in DOMAINS}
    return {
        "domain_shares": dict(shares),
        "max_epochs": mix.max_epochs,
        "domain_weights": domain_weights(known, shares),
        "domain_tokens": known,
        "reference_tokenizer": mix.reference_tokenizer,
        "one_pass_tokens": reach[scarce],
        "scarce_domain": scarce,
        "epochs_at_full_corpus": epochs,
        "short": sorted(domain for domain, value in epochs.items() if value is None or value > mix.max_epochs),
    }
