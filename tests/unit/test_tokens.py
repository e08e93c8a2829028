"""The tokens of instances."""

import hashlib
import hmac

from funclet.core.tokens import invoke_token, specialise_token, token_digest


def test_tokens_are_those_of_the_wire_contract() -> None:
    expected = hmac.new(b"secret", b"specialise:python313-1", hashlib.sha256).hexdigest()
    assert specialise_token("secret", "python313-1") == expected
    assert invoke_token("secret", "python313-1") == hmac.new(b"secret", b"invoke:python313-1", "sha256").hexdigest()


def test_no_two_purposes_instances_or_secrets_share_a_token() -> None:
    made = {make(secret, name) for make in (specialise_token, invoke_token) for secret in "ab" for name in "xy"}
    assert len(made) == 8


def test_the_digest_is_the_tokens_sha256() -> None:
    assert token_digest("t") == hashlib.sha256(b"t").hexdigest()
