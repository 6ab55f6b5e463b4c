"""Synthetic watch providers of films and shows: a hash of the ids decides, so they are equal in every run.

Provider ids and regions are those of the real service.
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
def find_offers(kind: Kind, work_id: int, region: str) -> Mapping[str, frozenset[int]]:
    """Return the ids of the providers in a region by monetization type (`flatrate`, `free`, `ads`, `rent`, `buy`)."""
    if region not in REGIONS:
        return {}
    return {
        offer_type: _choose_providers(f"{kind} {work_id} {region} {offer_type}", ids)
        for offer_type, ids in PROVIDERS.items()
    }


def _choose_providers(seed_text: str, ids: tuple[int, ...]) -> frozenset[int]:
    """Return about a third of the providers, selected by a hash of the text."""
    random_bytes = sha256(f"offers {seed_text}".encode()).digest()
    return frozenset(provider for provider, byte in zip(ids, random_bytes, strict=False) if byte % 3 == 0)
