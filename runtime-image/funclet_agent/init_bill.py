"""Who bills the init phase, when several slots share one: whichever answers first."""

import os


class InitBill:
    """A pipe with one byte. The kernel gives that to one reader, in whichever process it is."""

    def __init__(self) -> None:
        self._reading, writing = os.pipe()
        os.set_blocking(self._reading, False)
        os.write(writing, b"1")
        os.close(writing)

    def fileno(self) -> int:
        """The descriptor that a process must keep to take part."""
        return self._reading

    def take(self) -> bool:
        """Whether it is the caller's to bill: true once."""
        try:
            return bool(os.read(self._reading, 1))
        except OSError:
            return False
