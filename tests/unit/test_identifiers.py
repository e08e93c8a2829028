"""Request ids and trace ids: well formed, and never the same twice, not even after a fork."""

import os
import re
import uuid

from funclet.gateway import identifiers


def test_request_ids_are_random_uuids() -> None:
    ids = [identifiers.new_request_id() for _ in range(3 * identifiers.BATCH)]
    assert len(set(ids)) == len(ids)
    for text in ids:
        assert str(uuid.UUID(text)) == text
        assert (uuid.UUID(text).version, uuid.UUID(text).variant) == (4, uuid.RFC_4122)


def test_trace_ids_have_the_form_of_x_ray() -> None:
    ids = [identifiers.new_trace_id() for _ in range(3 * identifiers.BATCH)]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"Root=1-[0-9a-f]{8}-[0-9a-f]{24};Sampled=0", text) for text in ids)


def test_a_forked_process_gives_ids_of_its_own() -> None:
    identifiers.new_request_id()
    reading, writing = os.pipe()
    if (child := os.fork()) == 0:
        os.write(writing, identifiers.new_request_id().encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reading, 64).decode() != identifiers.new_request_id()
