"""The gateway and the real agent: what the one sends is what the other understands."""

import asyncio
import hashlib
import io
import json
import os
import sys
import zipfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
from tests.adapters.gateway_world import make_revision, running

from funclet.core.messages import InstanceAddress, Ready, Specialisation
from funclet.gateway.limits import Limits

AGENT = Path(__file__).parents[2] / "runtime-image" / "funclet_agent"
CODE = """
import gc, mmap, os, time
from funclet_agent.state import State
def handler(event, context):
    if event == "sleep":
        time.sleep(30)  # beyond its timeout, which ends it
    if event == "hide":  # from the agent: it says in the shared memory that it is idle
        for page in gc.get_objects():
            if isinstance(page, mmap.mmap):
                page[0] = 0
        time.sleep(30)
    if event == "die":
        os._exit(3)
    if event == "lose":  # the next invocation, before it begins
        State.begin = lambda *_: os.kill(os.getpid(), 9)
    if event == "raise":
        raise KeyError("no")
    return [event, context.aws_request_id]
"""


@asynccontextmanager
async def specialised(folder: Path) -> AsyncIterator[InstanceAddress]:
    """An agent with CODE in one slot and a timeout of one second."""
    reader, writer = os.pipe()
    digest = hashlib.sha256(b"t").hexdigest()
    settings = {
        "INSTANCE_NAME": "i1", "SPECIALISE_TOKEN_SHA256": digest, "INVOKE_TOKEN_SHA256": digest, "AGENT_PORT": "0",
        "SLOT_PORT": "0", "BIND": "127.0.0.1", "TASK_ROOT": str(folder), "READY_FD": str(writer),
    }  # fmt: skip
    environment = {**os.environ, **{f"FUNCLET_{name}": value for name, value in settings.items()}}
    process = await asyncio.create_subprocess_exec(sys.executable, str(AGENT), env=environment, pass_fds=[writer])
    os.close(writer)
    with os.fdopen(reader) as ready:
        port = int(await asyncio.to_thread(ready.readline))
    try:
        yield await specialise(port)
    finally:
        process.terminate()
        await process.wait()


async def specialise(port: int) -> InstanceAddress:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as package:
        package.writestr("index.py", CODE)
    head = Specialisation(
        function="default/hello", revision="r1", runtime="python3.11", handler="index.handler", timeout_seconds=1,
        memory_mib=128, concurrency=1, environment={},
        function_arn="arn:aws:lambda:us-east-1:000000000000:function:hello",
        function_version="$LATEST", region="us-east-1", log_format="Text",
    ).model_dump_json().encode()  # fmt: skip
    body = len(head).to_bytes(4, "big") + head + archive.getvalue()
    async with httpx.AsyncClient() as client:
        url = f"http://127.0.0.1:{port}/v1/specialise"
        answer = await client.post(url, content=body, headers={"x-funclet-token": "t"}, timeout=60)
    slots = answer.raise_for_status().json()["slots"]
    return InstanceAddress(name="i1", function="default/hello", revision="r1", host="127.0.0.1", slots=slots, token="t")


async def test_the_real_agent_behind_the_gateway(tmp_path: Path) -> None:
    async with specialised(tmp_path / "task") as address, running() as world:
        world.catalog.put(make_revision(timeout=1))
        world.scaler.say(Ready(instance=address))
        cold = await world.invoke("ü", x_amz_log_type="Tail")
        assert cold.json() == ["ü", cold.headers["x-amzn-requestid"]]
        assert cold.headers["x-funclet-cold-start"] == "true"
        assert cold.headers["x-amz-log-result"]
        warm = await world.invoke(2)
        assert warm.json()[0] == 2
        assert "x-funclet-init-ms" not in warm.headers
        errors = {}
        for event in ("raise", "sleep", "die"):
            answer = await world.invoke(event)
            assert answer.headers["x-amz-function-error"] == "Unhandled"
            errors[event] = json.loads(answer.content).get("errorType")
            assert (await world.invoke(3)).json()[0] == 3
        assert errors == {"raise": "KeyError", "sleep": "Sandbox.Timedout", "die": "Runtime.ExitError"}


async def test_a_call_that_is_lost_before_it_begins_is_the_next_processs(tmp_path: Path) -> None:
    async with specialised(tmp_path / "task") as address, running() as world:
        world.catalog.put(make_revision(timeout=1))
        world.scaler.say(Ready(instance=address))
        assert (await world.invoke("lose")).json()[0] == "lose"
        answer = await world.invoke(2)
        assert (answer.json()[0], answer.headers.get("x-amz-function-error")) == (2, None)


async def test_a_handler_that_hides_from_its_agent_does_not_hide_from_the_gateway(tmp_path: Path) -> None:
    async with specialised(tmp_path / "task") as address, running(Limits(guard_seconds=0.5)) as world:
        world.catalog.put(make_revision(timeout=1))
        world.scaler.say(Ready(instance=address))
        assert (await world.invoke(1)).json()[0] == 1
        answer = await world.invoke("hide")
        assert answer.headers["x-amz-function-error"] == "Unhandled"
        assert answer.json()["errorType"] == "Sandbox.Timedout"
        assert int(answer.headers["x-funclet-billed-ms"]) >= 1000
