"""The rules of the house, as functions from a source tree to the list of what breaks them.

A new room gets a row in ARROWS, a new library a row in HOMES: both are meant to be felt.
"""

import fnmatch
import os
import re
from pathlib import Path

# Which headers a room may include besides its own: folders, or patterns for single headers. The longest key that
# fits a file is its room.
PROBES = ["replication/probe.h", "sidecar/latency.h", "sidecar/pipeline_probe.h", "sidecar/slot_probe.h", "sidecar/*/probe.h"]
ARROWS = {
    "config": ["sidecar/compaction/timetable.h"],
    "adapter": [],
    "replication": ["adapter"],
    "sidecar/log": [],
    "sidecar/journal": ["replication/lsn.h", "sidecar/latency.h", "sidecar/now.h"],
    "sidecar/feed": ["sidecar/journal", "replication/change.h", "replication/lsn.h", "adapter/operation.h", "sidecar/log",
                     "sidecar/now.h"],
    "sidecar/notify": ["adapter", "sidecar/log", "sidecar/now.h"],
    "sidecar/compaction": ["adapter", "replication/table_version.h", "sidecar/journal", "sidecar/log", "sidecar/now.h",
                           "sidecar/pipeline_probe.h"],
    "sidecar/http": ["sidecar/log"],
    "sidecar/sync_api": ["adapter", "sidecar/http", "sidecar/log"],
    "sidecar/metrics": ["sidecar/log", "sidecar/now.h", *PROBES],
    "sidecar/client": ["adapter/backoff.h"],
    "sidecar": ["adapter", "replication", "sidecar/log", "sidecar/journal", "sidecar/feed", "sidecar/notify",
                "sidecar/compaction", "sidecar/http", "sidecar/sync_api", "sidecar/metrics"],
    "sidecar/command": ["config", "adapter", "replication", "sidecar"],
    "sidecar/main.cc": ["sidecar/command", "sidecar/version.h", "config/units.h"],
    "tests": ["config", "adapter", "replication", "sidecar"],
}
ROOMS = [room for room in ARROWS if room not in ("tests", "sidecar/main.cc")]

# Foreign libraries: how their headers begin, their CMake target, and the only places that may know them.
HOMES = {
    "libpq-fe.h": ("PkgConfig::libpq", ["adapter/connection.cc"]),
    "yaml-cpp/": ("yaml-cpp", ["config/load.cc"]),
    "cctz/": ("cctz", ["sidecar/compaction/zone.cc"]),
    "simdjson.h": ("simdjson::simdjson", ["replication/wal2json.cc"]),
    "isa-l": ("PkgConfig::libisal", ["sidecar/journal"]),
    "xxhash.h": ("PkgConfig::libxxhash", ["sidecar/known_ids.cc"]),
    "asio": ("asio", ["sidecar/feed"]),
    "openssl/": ("OpenSSL::SSL", ["sidecar/feed", "sidecar/client", "sidecar/http/token.cc"]),
    "civetweb.h": ("civetweb", ["sidecar/http"]),
    "prometheus/": ("prometheus-cpp::core", ["sidecar/metrics"]),
    "spdlog/": ("spdlog::spdlog", ["sidecar/log"]),
    "CLI/": ("CLI11::CLI11", ["sidecar/main.cc"]),
    "nlohmann/": ("nlohmann_json::nlohmann_json",
                  ["adapter", "sidecar/journal", "sidecar/feed", "sidecar/compaction", "sidecar/http", "sidecar/sync_api",
                   "sidecar/client", "sidecar/command", "sidecar/consumers_page.cc", "sidecar/lag_history.cc",
                   "sidecar/compaction_page.cc", "sidecar/status.cc"]),
}
# Where each change passes: a JSON document in memory costs more here than everything else together.
HOT_PATH = ["replication/*", "sidecar/pipeline.*", "sidecar/feed/encode.*", "sidecar/notify/*"]

POSIX = re.compile(r"(sys|net|netinet|arpa|linux)/\w+\.h|(poll|unistd|fcntl|signal|netdb|dirent|malloc|pthread|pwd|sched)\.h|[a-z_]+")
NOT_SOURCE = {".git", "build", "__pycache__"}
HEADINGS = ["What comes in", "What goes out", "What can fail", "Which thread"]
COLUMNS = 100
UNWANTED = {
    r"\bTO[D]O\b|\bFIX[M]E\b|\bXX[X]\b": "finish it or leave it out",
    r"/(work|root|home)/|/tmp/\w": "a path of one machine",
    r"\b(deb|snapshot)\.debian\.org|\bnodesource\b|\bpypi\.org|\bregistry\.npmjs": "the address of a package registry",
}


# ---- the tree ----

def files(root):
    """Every file of the project, relative to its root."""
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(set(folders) - NOT_SOURCE)
        yield from (str((Path(folder) / name).relative_to(root)) for name in sorted(names) if not name.endswith(".pyc"))


def cpp_files(root):
    """Without examples/: they are projects of their own, and use what is installed."""
    return [name for name in files(root) if name.endswith((".cc", ".h")) and not name.startswith("examples/")]


def text(root, name):
    return (Path(root) / name).read_text(encoding="utf-8", errors="replace")


def includes(root, name):
    """(line number, header) of each #include; a quoted header keeps its opening quote."""
    for number, line in enumerate(text(root, name).splitlines(), 1):
        found = re.match(r'\s*#\s*include\s*(?:<([^>]+)>|("[^"]+)")', line)
        if found:
            yield number, found.group(1) or found.group(2)


def own_includes(root, name):
    return [(number, header[1:]) for number, header in includes(root, name) if header.startswith('"')]


def foreign_includes(root, name):
    return [(number, header) for number, header in includes(root, name) if not header.startswith('"')]


def room_of(name):
    keys = [key for key in ARROWS if lies_in(name, [key])]
    return max(keys, key=len, default=None)


def lies_in(name, places):
    return any(name == place or name.startswith(place + "/") or fnmatch.fnmatchcase(name, place) for place in places)


def home_of(header):
    """(CMake target, homes) of a foreign header."""
    return next((home for start, home in HOMES.items() if header.startswith(start)), None)


# ---- rules about includes ----

def include_arrows(root):
    for name in cpp_files(root):
        room = room_of(name)
        if room is None:
            yield f"{name}: lies in no room that ARROWS knows"
            continue
        for number, header in own_includes(root, name):
            if not (Path(root) / header).exists():
                yield f"{name}:{number}: there is no {header}; includes begin at the root"
            elif room_of(header) != room and not lies_in(header, ARROWS[room]):
                yield f"{name}:{number}: {room} must not include {header}"


def foreign_homes(root):
    for name in cpp_files(root):
        if name.startswith("tests/"):
            continue
        for number, header in foreign_includes(root, name):
            home = home_of(header)
            if home is None and not POSIX.fullmatch(header):
                yield f"{name}:{number}: <{header}> has no home in HOMES"
            elif home and (not lies_in(name, home[1]) or (header.startswith("nlohmann/") and lies_in(name, HOT_PATH))):
                yield f"{name}:{number}: <{header}> does not belong here"


# ---- rules about CMake ----

class Target:
    def __init__(self, folder, words):
        self.name, self.folder = words[0], folder
        parts, key = {}, None
        for word in words[1:]:
            key = word if word in ("SOURCES", "LINKS", "PRIVATE_LINKS") else key
            parts.setdefault(key, []).append(word)
        self.sources, self.links, self.private_links = (parts.get(key, [None])[1:] for key in ("SOURCES", "LINKS", "PRIVATE_LINKS"))
        self.stems = {f"{folder}/{source.removesuffix('.cc')}" for source in self.sources}

    def files(self, root):
        """The sources and the headers that belong to them."""
        names = [stem + ending for stem in sorted(self.stems) for ending in (".h", ".cc")]
        return [name for name in names if (Path(root) / name).exists()]


def targets(root):
    for name in files(root):
        if os.path.basename(name) == "CMakeLists.txt":
            bare = re.sub(r"#.*", "", text(root, name))
            for words in re.findall(r"syncflow_room\(([^)]*)\)", bare):
                yield Target(os.path.dirname(name), words.split())


def link_lines(root):
    """LINKS are the rooms whose headers a target includes; a header without a source file needs no link but allows it."""
    every = list(targets(root))
    owners = {stem: target.name for target in every for stem in target.stems}
    for target in every:
        needed, allowed = set(), {other.name for other in every if other.folder == target.folder}
        for name in target.files(root):
            for _, header in own_includes(root, name):
                owner = owners.get(header.removesuffix(".h"))
                needed |= {owner} - {None}
                allowed |= {owner} if owner else {other.name for other in every if other.folder == os.path.dirname(header)}
        yield from (f"{target.folder}: {target.name} includes headers of {name} without LINKS {name}"
                    for name in sorted(needed - {target.name} - set(target.links)))
        yield from (f"{target.folder}: {target.name} has LINKS {name} and includes nothing of it"
                    for name in target.links if name not in allowed)


def foreign_link_lines(root):
    known = {target for target, _ in HOMES.values()}
    for target in targets(root):
        headers = [header for name in target.files(root) for _, header in foreign_includes(root, name)]
        needed = {home_of(header)[0] for header in headers if home_of(header)}
        linked = set(target.private_links) & known
        if needed != linked:
            yield (f"{target.folder}: {target.name} has PRIVATE_LINKS {sorted(linked)}, its includes ask for {sorted(needed)}")
        yield from (f"{target.folder}: {target.name} hands {name} on to others: use PRIVATE_LINKS"
                    for name in set(target.links) & known)


def sources_are_built(root):
    built = {stem + ".cc" for target in targets(root) for stem in target.stems} | {"sidecar/main.cc"}
    yield from (f"{name}: in no syncflow_room" for name in cpp_files(root)
                if name.endswith(".cc") and not name.startswith("tests/") and name not in built)


# ---- rules about words ----

def folder_map(root):
    """The block under `## Folders` names every folder at the top and every room of the sidecar, and no other."""
    section = re.search(r"^## Folders\n.*?```\w*\n(.*?)```", text(root, "README.md"), re.DOTALL | re.MULTILINE)
    if not section:
        return ["README.md: no map under '## Folders'"]
    drawn, parent = set(), ""
    for indent, name in re.findall(r"^( *)([\w.-]+)/ ", section.group(1), re.MULTILINE):
        parent = parent if indent else name
        drawn.add(f"{parent}/{name}" if indent else name)
    folders = {os.path.dirname(name) for name in files(root)} - {""}
    real = {folder.split("/")[0] for folder in folders} | {folder for folder in folders if re.fullmatch(r"sidecar/\w+", folder)}
    return [f"README.md: the map leaves out {name}/" for name in sorted(real - drawn)] + \
           [f"README.md: the map shows {name}/, which does not exist" for name in sorted(drawn - real)]


def room_readmes(root):
    for room in ROOMS:
        name = f"{room}/README.md"
        if not (Path(root) / name).exists():
            yield f"{name}: missing"
            continue
        page = text(root, name)
        headings = re.findall(r"^## (.+)$", page, re.MULTILINE)
        if [heading for heading in headings if heading in HEADINGS] != HEADINGS:
            yield f"{name}: needs the headings {', '.join(HEADINGS)}, in this order"
        if len(headings) > len(HEADINGS) + 2:
            yield f"{name}: more than two headings of its own"
        if not re.match(r"# .+\n\n\w", page):
            yield f"{name}: begins with a title and a sentence"


def unwanted_words(root):
    for name in files(root):
        for number, line in enumerate(text(root, name).splitlines(), 1):
            yield from (f"{name}:{number}: {why}" for pattern, why in UNWANTED.items() if re.search(pattern, line))


def line_lengths(root):
    """Raw strings are exempt in tests: what goes over the wire is easier to read in one piece."""
    for name in cpp_files(root):
        yield from (f"{name}:{number}: more than {COLUMNS} columns"
                    for number, line in enumerate(text(root, name).splitlines(), 1)
                    if len(line) > COLUMNS and not (name.startswith("tests/") and 'R"' in line))


def readme_examples(root):
    """The README shows the short examples as they are, and examples_test.py runs them."""
    blocks = re.findall(r"^```\w*\n(.*?)^```$", text(root, "README.md"), re.DOTALL | re.MULTILINE)
    for name in files(root):
        if re.fullmatch(r"examples/\w+/short\.\w+", name) and text(root, name) not in blocks:
            yield f"README.md: does not show {name} as it is"


def fault_rows(root):
    """The table of faults in tests/README.md names the tests that are there, and all of them."""
    named = set(re.findall(r"`(\w+) ([PSWODF]\d+)`", text(root, "tests/README.md")))
    written = set()
    for name in files(root):
        script = re.fullmatch(r"tests/blackbox/(\w+)_test\.py", name)
        rows = re.findall(r"def test_([PSWODF]\d+)_", text(root, name)) if script else []
        written |= {(script[1], row) for row in rows}
    for script, row in sorted(named - written):
        yield f"tests/README.md: there is no test_{row}_ in blackbox/{script}_test.py"
    for script, row in sorted(written - named):
        yield f"tests/README.md: the table lacks `{script} {row}`"


RULES = [include_arrows, foreign_homes, link_lines, foreign_link_lines, sources_are_built, folder_map, room_readmes,
         unwanted_words, line_lengths, readme_examples, fault_rows]
