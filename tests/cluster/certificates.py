"""The cluster's certificates: one authority, made anew by each `up`, with the openssl program."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.cluster import configuration
from tests.cluster.steps import run

if TYPE_CHECKING:
    from pathlib import Path

EXTENSIONS = """\
[req]
distinguished_name = empty
[empty]
[authority]
basicConstraints = critical, CA:true
keyUsage = critical, keyCertSign, cRLSign, digitalSignature
subjectKeyIdentifier = hash
[leaf]
basicConstraints = critical, CA:false
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth, clientAuth
"""
DAYS = "3650"


@dataclass(frozen=True)
class Certificate:
    """A key pair that the authority signs: the user (common name) and group (organisation) it stands for."""

    name: str
    user: str
    group: str | None = None
    names: tuple[str, ...] = ()

    @property
    def subject(self) -> str:
        return (f"/O={self.group}" if self.group else "") + f"/CN={self.user}"


CERTIFICATES = (
    Certificate("apiserver", "kube-apiserver", names=configuration.API_SERVER_NAMES),
    Certificate(
        "kubelet",
        f"system:node:{configuration.NODE_NAME}",
        "system:nodes",
        (f"DNS:{configuration.NODE_NAME}", f"IP:{configuration.NODE_ADDRESS}"),
    ),
    Certificate("controller-manager", "system:kube-controller-manager"),
    Certificate("scheduler", "system:kube-scheduler"),
    Certificate("proxy", "system:kube-proxy"),
    Certificate("admin", "admin", "system:masters"),
)


def request(certificate: Certificate) -> list[str]:
    """The openssl command that makes this key pair, in the folder of the authority's."""
    names = ["-addext", f"subjectAltName={','.join(certificate.names)}"] if certificate.names else []
    return [
        *("openssl", "req", "-x509", "-config", "openssl.cnf", "-extensions", "leaf", "-days", DAYS, "-noenc"),
        *("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-CA", "ca.crt", "-CAkey", "ca.key"),
        *("-subj", certificate.subject, *names),
        *("-keyout", f"{certificate.name}.key", "-out", f"{certificate.name}.crt"),
    ]


def issue(folder: Path) -> None:
    """Writes each certificate's NAME.key and NAME.crt, the authority's ca.*, and the service accounts' key pair."""
    folder.mkdir(mode=0o700)
    (folder / "openssl.cnf").write_text(EXTENSIONS)
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc")
    authority = ("openssl", "req", "-x509", "-config", "openssl.cnf", "-extensions", "authority", "-days", DAYS)
    run([*authority, *curve, "-subj", "/CN=funclet-tests", "-keyout", "ca.key", "-out", "ca.crt"], folder=folder)
    run(["openssl", "genrsa", "-out", "service-accounts.key", "2048"], folder=folder)
    run(["openssl", "rsa", "-in", "service-accounts.key", "-pubout", "-out", "service-accounts.pub"], folder=folder)
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda certificate: run(request(certificate), folder=folder), CERTIFICATES))
