"""A runtime in a few lines: what a bootstrap that speaks the Runtime API by hand looks like."""

import sys

BOOTSTRAP = f"""#!{sys.executable} -Iu
import http.client, json, os, sys, time
host = os.environ['AWS_LAMBDA_RUNTIME_API']
api = http.client.HTTPConnection(host)
BASE = '/2018-06-01/runtime'

def call(method, path, body=None, headers={{}}):
    api.request(method, BASE + path, body, headers)
    answer = api.getresponse()
    return answer.status, dict((k.lower(), v) for k, v in answer.getheaders()), answer.read()

def next_invocation():
    _, headers, body = call('GET', '/invocation/next')
    return headers['lambda-runtime-aws-request-id'], headers, json.loads(body)

def respond(request_id, value):
    return call('POST', f'/invocation/{{request_id}}/response', json.dumps(value))

sys.path.insert(0, os.getcwd())
"""


def runtime(body: str) -> dict[str, str | bytes]:
    """A package whose bootstrap runs this body: `call`, `next_invocation` and `respond` are there."""
    return {"bootstrap": BOOTSTRAP + body}


ECHO = """
while True:
    request_id, headers, event = next_invocation()
    print('event', event)
    respond(request_id, {'event': event, 'headers': headers, 'pid': os.getpid()})
"""
