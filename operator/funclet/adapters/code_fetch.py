"""A function's code, from wherever its spec says, as a zip archive."""

import asyncio
import base64
import binascii
import hashlib
from pathlib import Path
from typing import Protocol

import httpx

from funclet.adapters.code_directory import read_directory
from funclet.adapters.resources import Resources
from funclet.api.code import Code, KeyReference, Layer
from funclet.api.function import Function
from funclet.core.archive import PACKED_LIMIT_BYTES, check_names, pack
from funclet.core.runtimes import inline_name
from funclet.errors import InvalidSpec, Unavailable

DOWNLOAD_SECONDS = 120.0
"""For one whole archive; it is tried again later."""

REDIRECTS = 5


class Packages(Protocol):
    """The package store as control sees it (adapters/packages.py)."""

    async def put(self, data: bytes) -> str:
        """Keep a package; returns its SHA-256."""

    async def get(self, sha256: str) -> bytes:
        """The package of this digest."""

    async def has(self, sha256: str) -> bool:
        """Whether it is there."""


class CodeFetcher:
    """Gathers code. `directories`: whether this machine's folders may be read, which is so in local mode alone."""

    def __init__(self, resources: Resources, packages: Packages, *, directories: bool = False) -> None:
        self._resources = resources
        self._packages = packages
        self._directories = directories

    async def fetch(self, function: Function) -> bytes:
        """The code's archive. Raises InvalidSpec for what the author must change, Unavailable for what may pass."""
        code = function.spec.code
        if code.inline is not None:
            assert function.spec.runtime is not None
            assert function.spec.handler is not None
            name = inline_name(function.spec.runtime, function.spec.handler, code.inline)
            return pack({name: code.inline.encode()})
        if code.package_sha256 is not None:
            return await self._from_store(code.package_sha256)
        return await self._fetch(code, function.metadata.namespace)

    async def fetch_layers(self, function: Function) -> list[bytes]:
        """The layers' archives, in their order; raises as `fetch` does."""
        return [await self._fetch(layer, function.metadata.namespace) for layer in function.spec.layers]

    async def _fetch(self, source: Code | Layer, namespace: str) -> bytes:
        if source.files is not None:
            check_names(list(source.files))
            return pack({name: text.encode() for name, text in source.files.items()})
        if source.directory is not None:
            return await self._from_directory(source.directory)
        if source.config_map is not None:
            return await self._from_config_map(namespace, source.config_map)
        assert source.url is not None
        assert source.sha256 is not None
        return await self._from_url(source.url, source.sha256)

    async def _from_store(self, sha256: str) -> bytes:
        if not await self._packages.has(sha256):
            raise InvalidSpec(
                f"there is no package {sha256} in the package store: give the code anew (UpdateFunctionCode), "
                "or change code.packageSha256",
                reason="CodeNotFound",
            )
        return await self._packages.get(sha256)

    async def _from_directory(self, directory: str) -> bytes:
        if not self._directories:
            raise InvalidSpec(
                "code: a directory is read by `funclet local` alone; on a cluster use files, configMap or url",
                reason="InvalidCode",
            )
        return await asyncio.to_thread(lambda: pack(read_directory(Path(directory))))

    async def _from_config_map(self, namespace: str, reference: KeyReference) -> bytes:
        found = await self._resources.find_config_map(namespace, reference.name)
        if found is None:
            raise InvalidSpec(
                f"there is no ConfigMap {reference.name}: create it, or change code.configMap", reason="CodeNotFound"
            )
        if reference.key in found.binary_data:
            return found.binary_data[reference.key]
        if reference.key not in found.data:
            raise InvalidSpec(
                f"the ConfigMap {reference.name} has no key {reference.key}: add it, or change code.configMap.key",
                reason="CodeNotFound",
            )
        return _from_base64(reference, found.data[reference.key])

    async def _from_url(self, url: str, sha256: str) -> bytes:
        """The archive with this digest; one that is in the store already is not downloaded again."""
        if await self._packages.has(sha256):
            return await self._packages.get(sha256)
        data = await download(url)
        found = hashlib.sha256(data).hexdigest()
        if found != sha256:
            raise InvalidSpec(
                f"{url} has the SHA-256 {found}, not {sha256}: set code.sha256 to the archive's digest",
                reason="DigestMismatch",
            )
        return data


def _from_base64(reference: KeyReference, text: str) -> bytes:
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except binascii.Error as error:
        raise InvalidSpec(
            f"the key {reference.key} of ConfigMap {reference.name} is in data and is not base64: "
            "put the archive into binaryData (kubectl create configmap --from-file)",
            reason="InvalidCode",
        ) from error


async def download(url: str) -> bytes:
    """The body at an address. Raises Unavailable(CodeUnreachable), or InvalidSpec when it is too large."""
    try:
        async with asyncio.timeout(DOWNLOAD_SECONDS):
            return await _download(url)
    except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
        raise Unavailable(f"{url}: {error or type(error).__name__}", reason="CodeUnreachable") from error


async def _download(url: str) -> bytes:
    body = bytearray()
    async with (
        httpx.AsyncClient(follow_redirects=True, max_redirects=REDIRECTS, timeout=30) as client,
        client.stream("GET", url) as response,
    ):
        response.raise_for_status()
        async for chunk in response.aiter_bytes():
            body += chunk
            if len(body) > PACKED_LIMIT_BYTES:
                raise InvalidSpec(f"{url} is larger than {PACKED_LIMIT_BYTES // 2**20} MiB", reason="InvalidCode")
    return bytes(body)
