"""Where an instance has what."""


class Places:
    """Folders of an instance: the code, the layers, the runtime that its image brings."""

    def __init__(self, task: str, opt: str, runtime: str) -> None:
        self.task = task
        self.opt = opt
        self.runtime = runtime
