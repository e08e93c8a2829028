"""How to reach a Kubernetes API server: from inside the cluster, or by a kubeconfig file."""

import base64
import os
import ssl
import tempfile
import time
from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import yaml

from funclet.errors import Unavailable

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")

TOKEN_LIFE_SECONDS = 60.0
"""How long a token is kept before its file is read again; the kubelet renews it long before it expires."""


class TokenFile(httpx.Auth):
    """A bearer token that is read anew from its file, since projected tokens expire."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._token = ""
        self._read_at = -TOKEN_LIFE_SECONDS

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Add the header, with the token of now."""
        now = time.monotonic()
        if now - self._read_at >= TOKEN_LIFE_SECONDS:
            self._token, self._read_at = self._path.read_text(encoding="utf-8").strip(), now
        request.headers["Authorization"] = f"Bearer {self._token}"
        yield request


@dataclass(frozen=True)
class Access:
    """An address of the API server and what opens it."""

    url: str
    verify: ssl.SSLContext
    auth: httpx.Auth | None = field(default=None, repr=False)
    headers: dict[str, str] = field(default_factory=dict, repr=False)

    def client(self) -> httpx.AsyncClient:
        """A client with this access. Watches set their own read timeout."""
        return httpx.AsyncClient(
            base_url=self.url,
            verify=self.verify,
            auth=self.auth,
            headers=self.headers,
            timeout=httpx.Timeout(30, connect=5),
            trust_env=False,
            limits=httpx.Limits(max_connections=64),
        )


def cluster_access() -> Access:
    """The access of a pod's service account."""
    host, port = os.environ.get("KUBERNETES_SERVICE_HOST"), os.environ.get("KUBERNETES_SERVICE_PORT", "443")
    if not host:
        raise Unavailable("not in a cluster: KUBERNETES_SERVICE_HOST is not set", reason="NoCluster")
    address = f"[{host}]" if ":" in host else host
    verify = ssl.create_default_context(cafile=str(SERVICE_ACCOUNT / "ca.crt"))
    return Access(f"https://{address}:{port}", verify, TokenFile(SERVICE_ACCOUNT / "token"))


def kubeconfig_access(path: str | Path) -> Access:
    """The access of the current context of a kubeconfig file: a client certificate or a token."""
    config = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    context = _named(config["contexts"], config["current-context"])["context"]
    cluster = _named(config["clusters"], context["cluster"])["cluster"]
    user = _named(config["users"], context["user"])["user"]
    verify = ssl.create_default_context(cadata=(_value(cluster, "certificate-authority") or b"").decode() or None)
    if certificate := _value(user, "client-certificate"):
        _load_certificate(verify, certificate, _value(user, "client-key") or b"")
    headers = {"Authorization": f"Bearer {user['token']}"} if "token" in user else {}
    return Access(cluster["server"], verify, None, headers)


def _named(items: list[dict[str, Any]], name: str) -> dict[str, Any]:
    return next(item for item in items if item["name"] == name)


def _value(section: dict[str, Any], name: str) -> bytes | None:
    """A kubeconfig value that is inline (`NAME-data`, base64) or in a file (`NAME`)."""
    if data := section.get(f"{name}-data"):
        return base64.b64decode(data)
    return Path(section[name]).read_bytes() if name in section else None


def _load_certificate(context: ssl.SSLContext, certificate: bytes, key: bytes) -> None:
    """ssl reads a certificate from files alone; these are readable by this user only and gone at once."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(certificate + b"\n" + key)
        file.flush()
        context.load_cert_chain(file.name)
