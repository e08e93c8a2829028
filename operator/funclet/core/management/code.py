"""The code that a request brings, and how a Function refers to it."""

import base64
import binascii
from collections.abc import Mapping
from typing import Any

from funclet.core.archive import inspect
from funclet.core.lambda_api import LambdaError
from funclet.core.management.refusals import Refusal, invalid, not_there
from funclet.errors import InvalidSpec

ZIP_LIMIT_BYTES = 50 * 1024 * 1024
"""Lambda's quota "Deployment package (.zip file archive) size": 50 MB (zipped, for direct upload)."""


def read_code(params: Mapping[str, Any], prefix: str = "") -> bytes | str:
    """An archive, or the address of an image. `prefix` is where the parameters are: `Code.`, or nothing."""
    if any(params.get(name) for name in ("S3Bucket", "S3Key", "S3ObjectVersion")):
        raise not_there(f"{prefix}S3Bucket", f"give the archive itself in {prefix}ZipFile, or code.url in the resource")
    archive, uri = params.get("ZipFile"), params.get("ImageUri")
    if (archive is None) == (uri is None):
        raise invalid(f"Exactly one of {prefix}ZipFile and {prefix}ImageUri must be given")
    return str(uri) if archive is None else read_archive(archive, f"{prefix}ZipFile")


def read_archive(text: str, parameter: str) -> bytes:
    """A zip archive, which has come as base64."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise invalid(f"{parameter} must be base64 of a zip archive: {error}") from error
    if len(data) > ZIP_LIMIT_BYTES:
        message = f"{parameter} has {len(data)} bytes; at most {ZIP_LIMIT_BYTES} are allowed"
        raise Refusal(LambdaError(413, "RequestTooLargeException", message, text_member="message"))
    try:
        inspect(data)
    except InvalidSpec as error:
        raise invalid(f"Could not unzip uploaded file ({parameter}): {error.message}") from error
    return data


def reference_to(code: bytes | str, sha256: str) -> dict[str, str]:
    """`spec.code` for it; `sha256` is the archive's in the package store."""
    return {"imageUri": code} if isinstance(code, str) else {"packageSha256": sha256}


def to_base64(sha256: str) -> str:
    """A digest as Lambda shows it."""
    return base64.b64encode(bytes.fromhex(sha256)).decode()


def to_hex(parameter: str, digest: str) -> str:
    """A digest as the resources have it."""
    try:
        found = base64.b64decode(digest, validate=True)
    except (binascii.Error, ValueError):
        found = b""
    if len(found) != 32:
        raise invalid(f"{parameter} is {digest}; it must be base64 of a SHA-256, as CodeSha256 of GetFunction is")
    return found.hex()
