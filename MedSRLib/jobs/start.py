"""Starts a module of this room in a process of its own, by this file's path: ``python -P start.py worker``.

Slicer's launcher of Python may or may not hand PYTHONPATH on, so that ``-m`` would find no MedSRLib.
"""

import runpy
import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    runpy.run_module(f"MedSRLib.jobs.{sys.argv[1]}", run_name="__main__", alter_sys=True)
