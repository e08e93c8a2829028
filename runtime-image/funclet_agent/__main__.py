"""Starts the agent: `python3 -I PATH/funclet_agent`.

Python puts this directory first on sys.path; its modules must not be importable as `wire` or `state`, since those are
names that a function may use. So the package's parent takes its place.
"""

import os
import sys

if __name__ == "__main__":
    sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    from funclet_agent.supervisor import main

    sys.exit(main())
