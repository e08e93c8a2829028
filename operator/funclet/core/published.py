"""The published versions of all functions, by the keys under which they are invoked. No I/O."""

from funclet.api.version import Version
from funclet.core.publishing import function_of
from funclet.core.qualifiers import function_key
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
        """What callers of this version get, its function being so; None: nothing."""
        found = (find_version(version, function) for version in self._versions.get(key, {}).values())
        return next(filter(None, found), None)
