"""Layers: laid over one another in their order, found by every language, and no way out of their folder."""

import json
import sys

import pytest
from tests.runtime.agent_client import Agent, package, specialisation
from tests.runtime.bootstraps import runtime

LOOK = """
import os, subprocess, sys
import words
def lambda_handler(event, context):
    tool = subprocess.run(['tool'], capture_output=True, text=True, check=True).stdout
    return {'word': words.WORD, 'tool': tool, 'site': __import__('deep').VALUE}
"""


def test_the_later_layer_wins_and_the_code_sees_all_of_them(agent: Agent) -> None:
    site = f"python/lib/python3.{sys.version_info.minor}/site-packages/deep.py"
    first = package({"python/words.py": "WORD = 'first'", "bin/tool": "#!/bin/sh\necho tool", site: "VALUE = 7"})
    second = package({"python/words.py": "WORD = 'second'"})
    assert agent.specialise(LOOK, layers=[first, second]).status == 200
    assert agent.invoke().json == {"word": "second", "tool": "tool\n", "site": 7}


def test_the_functions_own_module_wins_over_a_layers(agent: Agent) -> None:
    files = {"index.py": "import words\ndef lambda_handler(e, c): return words.WORD", "words.py": "WORD = 'own'"}
    agent.specialise(files, layers=[package({"python/words.py": "WORD = 'layer'"})])
    assert agent.invoke().json == "own"


def test_a_layer_may_bring_the_runtime(agent: Agent) -> None:
    body = "request_id, *_ = next_invocation()\nrespond(request_id, os.environ['PATH'])\nnext_invocation()\n"
    answer = agent.specialise(
        {"data": "x"}, layers=[package(runtime(body))], runtime="provided.al2023", handler="any.thing"
    )
    assert answer.status == 200
    assert agent.invoke().json.endswith(f":{agent.opt_root}/bin")


@pytest.mark.parametrize("name", ["../escape", "/etc/escape", "a/../../escape"])
def test_a_layer_that_leads_out_of_its_folder_is_refused(agent: Agent, name: str) -> None:
    answer = agent.specialise("def lambda_handler(e, c): return 1", layers=[package({name: "x"})])
    assert answer.status == 400
    assert not list(agent.opt_root.rglob("escape"))
    assert agent.status()["state"] == "generic"


def test_nothing_is_written_when_one_of_the_archives_is_refused(agent: Agent) -> None:
    good, bad = package({"python/a.py": "x = 1"}), package({"../b": "x"})
    assert agent.specialise("def lambda_handler(e, c): return 1", layers=[good, bad]).status == 400
    assert not list(agent.opt_root.rglob("*.py"))


def test_the_limit_is_on_all_together(agent: Agent) -> None:
    zeros = package({"zeros": bytes(130 * 1024 * 1024)})
    answer = agent.specialise("def lambda_handler(e, c): return 1", layers=[zeros, zeros])
    assert (answer.status, b"with its layers" in answer.body) == (400, True)


def test_a_body_that_is_shorter_than_its_layers(agent: Agent) -> None:
    head = json.dumps(specialisation(layer_bytes=[1000])).encode()
    answer = agent.control("POST", "/v1/specialise", len(head).to_bytes(4, "big") + head + b"short")
    assert answer.status == 400
