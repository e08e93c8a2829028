"""A generic agent for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.runtime.agent_client import Agent


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    with Agent(tmp_path) as started:
        yield started
