"""Tokens are known by their SHA-256 digests only.

`hashlib` and `hmac` load OpenSSL: 3 MiB, and milliseconds at the first use. The interpreter's own SHA-256 does (the
standard library's `random` does the same), and `hmac.compare_digest` is `_operator._compare_digest` without OpenSSL.
"""

import sys
from _operator import _compare_digest as compare_digest

if sys.version_info >= (3, 12):
    from _sha2 import sha256
else:
    from _sha256 import sha256  # type: ignore[import-not-found]


class TokenCheck:
    """Compares tokens with one digest, in constant time; remembers the right token's bytes, to spare the digest."""

    def __init__(self, digest: bytes) -> None:
        self._digest = digest
        self._verified: bytes | None = None

    def accepts(self, token: bytes) -> bool:
        """Whether this is the token."""
        if self._verified is not None:
            return bool(compare_digest(token, self._verified))
        if not compare_digest(sha256(token).hexdigest().encode(), self._digest):
            return False
        self._verified = token
        return True
