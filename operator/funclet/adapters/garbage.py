"""The garbage collector of a role that callers wait for."""

import gc


def settle() -> None:
    """What was loaded stays, and is not looked at again; calls leave no cycles behind, so looking is rarely worth it.

    With 10,000 functions a full collection takes 90 ms, in which nobody is answered.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
