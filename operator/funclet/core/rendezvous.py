"""Rendezvous hashing: everybody who knows the same members finds the same home for a key, without asking anybody.

Each member's score for a key is a hash of both; the highest one is the key's home. When a member goes, its keys alone
move, spread evenly over the others; when one comes, it takes an even share from each
(Thaler and Ravishankar, "Using name-based mappings to increase hit rates", 1998).
"""

from collections.abc import Iterable
from hashlib import blake2b


def find_home(key: str, members: Iterable[str]) -> str | None:
    """The member that is the home of this key; None when there is no member."""
    return max(members, key=lambda member: (_score(key, member), member), default=None)


def _score(key: str, member: str) -> bytes:
    return blake2b(f"{member}\0{key}".encode(), digest_size=8).digest()
