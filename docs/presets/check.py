"""Runs the commands of these pages and compares what they print with what the pages show.

    python3 docs/presets/check.py [--write] [PAGE.md ...]        microtome must be on the PATH

The sh blocks of a page run in order in an empty folder; a text block that follows one is its
output. --write puts what was printed into the page instead of comparing.
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.M | re.S)


def run(page, write):
    text = page.read_text()
    blocks = list(FENCE.finditer(text))
    parts, last, wrong = [], 0, 0
    environment = os.environ | {"PRESETS": str(HERE)}
    with tempfile.TemporaryDirectory() as folder:
        for block, following in zip(blocks, [*blocks[1:], None]):
            if block[1] != "sh":
                continue
            done = subprocess.run(["bash", "-euo", "pipefail", "-c", block[2]], cwd=folder, env=environment,
                                  capture_output=True, text=True)
            if done.returncode not in (0, 2):
                print(f"{page.name}: exit {done.returncode}\n{block[2]}{done.stdout}{done.stderr}")
                return 1
            shown = following and following[1] == "text" and not text[block.end() : following.start()].strip()
            if shown:
                parts += [text[last : following.start(2)], done.stdout]
                last = following.end(2)
                if following[2] != done.stdout:
                    wrong += 1
                    if not write:
                        print(f"{page.name}: printed\n{done.stdout}where the page has\n{following[2]}")
    if write:
        page.write_text("".join(parts) + text[last:])
        return 0
    print(f"{page.name}: {wrong} outputs differ" if wrong else f"{page.name}: as shown")
    return wrong


def main():
    names = [a for a in sys.argv[1:] if a != "--write"]
    pages = [Path(n) for n in names] or [p for p in sorted(HERE.glob("*.md")) if p.name != "README.md"]
    sys.exit(1 if sum(run(p, "--write" in sys.argv) for p in pages) else 0)


if __name__ == "__main__":
    main()
