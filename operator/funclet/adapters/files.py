"""Resources of a folder of YAML files: what `funclet local` has in place of a Kubernetes API server."""

import asyncio
import base64
import logging
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from watchfiles import awatch

from funclet.adapters.code_directory import is_code
from funclet.adapters.local_content import code_folder, code_mark, content_of
from funclet.adapters.manifests import Manifest, read_manifests
from funclet.adapters.resources import DELETED, SYNCED, UPSERTED, ConfigMapData, Owner, ResourceEvent, SecretData
from funclet.errors import Conflict

logger = logging.getLogger(__name__)

DEBOUNCE_MS = 20
"""An editor's rename and write are one change; a person does not notice the wait."""

LOOK_AGAIN_MS = 1000
"""Files are looked at this often besides: a change in the moment in which watches are set up is found then."""

SETTLED_NS = 2_000_000_000
"""A file that was changed longer ago than this is what its time says. Times have steps, of 10 ms and more: two changes
can have the same one, and between the two a file may have been read."""

Identity = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Stored:
    """A resource as it is served, and the content that it was made from."""

    file: Path
    content: dict[str, Any]
    resource: dict[str, Any]


class FileResources:
    """The protocol Resources over YAML files, which are followed while anybody watches.

    `on_problem` hears of each mistake once, until it is mended.
    """

    def __init__(self, paths: Iterable[str | Path], on_problem: Callable[[str], None] = lambda _: None) -> None:
        self._paths = [Path(path) for path in paths]
        self._on_problem = on_problem
        self._reported: set[str] = set()
        self._stored: dict[Identity, Stored] = {}
        self._read: dict[Path, tuple[tuple[int, int] | None, list[Manifest]]] = {}
        self._queues: dict[str, list[asyncio.Queue[ResourceEvent]]] = {}
        self._version = 0
        self._loaded = False
        self._folders: frozenset[Path] = frozenset()
        self._folders_changed = asyncio.Event()
        self._follower: asyncio.Task[None] | None = None

    @property
    def stored(self) -> Mapping[Identity, Stored]:
        """All that there is, as it was read last, by kind and key."""
        if not self._loaded:
            self.load()
        return self._stored

    def load(self) -> None:
        """Read what changed since the last time, and tell the watches."""
        self._loaded = True
        manifests = [manifest for file in self._files() for manifest in self._manifests(file)]
        wanted, ignored = _first_of_each(manifests)
        self._report([*(problem for manifest in manifests for problem in manifest.problems), *ignored])
        for identity in self._stored.keys() - wanted.keys() - self._kept(manifests):
            self._delete(identity)
        for identity, manifest in wanted.items():
            self._upsert(identity, manifest)
        self._note_folders()

    async def watch(self, kind: str, *, label_selector: str = "") -> AsyncIterator[ResourceEvent]:
        """Follow all objects of a kind. Labels are not selected by: local mode has no pods, which alone are."""
        if not self._loaded:
            self.load()
        self._follower = self._follower or asyncio.create_task(self._follow())
        queue: asyncio.Queue[ResourceEvent] = asyncio.Queue()
        for (stored_kind, _), stored in self._stored.items():
            if stored_kind == kind:
                queue.put_nowait(ResourceEvent(UPSERTED, stored.resource))
        queue.put_nowait(ResourceEvent(SYNCED))
        self._queues.setdefault(kind, []).append(queue)
        try:
            while True:
                yield await queue.get()
        finally:
            self._queues[kind].remove(queue)
            self._rest()

    async def patch_status(
        self, kind: str, namespace: str, name: str, status: dict[str, Any], *, owner: str = "control"
    ) -> None:
        """Set fields of the status, in memory. Each owner sets all of its fields each time."""
        identity = (kind, f"{namespace}/{name}")
        stored = self._stored.get(identity)
        if stored is None:
            raise Conflict(f"{kind} {namespace}/{name} is gone", reason="NotFound")
        metadata = {**stored.resource["metadata"], "resourceVersion": self._next_version()}
        merged = {**stored.resource.get("status", {}), **status}
        self._store(
            identity, Stored(stored.file, stored.content, {**stored.resource, "metadata": metadata, "status": merged})
        )

    async def find_generation(self, kind: str, namespace: str, name: str) -> int | None:
        """Of what was read last."""
        stored = self._stored.get((kind, f"{namespace}/{name}"))
        return None if stored is None else int(stored.resource["metadata"]["generation"])

    async def set_owner(self, kind: str, namespace: str, name: str, uid: str, owner: Owner) -> None:
        """Nothing is deleted with its owner: what is in the files is there."""

    async def hold(self, kind: str, namespace: str, name: str, uid: str, *, held: bool) -> None:
        """Nothing is held: what is not in the files is not there."""

    async def find_secret(self, namespace: str, name: str) -> SecretData | None:
        """The Secret of the files."""
        stored = self._stored.get(("Secret", f"{namespace}/{name}"))
        if stored is None:
            return None
        plain = {key: value.encode() for key, value in (stored.content.get("stringData") or {}).items()}
        return SecretData(
            {**_decoded(stored.content.get("data")), **plain}, stored.resource["metadata"]["resourceVersion"]
        )

    async def find_config_map(self, namespace: str, name: str) -> ConfigMapData | None:
        """The ConfigMap of the files."""
        stored = self._stored.get(("ConfigMap", f"{namespace}/{name}"))
        if stored is None:
            return None
        binary = _decoded(stored.content.get("binaryData"))
        return ConfigMapData(stored.content.get("data") or {}, binary, stored.resource["metadata"]["resourceVersion"])

    def _files(self) -> list[Path]:
        """The YAML files: those named, and those directly in the folders named, as kubectl apply takes them."""
        files: list[Path] = []
        for path in self._paths:
            files += sorted(f for f in path.iterdir() if _is_yaml(f)) if path.is_dir() else [path]
        return files

    def _manifests(self, file: Path) -> list[Manifest]:
        """The documents of a file, from memory as long as the file is the same.

        Who saves a file empties it first: one that has just become empty is still being written.
        """
        try:
            stat = file.stat()
            mark = (stat.st_mtime_ns, stat.st_size)
        except OSError:
            mark = (0, 0)
        is_settled = time.time_ns() - mark[0] > SETTLED_NS
        before = self._read.get(file)
        if before is None or (before[0] != mark and (mark[1] or is_settled)):
            self._read[file] = before = (mark if is_settled else None, read_manifests(file))
        return before[1]

    def _report(self, problems: Iterable[str]) -> None:
        now = list(dict.fromkeys(problems))
        for problem in now:
            if problem not in self._reported:
                self._on_problem(problem)
        self._reported = set(now)

    def _kept(self, manifests: list[Manifest]) -> set[Identity]:
        """What stays although its document is wrong now: by name, or all of a file where a name can't be read."""
        wrong = [manifest for manifest in manifests if manifest.problems]
        unreadable = {manifest.file for manifest in wrong if not manifest.name and manifest.file.exists()}
        named = {manifest.identity for manifest in wrong}
        return named | {identity for identity, stored in self._stored.items() if stored.file in unreadable}

    def _delete(self, identity: Identity) -> None:
        metadata = self._stored.pop(identity).resource["metadata"]
        gone = {name: metadata[name] for name in ("namespace", "name", "uid")}
        self._emit(identity[0], ResourceEvent(DELETED, {"metadata": gone}))

    def _upsert(self, identity: Identity, manifest: Manifest) -> None:
        content = content_of(manifest)
        before = self._stored.get(identity)
        if before is not None and before.content == content:
            return
        self._store(identity, Stored(manifest.file, content, self._resource(identity, manifest, content, before)))

    def _resource(
        self, identity: Identity, manifest: Manifest, content: dict[str, Any], before: Stored | None
    ) -> dict[str, Any]:
        """The content with the metadata that an API server would give it; the status stays as it was."""
        old = before.resource if before else {"metadata": {}}
        changed = (
            before is None
            or before.content.get("spec") != content.get("spec")
            or code_mark(before.content) != code_mark(content)
        )
        now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        metadata = {
            **content["metadata"],
            "namespace": manifest.namespace,
            "uid": str(uuid.uuid5(uuid.NAMESPACE_URL, f"{manifest.file.resolve()}#{'/'.join(identity)}")),
            "generation": old["metadata"].get("generation", 0) + changed,
            "resourceVersion": self._next_version(),
            "creationTimestamp": old["metadata"].get("creationTimestamp", now),
        }
        status = {"status": old["status"]} if "status" in old else {}
        public = {name: value for name, value in content.items() if name not in ("data", "stringData", "binaryData")}
        return {**public, "metadata": metadata, **status}

    def _store(self, identity: Identity, stored: Stored) -> None:
        self._stored[identity] = stored
        self._emit(identity[0], ResourceEvent(UPSERTED, stored.resource))

    def _emit(self, kind: str, event: ResourceEvent) -> None:
        for queue in self._queues.get(kind, []):
            queue.put_nowait(event)

    def _next_version(self) -> str:
        self._version += 1
        return str(self._version)

    def _note_folders(self) -> None:
        found = (code_folder(stored.content) for stored in self._stored.values())
        folders = frozenset(folder for folder in found if folder and folder.is_dir())
        if folders != self._folders:
            self._folders = folders
            self._folders_changed.set()

    def _rest(self) -> None:
        """Follow no files while nobody watches."""
        if self._follower and not any(self._queues.values()):
            self._follower.cancel()
            self._follower = None

    async def _follow(self) -> None:
        while True:
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._follow_files())
                    group.create_task(self._follow_folders())
            except* OSError as errors:  # a folder went away while it was read
                logger.warning("files cannot be followed", extra={"error": str(errors.exceptions[0])})
            await asyncio.sleep(LOOK_AGAIN_MS / 1000)

    async def _follow_files(self) -> None:
        roots = {path if path.is_dir() else path.absolute().parent for path in self._paths}
        async for _ in awatch(*roots, recursive=False, **_WATCH):
            self.load()

    async def _follow_folders(self) -> None:
        while True:
            self._folders_changed.clear()
            if not self._folders:
                await self._folders_changed.wait()
                continue
            stop, folders = self._folders_changed, self._folders
            async for _ in awatch(*folders, watch_filter=_is_code_change, stop_event=stop, **_WATCH):
                self.load()


_WATCH: dict[str, Any] = {
    "debounce": DEBOUNCE_MS,
    "step": DEBOUNCE_MS // 2,
    "rust_timeout": LOOK_AGAIN_MS,
    "yield_on_timeout": True,
}


def _first_of_each(manifests: list[Manifest]) -> tuple[dict[Identity, Manifest], list[str]]:
    """What is right, once each, and a problem for each that comes a second time."""
    wanted: dict[Identity, Manifest] = {}
    problems: list[str] = []
    for manifest in manifests:
        if not manifest.problems and wanted.setdefault(manifest.identity, manifest) is not manifest:
            first = wanted[manifest.identity]
            title = f"{manifest.file}:{manifest.line}: {manifest.kind}/{manifest.name}"
            problems.append(f"{title}: ignored: it is at {first.file}:{first.line} already")
    return wanted, problems


def _is_yaml(file: Path) -> bool:
    return file.suffix in (".yaml", ".yml") and not file.name.startswith(".") and file.is_file()


def _is_code_change(_: Any, path: str) -> bool:
    return is_code(Path(Path(path).name)) and "__pycache__" not in path


def _decoded(values: dict[str, str] | None) -> dict[str, bytes]:
    return {name: base64.b64decode(value) for name, value in (values or {}).items()}
