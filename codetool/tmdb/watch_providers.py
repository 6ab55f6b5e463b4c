"""Where a work can be watched: synthetic. No facts on streaming are kept; ids decide, the same in every run.

Provider ids are those of the service, in regions where it lists watch providers at all.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from hashlib import sha256

from codetool.tmdb.records import Kind

PROVIDERS: Mapping[str, tuple[int, ...]] = {
    "flatrate": (8, 9, 15, 337, 350),  # Netflix, Prime Video, Hulu, Disney Plus, Apple TV Plus
    "free": (538,),  # Plex
    "ads": (73, 300),  # Tubi TV, Pluto TV
    "rent": (2, 3, 10),  # Apple TV, Google Play Movies, Amazon Video
    "buy": (2, 3, 10),
}
REGIONS = frozenset("AU BR CA DE ES FR GB IE IN IT JP KR MX NL NZ SE US".split())


@lru_cache(maxsize=16384)
def find_offers(kind: Kind, number: int, region: str) -> Mapping[str, frozenset[int]]:
    """Monetization type (`flatrate`, `free`, `ads`, `rent`, `buy`) to the providers that offer the work there."""
    if region not in REGIONS:
        return {}
    return {way: _choose_providers(f"{kind} {number} {region} {way}", ids) for way, ids in PROVIDERS.items()}


def _choose_providers(name: str, ids: tuple[int, ...]) -> frozenset[int]:
    """About every third provider."""
    dice = sha256(f"offers {name}".encode()).digest()
    return frozenset(provider for provider, die in zip(ids, dice, strict=False) if die % 3 == 0)
