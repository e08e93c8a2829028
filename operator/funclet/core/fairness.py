"""A queue of work that is fair between keys: each key's turn comes once a round, however much one key brings."""

from collections import deque
from typing import Generic, TypeVar

Item = TypeVar("Item")


class FairQueue(Generic[Item]):
    """Items in lanes (the lower one always first) and, inside a lane, one of each key in turn."""

    def __init__(self) -> None:
        self._lanes: dict[int, dict[str, deque[Item]]] = {}

    def push(self, key: str, item: Item, lane: int = 0) -> None:
        """Put an item at the end of its key's line."""
        self._lanes.setdefault(lane, {}).setdefault(key, deque()).append(item)

    def pop(self) -> Item | None:
        """The next item; its key goes to the end of the round."""
        if not self._lanes:
            return None
        lane = min(self._lanes)
        keys = self._lanes[lane]
        key = next(iter(keys))
        line = keys.pop(key)
        item = line.popleft()
        if line:
            keys[key] = line
        elif not keys:
            del self._lanes[lane]
        return item
