"""The reconciler over YAML files and a real package store: every source of code, every reason, and recovery."""

import asyncio
import base64
import hashlib
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from tests.adapters.control_world import World, running

from funclet.core.archive import inspect, pack

ZIP = pack({"index.py": b"def h(event, context): return 1"})
OTHER = pack({"index.py": b"other"})


@pytest.fixture
async def world(tmp_path: Path, nats_url: str) -> AsyncIterator[World]:
    async with running(tmp_path, nats_url) as world:
        yield world


@pytest.fixture
async def server() -> AsyncIterator[str]:
    """A web server with one archive."""
    app = web.Application()

    async def archive(_: web.Request) -> web.Response:
        return web.Response(body=ZIP)

    app.router.add_get("/code.zip", archive)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


async def package_of(world: World, name: str) -> bytes:
    await world.reason("Function", name, "Resolved")
    return await world.packages.get(world.statuses["Function", name]["active"]["codeSha256"])


async def test_code_from_every_source(world: World, server: str) -> None:
    (world.folder / "src").mkdir()
    (world.folder / "src" / "index.py").write_text("x")
    world.write("ConfigMap", "zips", binaryData={"a": base64.b64encode(ZIP).decode()})
    world.write("ConfigMap", "texts", data={"a": base64.b64encode(OTHER).decode()})
    world.function("inline", {"inline": "x"}, handler="app.main.h")
    world.function("files", {"files": {"index.py": "x", "lib/a.py": "y"}})
    world.function("folder", {"directory": "src"})
    world.function("binary", {"configMap": {"name": "zips", "key": "a"}})
    world.function("text", {"configMap": {"name": "texts", "key": "a"}})
    world.function("url", {"url": f"{server}/code.zip", "sha256": hashlib.sha256(ZIP).hexdigest()})
    assert inspect(await package_of(world, "inline")).names == {"app/main.py"}
    assert inspect(await package_of(world, "files")).names == {"index.py", "lib/a.py"}
    assert inspect(await package_of(world, "folder")).names == {"index.py"}
    assert await package_of(world, "binary") == ZIP
    assert await package_of(world, "text") == OTHER
    assert await package_of(world, "url") == ZIP


async def test_bad_code_says_what_to_do(world: World, server: str) -> None:
    world.write("ConfigMap", "bad", binaryData={"a": base64.b64encode(b"no zip").decode()}, data={"t": "no base64!"})
    world.function("nozip", {"configMap": {"name": "bad", "key": "a"}})
    world.function("notext", {"configMap": {"name": "bad", "key": "t"}})
    world.function("nokey", {"configMap": {"name": "bad", "key": "x"}})
    world.function("nomap", {"configMap": {"name": "none", "key": "x"}})
    world.function("nofolder", {"directory": "none"})
    world.function("nohandler", {"files": {"main.py": "x"}})
    world.function("digest", {"url": f"{server}/code.zip", "sha256": "0" * 64})
    world.function("absent", {"url": f"{server}/none.zip", "sha256": "1" * 64})
    assert "not a zip archive" in await world.reason("Function", "nozip", "InvalidCode")
    assert "is not base64" in await world.reason("Function", "notext", "InvalidCode")
    assert "has no key x" in await world.reason("Function", "nokey", "CodeNotFound")
    assert "there is no ConfigMap none" in await world.reason("Function", "nomap", "CodeNotFound")
    assert "there is no folder" in await world.reason("Function", "nofolder", "CodeNotFound")
    assert "needs index.py" in await world.reason("Function", "nohandler", "InvalidCode")
    assert hashlib.sha256(ZIP).hexdigest() in await world.reason("Function", "digest", "DigestMismatch")
    assert "404" in await world.reason("Function", "absent", "CodeUnreachable")


async def test_what_appears_mends_what_missed_it(world: World) -> None:
    world.trigger("web", "hello", "/a")
    await world.reason("Trigger", "web", "FunctionNotFound")
    secrets = {"secrets": {"A": {"name": "keys", "key": "a"}}}
    world.function("hello", {"configMap": {"name": "zips", "key": "a"}}, environment=secrets)
    await world.reason("Function", "hello", "CodeNotFound")
    await world.reason("Trigger", "web", "FunctionNotReady")
    world.write("ConfigMap", "zips", binaryData={"a": base64.b64encode(ZIP).decode()})
    assert "there is no Secret keys" in await world.reason("Function", "hello", "SecretNotFound")
    world.write("Secret", "keys", stringData={"a": "1"})
    await world.reason("Function", "hello", "Resolved")
    await world.reason("Trigger", "web", "Resolved")
    (world.folder / "Function-hello.yaml").unlink()
    await world.reason("Trigger", "web", "FunctionNotFound")


async def test_a_bad_change_leaves_what_was_served(world: World) -> None:
    world.function("hello", {"inline": "x"})
    await world.reason("Function", "hello", "Resolved")
    first = world.statuses["Function", "hello"]["active"]
    world.function("hello", {"files": {"other.py": "x"}}, memorySize=512)
    await world.reason("Function", "hello", "InvalidCode")
    assert world.statuses["Function", "hello"]["active"] == first
    assert world.catalog.functions["default/hello"].memory_mib == 128


async def test_a_changed_secret_is_another_revision(world: World) -> None:
    world.write("Secret", "keys", stringData={"a": "1"})
    world.function("hello", {"inline": "x"}, environment={"secrets": {"A": {"name": "keys", "key": "a"}}})
    await world.reason("Function", "hello", "Resolved")
    first = world.statuses["Function", "hello"]["active"]["revision"]
    world.write("Secret", "keys", stringData={"a": "2"})
    async with asyncio.timeout(60):
        while world.statuses["Function", "hello"]["active"]["revision"] == first:
            await asyncio.sleep(0.01)


async def test_the_route_goes_to_the_next_when_its_holder_leaves(world: World) -> None:
    world.function("hello", {"inline": "x"})
    world.trigger("a", "hello", "/x/{id}")
    await world.reason("Trigger", "a", "Resolved")
    world.trigger("b", "hello", "/x/{name}")
    assert "default/a" in await world.reason("Trigger", "b", "RouteConflict")
    world.trigger("a", "hello", "/y")
    await world.reason("Trigger", "b", "Resolved")


async def test_a_trigger_says_that_its_stream_is_missing_and_recovers(world: World) -> None:
    stream = f"ORDERS-{uuid.uuid4().hex[:8]}"
    world.function("hello", {"inline": "x"})
    source = {"stream": stream, "deadLetterSubject": f"{stream}.dead"}
    world.write("Trigger", "queue", spec={"function": {"name": "hello"}, "jetstream": source})
    message = await world.reason("Trigger", "queue", "StreamNotFound")
    assert message == f"there is no stream {stream}: create it, or change spec.jetstream.stream"
    await world.client.jetstream().add_stream(name=stream, subjects=[f"{stream}.>"])
    message = await world.reason("Trigger", "queue", "DeadLetterLoop")
    assert "choose a subject that this Trigger does not read" in message
    source = {"stream": stream, "deadLetterSubject": f"{stream}-dead.letters"}
    world.write("Trigger", "queue", spec={"function": {"name": "hello"}, "jetstream": source})
    await world.reason("Trigger", "queue", "Resolved")
