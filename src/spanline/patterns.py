"""Names by their beginnings: `spanline.*` stands for all that begin so."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache


@lru_cache(64)
def listed(names: tuple[str, ...]) -> Callable[[str], bool]:
    """Tells whether something is among these names; one that ends in `*` stands for all that begin so."""
    exact = frozenset(name for name in names if not name.endswith("*"))
    prefixes = tuple(name[:-1] for name in names if name.endswith("*"))

    def is_listed(name: str) -> bool:
        return name in exact or name.startswith(prefixes)

    return is_listed
