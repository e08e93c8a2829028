"""Functions in compiled languages: a folder with what the compiler made is the package."""

import pytest
from tests.e2e.conftest import Deployer
from tests.e2e.worlds import LocalWorld
from tests.runtime import builds


@pytest.mark.timeout(900)
@pytest.mark.parametrize("language", [builds.JAVA, builds.GO, builds.RUST], ids=lambda language: str(language.name))
def test_a_compiled_function(language: builds.Language, world: LocalWorld, deploy: Deployer) -> None:
    name = f"compiled-{language.name}"
    code = {"directory": str(builds.build_function(language))}
    spec = {"runtime": language.runtime, "handler": language.handler, "code": code, "timeout": 10}
    deploy.apply("Function", name, spec)
    world.wait_ready("Function", name)
    answer = world.invoke(name, {"n": 1})
    assert answer.function_error is None
    assert (answer.payload["event"], answer.payload["name"]) == ({"n": 1}, name)
    failed = world.invoke(name, "fail")
    assert failed.function_error == "Unhandled"
    assert failed.payload["errorMessage"] == "bad value"
