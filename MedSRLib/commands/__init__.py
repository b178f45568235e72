"""The ``medsr`` command line, one file a sub-command."""
