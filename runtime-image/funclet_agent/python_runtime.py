"""A runtime client for Python functions that cannot be forked from the agent: with extensions or a wrapper script.

The same handler, event, context and errors as in a handler process, over the Lambda Runtime API.
"""

import http.client
import json
import os
import sys
import time
from typing import Any

from funclet_agent import environment, logging_setup, streaming
from funclet_agent.context import ClientContext, FunctionFacts, LambdaContext
from funclet_agent.failures import Failure, InitError, description, exception_failure
from funclet_agent.loading import Handler, load_handler
from funclet_agent.marshalling import MarshalError, read_event, write_answer
from funclet_agent.places import Places

BASE = "/2018-06-01/runtime"


class Runtime:
    """The loop of one process."""

    def __init__(self, handler: str) -> None:
        self.request_id = ""
        self._handler_name = handler
        self._api = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])

    def run(self) -> None:
        """Until the process is ended."""
        try:
            handler = load_handler(self._handler_name)
        except InitError as error:
            print(description(error.failure), end="")
            self._call("POST", "/init/error", error.failure)
            sys.exit(1)
        while True:
            self._serve(handler)

    def _serve(self, handler: Handler) -> None:
        headers, body = self._call("GET", "/invocation/next")
        self.request_id = headers["Lambda-Runtime-Aws-Request-Id"]
        os.environ["_X_AMZN_TRACE_ID"] = headers.get("Lambda-Runtime-Trace-Id", "")
        path = f"/invocation/{self.request_id}"
        try:
            answer = handler(read_event(body), _context(self.request_id, headers))
            data = streaming.collect(answer) if hasattr(answer, "__next__") else write_answer(answer)
        except MarshalError as error:
            self._fail(path, error.failure)
        except Exception as error:  # noqa: BLE001  whatever the function raises is an answer
            self._fail(path, exception_failure(error))
        else:
            self._call("POST", f"{path}/response", data)

    def _fail(self, path: str, failure: Failure) -> None:
        print(description(failure), end="")
        self._call("POST", f"{path}/error", {**failure, "requestId": self.request_id})

    def _call(self, method: str, path: str, content: Failure | bytes = b"") -> tuple[http.client.HTTPMessage, bytes]:
        kind = {"Lambda-Runtime-Function-Error-Type": content["errorType"]} if isinstance(content, dict) else {}
        body = json.dumps(content).encode() if isinstance(content, dict) else content
        self._api.request(method, BASE + path, body or None, kind)
        answer = self._api.getresponse()
        return answer.headers, answer.read()


class Identity:
    """Which function this is, from the environment that its specialisation has become."""

    def __init__(self, arn: str) -> None:
        self.name = os.environ["AWS_LAMBDA_FUNCTION_NAME"]
        self.function_version = os.environ["AWS_LAMBDA_FUNCTION_VERSION"]
        self.function_arn = arn
        self.memory_mib = int(os.environ["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"])


def _context(request_id: str, headers: http.client.HTTPMessage) -> LambdaContext:
    identity = Identity(headers["Lambda-Runtime-Invoked-Function-Arn"])
    facts = FunctionFacts(identity, os.environ["AWS_LAMBDA_LOG_STREAM_NAME"])
    left_ns = int(headers["Lambda-Runtime-Deadline-Ms"]) * 1_000_000 - time.time_ns()
    content: Any = json.loads(headers.get("Lambda-Runtime-Client-Context") or "null")
    client = ClientContext(content) if isinstance(content, dict) else None
    return LambdaContext(facts, request_id, time.monotonic_ns() + left_ns, client)


def main(task: str, opt: str, runtime: str) -> None:
    """Run the function that the environment names."""
    environment.enter(dict(os.environ), Places(task, opt, runtime))
    loop = Runtime(os.environ["_HANDLER"])
    logging_setup.install(os.environ["AWS_LAMBDA_LOG_FORMAT"], lambda: loop.request_id)
    loop.run()
