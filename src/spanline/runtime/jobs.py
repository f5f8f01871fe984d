"""KnownJobs: whose job facets this process has written."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable

MAX_KNOWN = 1000


class KnownJobs:
    """Remembers what job facets belonged to, the newest `MAX_KNOWN`; what is forgotten gets its facets once more."""

    def __init__(self) -> None:
        self._known: OrderedDict[Hashable, None] = OrderedDict()

    def first(self, about: Hashable) -> bool:
        """Whether this is the first event about it; it is known from now on."""
        if about in self._known:
            return False
        self._known[about] = None
        if len(self._known) > MAX_KNOWN:
            self._known.popitem(last=False)
        return True
