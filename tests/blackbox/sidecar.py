"""A syncflow-sidecar process under test: its configuration, life, log and HTTP answers."""

import argparse
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from postgres import free_port  # noqa: E402
from waiting import wait_until  # noqa: E402

ROOT = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
SANITIZER = re.compile(r"ERROR: \w+Sanitizer|WARNING: ThreadSanitizer|runtime error:|LeakSanitizer")


def default_program():
    return os.environ.get("SYNCFLOW_SIDECAR") or os.path.join(
        ROOT, "build", "release", "syncflow-sidecar"
    )


def add_argument(parser: argparse.ArgumentParser):
    parser.add_argument(
        "--sidecar",
        default=default_program(),
        metavar="PROGRAM",
        help="default: $SYNCFLOW_SIDECAR, else the release build",
    )


def to_yaml(settings):
    """Two levels are enough here. JSON scalars and lists are YAML; `$` begins a substitution."""
    lines = []
    for section, content in settings.items():
        if isinstance(content, dict):
            lines.append(f"{section}:")
            lines += [f"  {key}: {_scalar(value)}" for key, value in content.items()]
        else:
            lines.append(f"{section}: {_scalar(content)}")
    return "\n".join(lines) + "\n"


def _scalar(value):
    return json.dumps(value).replace("$", "$$")


class Sidecar:
    """`settings` are "section.key": value, on top of what every test needs."""

    def __init__(self, folder, url, program=None, name="sidecar", **settings):
        self.program = program or default_program()
        self.folder = folder
        self.journal = os.path.join(folder, f"{name}-journal")
        self.config = os.path.join(folder, f"{name}.yaml")
        self.log = os.path.join(folder, f"{name}.log")
        self.feed = ("127.0.0.1", free_port())
        self.http_port = free_port()
        self.process = None
        self.starts = 0
        self.settings = {
            "version": 1,
            "postgres": {"url": url},
            "replication": {"slot": f"syncflow_{name}".replace("-", "_"), "plugin": "wal2json"},
            "journal": {"directory": self.journal},
            "feed": {"listen": f"127.0.0.1:{self.feed[1]}"},
            "http": {"listen": f"127.0.0.1:{self.http_port}"},
        }
        self.configure(**settings)

    def configure(self, **settings):
        """configure(**{"feed.heartbeat": "1s"}); takes effect at the next start."""
        for name, value in settings.items():
            section, key = name.split(".")
            self.settings.setdefault(section, {})[key] = value
        self.write_config(to_yaml(self.settings))

    def write_config(self, text):
        with open(self.config, "w", encoding="utf-8") as file:
            file.write(text)

    @property
    def slot(self):
        return self.settings["replication"]["slot"]

    # ---- life ----

    def start(self, prefix=()):
        """`prefix`: words before the program, such as a limit to run it under."""
        if not os.access(self.program, os.X_OK):
            sys.exit(f"there is no program {self.program}: build it, or name it with --sidecar")
        self.starts += 1
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [
                    "setpriv",
                    "--pdeathsig=KILL",
                    *prefix,
                    self.program,
                    "run",
                    "--config",
                    self.config,
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        return self

    def start_ready(self):
        self.start()
        return self.wait_ready()

    def wait_ready(self):
        def ready():
            if not self.running():
                raise AssertionError(
                    f"the sidecar ended with {self.process.returncode}\n{self.log_tail()}"
                )
            return self.get("/readyz")[0] == 200

        wait_until(ready, "the sidecar to be ready", context=self.log_tail)
        return self

    def running(self):
        return self.process is not None and self.process.poll() is None

    def kill(self):
        """kill -9."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def terminate(self):
        """SIGTERM; the exit code."""
        self.process.terminate()
        return self.wait_exit()

    def wait_exit(self):
        """The exit code of a process that is about to end."""
        wait_until(lambda: not self.running(), "the sidecar to end", context=self.log_tail)
        return self.process.returncode

    def pause(self):
        self.process.send_signal(signal.SIGSTOP)

    def resume(self):
        self.process.send_signal(signal.SIGCONT)

    # ---- what it says ----

    def log_text(self):
        with contextlib.suppress(FileNotFoundError), open(
            self.log, encoding="utf-8", errors="replace"
        ) as log:
            return log.read()
        return ""

    def log_tail(self, lines=20):
        return f"last lines of {self.log}:\n" + "\n".join(self.log_text().splitlines()[-lines:])

    def wait_log(self, pattern, times=1):
        """The log lines that match, once there are at least `times` of them."""

        def matches():
            found = [line for line in self.log_text().splitlines() if re.search(pattern, line)]
            return found if len(found) >= times else None

        return wait_until(matches, f"/{pattern}/ in the log", context=self.log_tail)

    def sanitizer_reports(self):
        return [line for line in self.log_text().splitlines() if SANITIZER.search(line)]

    def get(self, path):
        """(status, body) of an HTTP GET; (0, reason) when nothing answers."""
        try:
            with urllib.request.urlopen(
                f"http://127.0.0.1:{self.http_port}{path}", timeout=10
            ) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as refusal:
            return refusal.code, refusal.read().decode()
        except OSError as error:
            return 0, str(error)

    def status(self):
        return json.loads(self.get("/status")[1])

    def metrics(self):
        """{'name{label="x"}': value} of /metrics."""
        lines = [
            line
            for line in self.get("/metrics")[1].splitlines()
            if line and not line.startswith("#")
        ]
        return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}

    def memory(self):
        """{"VmRSS": bytes, "RssAnon": bytes, ...} of the process, now."""
        with open(f"/proc/{self.process.pid}/status", encoding="utf-8") as file:
            found = re.findall(r"(\w+):\s+(\d+) kB", file.read())
        return {name: int(kib) * 1024 for name, kib in found}
