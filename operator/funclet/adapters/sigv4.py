"""AWS Signature Version 4, checked: whether a request was signed with a key, by botocore's own signer.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv4.html
"""

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from ipaddress import ip_address
from urllib.parse import urlsplit

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from funclet.core.management.refusals import Refusal, denied
from funclet.core.messages import ManagementHead

SKEW_SECONDS = 300
"""AWS: a request must reach it within five minutes of the time that it was signed with."""

_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential="
    r"(?P<key>[^/,\s]+)/(?P<date>\d{8})/(?P<region>[^/,\s]+)/(?P<service>[^/,\s]+)/aws4_request,"
    r"\s*SignedHeaders=(?P<headers>[^,\s]+),\s*Signature=(?P<signature>[0-9a-f]{64})"
)


@dataclass(frozen=True, slots=True)
class Key:
    """What requests are signed with."""

    access_key_id: str
    secret_access_key: str = field(repr=False)


def check_local(head: ManagementHead) -> None:
    """Raises a Refusal for what may come from a web page, which a browser on this machine has open.

    A page can send no header Authorization to another site, and to its own (by a name that leads here: DNS rebinding)
    only under that name.
    """
    read_signature(head.headers)
    host = urlsplit(f"//{head.headers.get('host', '')}").hostname or ""
    if host != "localhost" and not _is_address(host):
        raise denied("AccessDeniedException", f"Host is {host!r}; it must be localhost or an address in local mode")


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def read_signature(headers: Mapping[str, str]) -> re.Match[str]:
    """The parts of the header Authorization. Raises a Refusal without a signature."""
    found = _AUTHORIZATION.fullmatch(headers.get("authorization", ""))
    if found is None:
        raise denied(
            "MissingAuthenticationTokenException",
            "Missing Authentication Token: requests must be signed (AWS Signature Version 4)",
        )
    return found


def check_signature(head: ManagementHead, body: bytes, key: Key, now: datetime) -> None:
    """Raises a Refusal unless the request was signed with this key, a short while ago."""
    given = read_signature(head.headers)
    if not hmac.compare_digest(given["key"].encode(), key.access_key_id.encode()):
        raise denied("UnrecognizedClientException", "The security token included in the request is invalid.")
    _check_time(head.headers.get("x-amz-date", ""), given["date"], now)
    if "host" not in given["headers"].split(";"):
        raise _other_signature("SignedHeaders must name host")
    if head.headers.get("x-amz-content-sha256") not in (None, hashlib.sha256(body).hexdigest()):
        raise _other_signature("X-Amz-Content-Sha256 is not the SHA-256 of the body")
    if not hmac.compare_digest(_expected(head, body, key, given), given["signature"]):
        raise _other_signature("check your AWS secret access key and signing method")


def _expected(head: ManagementHead, body: bytes, key: Key, given: re.Match[str]) -> str:
    headers = {name: head.headers.get(name, "") for name in given["headers"].split(";")}
    request = AWSRequest(head.method, f"http://{head.headers.get('host', '')}{head.url}", headers, data=body)
    request.context["timestamp"] = head.headers["x-amz-date"]
    credentials = Credentials(key.access_key_id, key.secret_access_key)
    signer = SigV4Auth(credentials, given["service"], given["region"])
    text = signer.string_to_sign(request, signer.canonical_request(request))
    return str(signer.signature(text, request))


def _check_time(stamp: str, date: str, now: datetime) -> None:
    try:
        signed = datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        raise _other_signature(f"X-Amz-Date is {stamp!r}; it must be a time such as 20240503T090000Z") from None
    if abs((now - signed).total_seconds()) > SKEW_SECONDS or not stamp.startswith(date):
        raise denied(
            "InvalidSignatureException",
            f"Signature expired or not yet current: it is of {stamp}, and the time is {now:%Y%m%dT%H%M%SZ}",
        )


def _other_signature(why: str) -> Refusal:
    return denied(
        "InvalidSignatureException",
        f"The request signature we calculated does not match the signature you provided: {why}.",
    )
