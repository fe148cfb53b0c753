"""A private PostgreSQL: own folder and port, loopback only, never as root, removed afterwards.

As a module:   with PrivatePostgres() as server: server.url, server.stop("immediate"), ...
As a program:  prints one line of JSON (url, port, directory, pid), then obeys lines on standard
               input ("stop immediate", "start", "reload", "set NAME VALUE"), answers each with "ok"
               or what went wrong, and takes everything away when standard input ends.

The server is a child of this process and dies with it, even when the process is killed: start it
from the main thread, since Linux counts the end of the starting thread as the end of the parent.
"""

import argparse
import contextlib
import glob
import json
import os
import pwd
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

STOP_SIGNALS = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}
PATIENCE = 120  # seconds for a start or a stop on a loaded machine
SOCKET_PATH_MAX = 100  # Unix socket addresses end at 107 bytes


def newest_bin():
    """The folder of the newest installed server's programs (Debian's layout), or $SYNCFLOW_POSTGRES_BIN."""
    if "SYNCFLOW_POSTGRES_BIN" in os.environ:
        return os.environ["SYNCFLOW_POSTGRES_BIN"]
    found = glob.glob("/usr/lib/postgresql/*/bin/postgres")
    if not found:
        sys.exit(
            "no PostgreSQL server is installed: run scripts/build once, or apt-get install"
            " postgresql-15"
        )
    return os.path.dirname(max(found, key=lambda path: int(path.split("/")[4])))


def free_port():
    """A port that stays free while its server is down: below the range that the kernel takes for
    outgoing connections, where a client waiting for a restart could connect to itself."""
    with open("/proc/sys/net/ipv4/ip_local_port_range", encoding="utf-8") as file:
        below = max(int(file.read().split()[0]), 12000)
    while True:
        port = random.SystemRandom().randrange(10000, below)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


class PrivatePostgres:
    """Settings are lines of postgresql.conf: name to value, written as they are. `clock`: how far the
    server's clock is off, as libfaketime takes it ("+365d"); changed, it takes effect at the next start.
    """

    def __init__(
        self,
        settings=None,
        allow_wal2json=True,
        root=None,
        keep=False,
        auth="trust",
        password=None,
        clock=None,
    ):
        self.bin = newest_bin()
        self.user = "postgres" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
        self.port = free_port()
        self.keep = keep
        self.clock = clock
        self.directory = self._new_directory(root)
        self.data = os.path.join(self.directory, "data")
        login = f"postgres:{password}" if password else "postgres"
        self.url = f"postgresql://{login}@127.0.0.1:{self.port}/postgres"
        self.log = os.path.join(self.directory, "log")
        self.process = None
        try:
            self._initdb(auth, password)
            self._configure(settings or {}, allow_wal2json)
        except BaseException:
            self.remove()
            raise

    # ---- life ----

    def start(self):
        if self.running():
            return self
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                self.as_user(*self._false_clock(), f"{self.bin}/postgres", "-D", self.data),
                cwd=self.directory,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._wait(self._accepts_connections, "start")
        return self

    def stop(self, mode="fast"):
        if not self.running():
            return
        self.process.send_signal(STOP_SIGNALS[mode])
        self._wait(lambda: not self.running(), f"stop ({mode})")

    def reload(self):
        self.process.send_signal(signal.SIGHUP)

    def set(self, name, value):
        """Takes effect at the next start or reload."""
        with open(os.path.join(self.data, "postgresql.conf"), "a", encoding="utf-8") as conf:
            conf.write(f"{name} = {value}\n")

    def pid(self):
        return self.process.pid

    def running(self):
        return self.process is not None and self.process.poll() is None

    def remove(self):
        if self.running():
            with contextlib.suppress(RuntimeError):
                self.stop("immediate")
        if self.running():
            self.process.kill()
            self.process.wait()
        if not self.keep:
            shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self):
        try:
            return self.start()
        except BaseException:
            self.remove()
            raise

    def __exit__(self, *_):
        self.remove()

    def log_tail(self, lines=15):
        with contextlib.suppress(FileNotFoundError), open(
            self.log, encoding="utf-8", errors="replace"
        ) as log:
            return "".join(log.readlines()[-lines:])
        return ""

    def knows_plugin_list(self):
        """15.19 and its siblings refuse unlisted plugins; older ones refuse the parameter."""
        version = subprocess.run(
            [f"{self.bin}/postgres", "--version"], check=True, capture_output=True, text=True
        )
        major, minor = map(int, re.search(r"(\d+)\.(\d+)", version.stdout).groups())
        return major >= 19 or minor >= {14: 24, 15: 19, 16: 15, 17: 11, 18: 5}.get(major, 1000)

    # ---- setting up ----

    def _new_directory(self, root):
        """Below `root`; in the temporary folder if the server's user may not enter `root`."""
        directory = tempfile.mkdtemp(prefix="syncflow-pg-", dir=root)
        if os.geteuid() == 0:
            entry = pwd.getpwnam(self.user)
            os.chown(directory, entry.pw_uid, entry.pw_gid)
        if (
            root
            and subprocess.run(self.as_user("test", "-w", directory), check=False).returncode != 0
        ):
            os.rmdir(directory)
            return self._new_directory(None)
        return directory

    def as_user(self, *command):
        """Runs as the unprivileged user, since the server refuses root, and dies with us."""
        switch = (
            [f"--reuid={self.user}", f"--regid={self.user}", "--clear-groups"]
            if os.geteuid() == 0
            else []
        )
        return ["setpriv", *switch, "--pdeathsig=QUIT", *command]

    def _environment(self):
        return {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "HOME": self.directory}

    def _false_clock(self):
        """Words before the server's own: what libfaketime shares must belong to the server's user."""
        if not self.clock:
            return []
        found = glob.glob("/usr/lib/*/faketime/libfaketime.so.1")
        if not found:
            sys.exit("libfaketime is not installed: run scripts/setup test")
        return [
            "env",
            f"LD_PRELOAD={found[0]}",
            f"FAKETIME={self.clock}",
            "FAKETIME_DONT_FAKE_MONOTONIC=1",
        ]

    def _initdb(self, auth, password):
        command = [
            f"{self.bin}/initdb",
            "-D",
            self.data,
            "-U",
            "postgres",
            f"--auth={auth}",
            "-E",
            "UTF8",
            "--locale=C.UTF-8",
            "--no-sync",
        ]
        if password:
            command.append(f"--pwfile={self._password_file(password)}")
        done = subprocess.run(
            self.as_user(*command),
            check=False,
            cwd=self.directory,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        if done.returncode != 0:
            raise RuntimeError(f"initdb failed: {done.stderr.strip()}")

    def _password_file(self, password):
        path = os.path.join(self.directory, "password")
        with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="utf-8") as file:
            file.write(password)
        shutil.chown(path, self.user)
        return path

    def _configure(self, settings, allow_wal2json):
        sockets = (
            self.directory if len(self.directory) < SOCKET_PATH_MAX - len("/.s.PGSQL.12345") else ""
        )
        lines = {
            "listen_addresses": "'127.0.0.1'",
            "port": str(self.port),
            "unix_socket_directories": f"'{sockets}'",
            "wal_level": "logical",
            "fsync": "off",
            "shared_buffers": "64MB",
            "max_wal_senders": "20",
            "max_replication_slots": "20",
            "log_min_messages": "warning",
            "timezone": "'UTC'",
        }
        if allow_wal2json and self.knows_plugin_list():
            lines["output_plugin_libraries"] = "'pgoutput, test_decoding, wal2json'"
        lines.update(settings)
        with open(os.path.join(self.data, "postgresql.conf"), "a", encoding="utf-8") as conf:
            conf.writelines(f"{name} = {value}\n" for name, value in lines.items())

    # ---- waiting ----

    def _accepts_connections(self):
        if not self.running():
            raise RuntimeError(f"PostgreSQL did not start:\n{self.log_tail()}")
        with contextlib.suppress(FileNotFoundError), open(
            os.path.join(self.data, "postmaster.pid"), encoding="utf-8"
        ) as file:
            lines = file.read().splitlines()
            return (
                len(lines) >= 8
                and int(lines[0]) == self.process.pid
                and lines[7].strip() == "ready"
            )
        return False

    def _wait(self, condition, what):
        deadline = time.monotonic() + PATIENCE
        while not condition():
            if time.monotonic() > deadline:
                raise RuntimeError(
                    f"PostgreSQL did not {what} within {PATIENCE} s:\n{self.log_tail()}"
                )
            time.sleep(0.02)


def obey(server, line):
    verb, *words = line.split()
    if verb == "stop":
        server.stop(*words)
    elif verb == "start":
        server.start()
    elif verb == "reload":
        server.reload()
    elif verb == "set":
        server.set(words[0], " ".join(words[1:]))
    else:
        return f"unknown: {verb}"
    return "ok"


def answer(server, line):
    try:
        return obey(server, line)
    except (RuntimeError, OSError, KeyError) as error:
        return f"failed: {error}".replace("\n", " ")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="a postgresql.conf line"
    )
    parser.add_argument(
        "--refuse-wal2json",
        action="store_true",
        help="leave wal2json out of output_plugin_libraries",
    )
    parser.add_argument(
        "--auth", default="trust", help="initdb's authentication method for loopback"
    )
    parser.add_argument("--password", help="of the user postgres, for methods that ask for one")
    arguments = parser.parse_args()
    settings = dict(entry.split("=", 1) for entry in arguments.set)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    server = PrivatePostgres(
        settings,
        allow_wal2json=not arguments.refuse_wal2json,
        auth=arguments.auth,
        password=arguments.password,
    )
    try:
        server.start()
        print(
            json.dumps(
                {
                    "url": server.url,
                    "port": server.port,
                    "directory": server.directory,
                    "pid": server.pid(),
                }
            ),
            flush=True,
        )
        for line in sys.stdin:
            print(answer(server, line), flush=True)
    finally:
        server.remove()


if __name__ == "__main__":
    main()
