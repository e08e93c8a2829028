"""With how many examples properties are tried, and with which.

`make test` tries the same ones each time, so that a failure is a change's. FUNCLET_FUZZ_EXAMPLES=5000 tries so many
others of each, without a memory of those before.
"""

import os

from hypothesis import settings

_MORE = os.environ.get("FUNCLET_FUZZ_EXAMPLES")


def fuzz(examples: int = 100) -> settings:
    """By default so many; without a deadline, because a busy machine is no error."""
    chosen = int(_MORE) if _MORE else examples
    return settings(deadline=None, derandomize=not _MORE, database=None, max_examples=chosen)
