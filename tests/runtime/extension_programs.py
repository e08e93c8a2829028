"""Extensions in a few lines, by hand."""

import sys

from tests.runtime.agent_client import Agent

EXTENSION = f"""#!{sys.executable} -Iu
import http.client, json, os, sys, time
api = http.client.HTTPConnection(os.environ['AWS_LAMBDA_RUNTIME_API'])
BASE = '/2020-01-01/extension'
NAME = os.path.basename(sys.argv[0])
identifier = None

def call(method, path, body=None, headers={{}}):
    known = {{'Lambda-Extension-Identifier': identifier}} if identifier else {{}}
    api.request(method, BASE + path, body, {{**known, **headers}})
    answer = api.getresponse()
    return answer.status, dict((k.lower(), v) for k, v in answer.getheaders()), json.loads(answer.read())

def register(*events):
    global identifier
    headers = {{'Lambda-Extension-Name': NAME, 'Lambda-Extension-Accept-Feature': 'accountId'}}
    status, headers, facts = call('POST', '/register', json.dumps({{'events': events}}), headers)
    identifier = headers.get('lambda-extension-identifier')
    return status, facts

def next_event():
    return call('GET', '/event/next')[2]

def subscribe(request, path='/2022-07-01/telemetry'):
    api.request('PUT', path, json.dumps(request), {{'Lambda-Extension-Identifier': identifier or ''}})
    answer = api.getresponse()
    return answer.status, json.loads(answer.read())

def say(*words):
    os.write(1, (' '.join((NAME, *words)) + chr(10)).encode())
"""

"""What each of them begins with."""


def install(agent: Agent, **bodies: str) -> None:
    """Put a program for each of these bodies where extensions are."""
    folder = agent.opt_root / "extensions"
    folder.mkdir(parents=True)
    for name, body in bodies.items():
        program = folder / name
        program.write_text(EXTENSION + body)
        program.chmod(0o755)
