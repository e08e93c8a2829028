"""Which gateway is the home of a function, as one gateway sees it. The home alone books the function's slots.

All versions of a function have one home: they share what is reserved for it.

Rules:
1. The home is found by rendezvous hashing over the gateways of the scaler's last list that are not leaving.
2. While the scaler is down its last list holds; a gateway that refuses connections is passed over for a while.
3. Functions move with a new list. Whoever follows it begins nothing more on functions that have another home, and tells
   all others so, and which slots it still uses. A function that is new here is settled when all others have spoken:
   only then are its slots booked. One that does not speak is waited for no longer than `SETTLE_SECONDS`.
4. A gateway that knows of no list is alone, and the home of all.

`now` is in seconds of any monotonic clock.
"""

from funclet.core.messages import Peer, Peers
from funclet.core.rendezvous import find_home

SETTLE_SECONDS = 1.0
GONE_SECONDS = 2.0
"""So long a gateway that refused a connection is passed over, unless a new list comes."""
CACHED_HOMES = 100_000


class Homes:
    """`me` is this gateway's own id."""

    def __init__(self, me: str) -> None:
        self.me = me
        self.epoch = 0
        self.others: dict[str, Peer] = {}
        self.candidates: frozenset[str] = frozenset((me,))
        """Who may be a home by the last list."""
        self._settled_candidates: frozenset[str] = frozenset()
        """Who could be one when all functions here were settled last."""
        self._spoken: dict[str, int] = {}
        """The newest list that each other gateway is known to follow."""
        self._gone_until: dict[str, float] = {}
        self._awaited: set[str] = set()
        self._awaited_until = 0.0
        self._cache: dict[str, str] = {}

    def apply(self, message: Peers, now: float) -> set[str]:
        """Follow a new list. Returns who is not on it any more; one that is not newer changes nothing."""
        if message.epoch <= self.epoch:
            return set()
        if self.epoch and not self._is_waiting(now):
            self._settled_candidates = self.candidates
        self.epoch = message.epoch
        before = self.others.keys()
        others = {peer.id: peer for peer in message.peers if peer.id != self.me}
        lost = before - others.keys()
        self.others = others
        staying = frozenset(peer.id for peer in message.peers if not peer.leaving)
        self.candidates = staying or frozenset((self.me,))
        self._spoken = {name: epoch for name, epoch in self._spoken.items() if name in others}
        self._awaited = {name for name in others if self._spoken.get(name, 0) < message.epoch}
        self._awaited_until = now + SETTLE_SECONDS
        self._gone_until.clear()
        self._cache.clear()
        return lost

    def home(self, key: str, now: float) -> str:
        """The id of the function's home."""
        if self._gone_until and min(self._gone_until.values()) <= now:
            self._gone_until = {name: until for name, until in self._gone_until.items() if until > now}
            self._cache.clear()
        home = self._cache.get(key)
        if home is None:
            if len(self._cache) >= CACHED_HOMES:
                self._cache.clear()
            home = find_home(key, self.candidates - self._gone_until.keys()) or self.me
            self._cache[key] = home
        return home

    def is_settled(self, key: str, now: float) -> bool:
        """Whether this gateway, the function's home, may book its slots."""
        return not self._is_waiting(now) or find_home(key, self._settled_candidates) == self.me

    def _is_waiting(self, now: float) -> bool:
        return bool(self._awaited) and now < self._awaited_until

    @property
    def all_follow(self) -> bool:
        """Whether all others have said that they follow this list."""
        return not self._awaited

    def hear(self, sender: str, epoch: int) -> None:
        """Another gateway follows this list."""
        self._spoken[sender] = max(epoch, self._spoken.get(sender, 0))
        if epoch >= self.epoch:
            self._awaited.discard(sender)

    def pass_over(self, name: str, now: float) -> None:
        """This gateway could not be reached."""
        if name != self.me and name in self.candidates:
            self._gone_until[name] = now + GONE_SECONDS
            self._awaited.discard(name)
            self._cache.clear()

    @property
    def passed_over(self) -> list[str]:
        """Gateways that could not be reached."""
        return list(self._gone_until)
