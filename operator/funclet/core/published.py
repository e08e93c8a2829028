"""The published versions of all functions, by the keys under which they are invoked. No I/O."""

from dataclasses import replace

from funclet.api.version import Version
from funclet.core.publishing import age_of, function_of
from funclet.core.qualifiers import AliasRoute, function_key
from funclet.core.revision import Revision, find_version


class Published:
    """Version resources by what they published. Several may have published the same: it is one version then."""

    def __init__(self) -> None:
        self._keys: dict[str, str] = {}
        """Under which key a Version resource can be invoked, by its own."""
        self._versions: dict[str, dict[str, Version]] = {}
        """Version resources by that key, and then by their own."""
        self._of: dict[str, set[str]] = {}
        """The keys of a function's versions."""
        self._provisions: dict[str, dict[str, int]] = {}
        """Of versions, by their keys: for how many invocations instances are kept ready, by alias."""

    def put(self, name: str, version: Version | None) -> set[str]:
        """This is a Version resource now (None: it is gone). Returns the keys of the versions that this concerns."""
        touched = set()
        if (before := self._keys.pop(name, None)) is not None:
            touched.add(before)
            self._remove(before, name)
        if version is not None and version.status.snapshot is not None:
            key = f"{function_of(version)}:{version.status.version}"
            self._keys[name] = key
            self._versions.setdefault(key, {})[name] = version
            self._of.setdefault(function_key(key), set()).add(key)
            touched.add(key)
        return touched

    def follow(self, alias: str, before: AliasRoute | None, now: AliasRoute | None) -> set[str]:
        """An alias leads elsewhere (None: nowhere). Returns the keys of the versions that this concerns."""
        old = before.provisions if before else {}
        new = now.provisions if now else {}
        touched = {key for key in old.keys() | new.keys() if old.get(key, 0) != new.get(key, 0)}
        for key in touched:
            provisions = self._provisions.setdefault(key, {})
            provisions[alias] = new.get(key, 0)
            if not provisions[alias]:
                del provisions[alias]
            if not provisions:
                del self._provisions[key]
        return touched

    def _remove(self, key: str, name: str) -> None:
        versions, function = self._versions[key], function_key(key)
        del versions[name]
        if not versions:
            del self._versions[key]
            self._of[function].discard(key)
            if not self._of[function]:
                del self._of[function]

    def keys(self, function: str) -> list[str]:
        """Those of a function's versions."""
        return sorted(self._of.get(function, ()))

    def find(self, key: str, function: Revision | None) -> Revision | None:
        """What callers of this version get, its function being so; None: nothing.

        Of several Versions that have published it, the oldest one's settings count.
        """
        versions = sorted(self._versions.get(key, {}).values(), key=age_of)
        found = next(filter(None, (find_version(version, function) for version in versions)), None)
        provisions = self._provisions.get(key)
        if found is None or not provisions:
            return found
        return replace(found, provisioned_concurrency=found.provisioned_concurrency + sum(provisions.values()))
