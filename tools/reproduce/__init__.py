"""Published figures beside ours: a module for the tables of each kind.

A table is a function of a `request.Request` and what `published.json` says of it; it prints both
sides and returns ours. `trainings` makes the runs that are missing, `figures` reads them.
"""
