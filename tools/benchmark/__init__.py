"""How fast the package is on this machine: a module for what is compared with what.

Each module's `measure` gives the rows of one comparison; `timing` takes the times, `report` makes
figures and text of them, `faces` finds or draws the pictures, and `command` is what people start.
"""
