"""Enhancements in a process of their own: the worker, its protocol and the runner that owns it. Knows no Qt."""
