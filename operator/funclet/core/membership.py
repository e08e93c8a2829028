"""Which gateways run, as the scaler tells them all.

Rules:
1. A gateway is listed from its introduction until its feed ends: a process that dies closes its connections.
2. One that says nothing for `SILENT_SECONDS` is left out until it speaks again: its machine may be gone. Of the time
   between two looks `LOOK_SECONDS` count at most: a scaler that stood still itself has heard nobody.
3. One that is leaving stays listed as such until its feed ends, so that the others let it end what it has begun.
4. A scaler that was restarted goes on from the list that the gateways bring along; those that do not come back
   within `COMEBACK_SECONDS` are left out.

`now` is in seconds of any monotonic clock. Methods return whether the list has changed.
"""

from dataclasses import dataclass

from funclet.core.messages import Introduction, Peer, Peers

SILENT_SECONDS = 3.0
"""Three reports are missing: gateways send one every second at least."""
LOOK_SECONDS = 1.0
"""The scaler looks twice as often."""
COMEBACK_SECONDS = 4.0
"""Twice the longest pause between two attempts to open the feed."""


@dataclass(slots=True)
class _Member:
    peer: Peer
    heard_at: float
    feeds: int = 0
    """Connections of the feed that it has open."""
    silent: bool = False


class Membership:
    """The gateways by their id."""

    def __init__(self) -> None:
        self._epoch = 0
        self._members: dict[str, _Member] = {}
        self._looked_at: float | None = None

    @property
    def message(self) -> Peers:
        """The list as the gateways are told it."""
        listed = [member.peer for member in self._members.values() if not member.silent]
        return Peers(epoch=max(1, self._epoch), peers=sorted(listed, key=lambda peer: peer.id))

    def join(self, introduction: Introduction, host: str, now: float) -> bool:
        """A gateway has opened the feed."""
        is_news = introduction.epoch > self._epoch and self._go_on_from(introduction, now)
        is_new = introduction.id not in self._members
        peer = Peer(id=introduction.id, host=host, port=introduction.port)
        member = self._members.setdefault(peer.id, _Member(peer, now))
        member.feeds += 1
        member.heard_at = now
        return (is_new or is_news) and self._changed()

    def _go_on_from(self, introduction: Introduction, now: float) -> bool:
        """Take over a list that is newer than this one; whether the two together are another list."""
        brought = {peer.id for peer in introduction.peers}
        is_other = not self._members.keys() <= brought
        self._epoch = introduction.epoch
        for peer in introduction.peers:
            self._members.setdefault(peer.id, _Member(peer, now))
        return is_other

    def leave(self, peer_id: str) -> bool:
        """One of its feeds has ended."""
        member = self._members.get(peer_id)
        if member is None:
            return False
        member.feeds -= 1
        if member.feeds > 0:
            return False
        del self._members[peer_id]
        return self._changed()

    def hear(self, reporter: str, now: float, *, leaving: bool, peer: str | None = None) -> bool:
        """A gateway has reported. `peer`: its id; one of a version that does not say it is known by its name."""
        changed = False
        for member in self._members.values():
            if (member.peer.reporter != reporter) if peer is None else (member.peer.id != peer):
                continue
            member.heard_at = now
            if member.silent or member.peer.leaving != leaving:
                member.silent = False
                member.peer = member.peer.model_copy(update={"leaving": leaving})
                changed = True
        return changed and self._changed()

    def expire(self, now: float) -> bool:
        """Leave out those that have been silent for too long."""
        self._excuse(now)
        changed = False
        for peer_id, member in list(self._members.items()):
            silence = now - member.heard_at
            if member.feeds == 0 and silence > COMEBACK_SECONDS:
                del self._members[peer_id]
                changed = True
            elif member.feeds > 0 and silence > SILENT_SECONDS and not member.silent:
                member.silent = changed = True
        return changed and self._changed()

    def _excuse(self, now: float) -> None:
        """What was said while this scaler stood still is read after this look."""
        deaf = 0.0 if self._looked_at is None else max(0.0, now - self._looked_at - LOOK_SECONDS)
        self._looked_at = now
        for member in self._members.values():
            member.heard_at = min(now, member.heard_at + deaf)

    def _changed(self) -> bool:
        self._epoch += 1
        return True
