"""Installs the extension from its build tree and repeats the tests with what was installed, in plain Python:

    python installed.py --slicer /path/to/Slicer --build /path/to/MedSR-build [--screenshots FOLDER]

The exit code is 0 when every script passed; a display is needed, as `xvfb-run` gives one.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
SCRIPTS = {"headless.py": ["--no-main-window"], "panel.py": [], "after_click.py": [], "preview.py": []}


def main() -> int:
    """Installs into a folder of its own, which is removed at the end."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slicer", required=True, help="the application's launcher")
    parser.add_argument("--build", required=True, help="build tree of the extension, configured with Slicer_DIR")
    parser.add_argument("--screenshots", help="folder for pictures of the window")
    given = parser.parse_args()
    failed = []
    with tempfile.TemporaryDirectory(prefix="MedSR installed ") as folder:
        subprocess.run(["cmake", "--install", given.build, "--prefix", folder], check=True)
        found = [path.parent for path in Path(folder).glob("**/qt-scripted-modules/MedSR.py")]
        if len(found) != 1:
            print(f"the installed tree holds {len(found)} times MedSR.py, not once", file=sys.stderr)
            return 1
        for script, options in SCRIPTS.items():
            command = [given.slicer, "--testing", "--no-splash", *options, "--additional-module-path", str(found[0])]
            command += ["--python-script", str(HERE / script)]
            if given.screenshots and not options:
                command += ["--", "--screenshots", given.screenshots]
            print(" ".join(command), flush=True)
            if subprocess.run(command, check=False).returncode != 0:
                failed.append(script)
    print(f"failed: {', '.join(failed)}" if failed else "every script passed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
