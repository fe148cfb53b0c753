#!/usr/bin/python3
"""What is generated and kept in the repository: the table of values in each chart's README, and what each example renders to.

usage: pages.py    writes all of it; the test `charts` complains when something is stale
"""

import json
import os
import re
import sys

import yaml

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from render import LIBRARY, SIDECAR, examples, read  # noqa: E402

BEGIN, END = "<!-- values -->\n", "<!-- end of values -->"


def rows(path):
    """(key, default, words) of a values.yaml: each key with a comment that begins with `# --`, and each leaf of the others."""
    values, stack, words = yaml.safe_load(read(path)), [], None
    for line in read(path).splitlines():
        indent, text = len(line) - len(line.lstrip()), line.strip()
        if text.startswith("# -- "):
            words = [text[5:]]
        elif text.startswith("#"):
            words = words and words + [text[2:]]
        elif found := re.match(r"([\w.]+):( |$)", text):
            stack = [(depth, key) for depth, key in stack if depth < indent]
            keys = [key for _, key in stack] + [found[1]]
            if all(key is not None for key in keys):
                value = value_at(values, keys)
                if words or not (isinstance(value, dict) and value):
                    yield ".".join(keys), json.dumps(value), " ".join(words or [])
                stack.append((indent, None if words and value and isinstance(value, dict) else found[1]))
            words = None
        else:
            words = None


def value_at(values, keys):
    for key in keys:
        values = values[key]
    return values


def table(path):
    lines = ["| key | default | |\n|---|---|---|\n"]
    for key, default, words in rows(path):
        lines.append(f"| `{key}` | `{default}` | {words} |\n".replace("|  |", "| |"))
    return "".join(lines)


def with_table(page, chart):
    """The README's text with its table made anew."""
    before, rest = page.split(BEGIN)
    return before + BEGIN + table(os.path.join(chart, "values.yaml")) + END + rest.split(END)[1]


def main():
    for chart in (SIDECAR, LIBRARY):
        path = os.path.join(chart, "README.md")
        page = with_table(read(path), chart)
        with open(path, "w", encoding="utf-8") as file:
            file.write(page)
    for example in examples():
        with open(example.golden, "w", encoding="utf-8") as file:
            file.write(example.render())


if __name__ == "__main__":
    main()
