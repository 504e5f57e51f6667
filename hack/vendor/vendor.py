"""Copy what the page takes from npm packages to where it is served; with --check, only compare hashes.

`make vendor` installs the packages of package-lock.json, whose hashes npm checks, and runs this. The files'
own hashes are in vendor.sha256, as sha256sum writes and checks them. Users need neither npm nor Node.
"""

import hashlib
import shutil
import sys
from pathlib import Path

HERE = Path(__file__).parent
TARGET = HERE.parents[1] / "natsscaler/web/assets/vendor"
HASHES = HERE / "vendor.sha256"
FILES = {
    "htm/preact/standalone.module.js": "preact.js",
    "htm/LICENSE": "preact.LICENSE.txt",
    "uplot/dist/uPlot.iife.min.js": "uplot.js",
    "uplot/dist/uPlot.min.css": "uplot.css",
    "uplot/LICENSE": "uplot.LICENSE.txt",
}
TAILS = {"uplot.js": "\nexport default uPlot;\n"}
"""What makes a script a module."""


def hashes() -> str:
    """Write the hashes of all files that are there."""
    found = sorted(TARGET.iterdir())
    return "".join(f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in found)


def main() -> None:
    if "--check" in sys.argv[1:]:
        if hashes() != HASHES.read_text():
            sys.exit(f"{TARGET} is not what {HASHES.name} says: run make vendor")
        return
    shutil.rmtree(TARGET, ignore_errors=True)
    TARGET.mkdir()
    for source, name in FILES.items():
        text = (HERE / "node_modules" / source).read_text()
        (TARGET / name).write_text(text + TAILS.get(name, ""))
    HASHES.write_text(hashes())


if __name__ == "__main__":
    main()
