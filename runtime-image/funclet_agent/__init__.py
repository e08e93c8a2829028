"""Funclet's agent: the first process of every instance. Standard library only, small, and never imports funclet.

    __main__        starts it; settings: its environment
    supervisor      the agent's loop: sockets, timers, signals
    control         the agent's port: POST /v1/specialise, GET /v1/status
    specialisation  the head of a specialise request; archive: its zip
    slot            one slot as the agent sees it: listener, handler process, timeout, crash
    state, channel  what agent and handler process share: memory, and a socket that carries connections
    process         the handler process from fork to exit; birth, environment, loading: how it begins
    template        what several slots are forked from; template_process: the same from the inside; init_bill: who pays
    invoker         its loop: one invocation at a time; context, failures, marshalling: what Lambda's runtime gives;
                    streaming: answers that come bit by bit
    runtime_slot    one slot whose runtime is a bootstrap, loaded when there is one; invocation: what it carries out
    execution       that slot's processes and the Runtime API: runtime_api, extensions (words and rules), runtime_doors
    relay           a runtime's streamed answer on its way to the caller
    python_runtime  the bootstrap of Python functions with extensions
    places          the folders of code, layers and runtime
    sandbox         the processes; bootstrap: what is started, spawning: how
    http_server     HTTP connections on the agent's loop; http1: their parser
    logs, lines     what is printed; logging_setup: Python's logging, once the function imports it
    wire, tokens    HTTP/1.1 heads and answers; the digests of tokens

The wire is fixed in docs/design/0001-roles-and-wire.md.
"""
