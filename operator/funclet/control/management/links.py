"""Code.Location: addresses under which anybody who has been told one gets an archive, for ten minutes."""

import hashlib
import hmac
from collections.abc import Callable
from urllib.parse import parse_qs, urlencode

LIFE_SECONDS = 600
"""Lambda: "The presigned URL that's provided for the function code is valid for 10 minutes"."""


class PackageLinks:
    """Makes and checks them. `now` is the time in seconds since 1970."""

    def __init__(self, secret: bytes, now: Callable[[], float]) -> None:
        self._secret = secret
        self._now = now

    def make(self, endpoint: str, function: str, sha256: str) -> str:
        """The address of a package."""
        expires = str(int(self._now()) + LIFE_SECONDS)
        query = urlencode({"sha256": sha256, "expires": expires, "signature": self._signature(sha256, expires)})
        return f"{endpoint}/2015-03-31/functions/{function}/code?{query}"

    def find_package(self, query: str) -> str | None:
        """The digest of the package that may be given for this query; None: it is no link of ours, or an old one."""
        given = {name: values[0] for name, values in parse_qs(query).items()}
        sha256, expires, signature = (given.get(name, "") for name in ("sha256", "expires", "signature"))
        expected = self._signature(sha256, expires)
        if not hmac.compare_digest(signature.encode(), expected.encode()) or int(expires) < self._now():
            return None
        return sha256

    def _signature(self, sha256: str, expires: str) -> str:
        return hmac.new(self._secret, f"package:{sha256}:{expires}".encode(), hashlib.sha256).hexdigest()
