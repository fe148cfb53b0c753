"""What the chart tests stand on: two helms, a manifest checker, promtool. scripts/setup test puts them into build/tools."""

import os
import re
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
TOOLS = os.path.join(ROOT, "build", "tools")
NPM = os.path.join(TOOLS, "charts")
HELMS = {"3": os.path.join(NPM, "v32", "helm", "helm"), "4": os.path.join(NPM, "v34", "helm", "helm")}
SKIPPED = 77  # ctest's SKIP_RETURN_CODE

os.environ["PATH"] += os.pathsep + TOOLS


def skip(reason):
    print(f"skipped: {reason}")
    sys.exit(SKIPPED)


def need(*programs):
    for program in programs:
        if not shutil.which(program):
            skip(f"{program} is not installed; scripts/setup test does what it can for it")


def read(path):
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()


def broken_links(page):
    """Links of a page that lead to no file, or to none of its headings."""
    for link in re.findall(r"\]\(([^)]+)\)", read(page)):
        path, _, place = link.partition("#")
        target = os.path.normpath(os.path.join(os.path.dirname(page), path)) if path else page
        if not os.path.exists(target) or (place and place not in anchors(target)):
            yield link


def anchors(page):
    """As GitHub makes them of headings."""
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in re.findall(r"^#+ (.+)$", read(page), re.MULTILINE)}


def run(*command, expect=0, **options):
    """Standard output; AssertionError with everything that was said when it ends otherwise than with `expect`."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False, **options)
    if done.returncode != expect:
        raise AssertionError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


def program():
    """The sidecar under test."""
    path = os.environ.get("SYNCFLOW_SIDECAR") or os.path.join(ROOT, "build", "debug", "syncflow-sidecar")
    if not os.access(path, os.X_OK):
        sys.exit(f"there is no program {path}: build it, or name it in SYNCFLOW_SIDECAR")
    return path
