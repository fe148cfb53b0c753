"""Which lines and branches of the program the tests run, room by room; `scripts/test --coverage`.

A build of its own with clang's instrumentation, without sanitizers; the tests of every kind but those of the sources, charts,
images and other builds. Counters lie in a file that the process maps, so that what it ran before a kill counts, too. A branch is a
condition of the source that was both true and false, counted once each. The core, whose loss would be a consumer's loss, is listed by itself.
"""

import argparse
import glob
import json
import os
import shutil
import subprocess
import sys

ROOT = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
BUILD = os.path.join(ROOT, "build", "coverage")
PROFILES = os.path.join(BUILD, "profiles")
ROOMS = ("adapter/", "config/", "replication/", "sidecar/")
LEFT_OUT = "^(tidy_test|mutants_fit|format|lint|release_build|tsan_build|fuzz_build|charts|alerts.*|operations|image|install|demo_once|memory|idle|sweep.*)$"
# Positions, decoders, cursors, the journal and what follows the stream.
CORE = ("replication/", "sidecar/journal/", "sidecar/continuity", "sidecar/pipeline", "sidecar/feed/delivery", "sidecar/feed/encode")


def run(*command, **more):
    return subprocess.run(command, check=True, cwd=ROOT, **more)


def tests(name):
    """Whether they passed; what the failed ones ran counts as well."""
    shutil.rmtree(PROFILES, ignore_errors=True)
    command = ["ctest", "--test-dir", BUILD, "--output-on-failure", "--no-tests=error", "--parallel", str(os.cpu_count()), "--exclude-regex", LEFT_OUT]
    environment = {**os.environ, "LLVM_PROFILE_FILE": os.path.join(PROFILES, "%c%4m.profraw")}
    return subprocess.run(command + (["-R", name] if name else []), check=False, env=environment).returncode == 0


def programs():
    for path in glob.glob(os.path.join(BUILD, "*")):
        if os.path.isfile(path) and os.access(path, os.X_OK):
            yield path


def measured():
    """{file: {"lines": (run, all), "branches": (run, all)}} of our own."""
    profile = os.path.join(BUILD, "tests.profdata")
    run("llvm-profdata-14", "merge", "--failure-mode=all", "-o", profile, *glob.glob(os.path.join(PROFILES, "*")))
    first, *others = sorted(programs())
    objects = [word for path in others for word in ("-object", path)]
    output = run("llvm-cov-14", "export", "-summary-only", f"-instr-profile={profile}", first, *objects, stdout=subprocess.PIPE).stdout
    files = {os.path.relpath(file["filename"], ROOT): file["summary"] for file in json.loads(output)["data"][0]["files"]}
    return {name: {kind: (summary[kind]["covered"], summary[kind]["count"]) for kind in ("lines", "branches")}
            for name, summary in files.items() if name.startswith(ROOMS)}


def share(files, kind):
    seen, of = (sum(file[kind][column] for file in files) for column in (0, 1))
    return f"{seen / of:7.1%} of {of:6}" if of else "".rjust(17)


def row(name, files):
    print(f"{name:44} {share(files, 'lines')} {share(files, 'branches')}")


def report(files):
    print(f"\n{'':44} {'lines':>17} {'branches':>17}")
    rooms = {}
    for name, file in files.items():
        rooms.setdefault(os.path.dirname(name), []).append(file)
    for room, inside in sorted(rooms.items()):
        row(room, inside)
    print()
    core = {name: file for name, file in files.items() if name.startswith(CORE)}
    for name, file in sorted(core.items()):
        row(name, [file])
    print()
    row("the core", core.values())
    row("all", files.values())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", nargs="?", help="only tests that match")
    arguments = parser.parse_args()
    run("cmake", "--preset", "coverage")
    run("cmake", "--build", "--preset", "coverage", "--parallel", str(os.cpu_count()))
    passed = tests(arguments.name)
    report(measured())
    print(f"\nline by line: llvm-cov-14 show -instr-profile={BUILD}/tests.profdata {BUILD}/syncflow-sidecar")
    sys.exit(0 if passed else "some tests failed")


if __name__ == "__main__":
    main()
