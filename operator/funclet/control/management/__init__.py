"""Lambda's management API: CreateFunction and its kin, on the resources.

One request: `server` reads it and checks its signature, `api` finds the operation, whose module reads the resources
(`records`), lets the core decide, writes them, and answers.
"""
