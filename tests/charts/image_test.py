#!/usr/bin/python3
"""The image: built from the Dockerfile on a base of this machine's own Debian mirror, run read-only and without capabilities against
a real PostgreSQL, and the chart's pod run by podman with PostgreSQL and a consumer beside it.

What is built is kept in build/image, so that the next run builds only what changed.
"""

import glob
import json
import os
import re
import subprocess
import sys
import tempfile
import unittest
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "blackbox"), os.path.join(HERE, "..", "support")]
import tools  # noqa: E402

tools.need("buildah", "podman", "runc", "catatonit", "mmdebstrap")
if os.geteuid() != 0:
    tools.skip("containers are built and run as root here")

import psycopg2  # noqa: E402
import yaml  # noqa: E402
from consumer import Consumer  # noqa: E402
from postgres import free_port  # noqa: E402
from rig import Rig  # noqa: E402
from waiting import wait_until  # noqa: E402

STORE = os.path.join(tools.ROOT, "build", "image")
BASE = "docker.io/library/debian:bookworm-slim"
SIDECAR = "localhost/syncflow-sidecar:0.1.0"
POSTGRES = "localhost/syncflow-test-postgres:15"
PLACES = ["--root", os.path.join(STORE, "st"), "--runroot", os.path.join(STORE, "run"), "--storage-driver", "overlay"]
PODMAN = ["podman", *PLACES, "--cgroup-manager", "cgroupfs", "--runtime", "runc"]
SIZE_MAX = 200e6  # bytes, unpacked
BUILD_MAX = 3000  # seconds, for a hang
INSERT = ("INSERT INTO operations (id, type, collection, doc_id, data, timestamp, client_id, vector_clock) "
          "SELECT %s || '-' || n, 'put', 'todos', 'doc', '{}', n, 'c', '{}' FROM generate_series(1, %s) n")
# Where a machine gives its containers less than the defaults ask for.
CONTAINERS = """[containers]
default_ulimits = ["nofile=20000:20000", "nproc=4096:4096"]
cgroupns = "host"
log_driver = "k8s-file"
[engine]
events_logger = "file"
"""


def prepare():
    os.makedirs(os.path.join(STORE, "tmp"), exist_ok=True)
    with open(os.path.join(STORE, "containers.conf"), "w", encoding="utf-8") as file:
        file.write(CONTAINERS)
    os.environ.update(CONTAINERS_CONF=file.name, TMPDIR=os.path.join(STORE, "tmp"))
    tempfile.tempdir = "/tmp" if os.path.isdir("/tmp") else None  # short paths, and no overlay, for servers and journals


def buildah(*words):
    done = subprocess.run(["buildah", *PLACES, *words], capture_output=True, text=True, timeout=BUILD_MAX, check=False)
    if done.returncode != 0:
        raise AssertionError(f"buildah {' '.join(words)}:\n{done.stdout[-6000:]}{done.stderr[-3000:]}")
    return done.stdout.strip()


def podman(*words, **options):
    return subprocess.run([*PODMAN, *words], capture_output=True, text=True, timeout=300, check=False, **options)


def sources():
    """This machine's own list of Debian mirrors."""
    return [path for path in (*glob.glob("/etc/apt/sources.list.d/debian.sources"), "/etc/apt/sources.list") if os.path.exists(path)][:1]


def make_base():
    """Stands in for the published image of the same name."""
    if BASE in buildah("images", "--format", "{{.Name}}:{{.Tag}}"):
        return
    tar = os.path.join(STORE, "base.tar")
    options = [f"--dpkgopt=path-exclude=/usr/share/{folder}/*" for folder in ("man", "locale", "doc")]
    options.append("--dpkgopt=path-include=/usr/share/doc/*/copyright")
    tools.run("mmdebstrap", "--quiet", "--variant=minbase", "--include=ca-certificates", *options, "bookworm", tar, *sources())
    container = buildah("from", "scratch")
    buildah("add", "-q", container, tar, "/")
    buildah("config", "--cmd", "bash", container)
    buildah("commit", "-q", "--rm", container, BASE)


def build(tag, folder, *words):
    buildah("bud", "--isolation", "chroot", "--pull-never", "--layers", "--format", "oci", "-t", tag, *words, folder)


def try_buildah():
    """Some machines let nobody mount."""
    try:
        buildah("rm", buildah("from", "scratch"))
    except AssertionError as failure:
        tools.skip(f"buildah cannot work here: {failure}")


def try_podman():
    """Nor make namespaces."""
    done = podman("run", "--rm", "--network", "host", BASE, "true")
    if done.returncode != 0:
        tools.skip(f"podman cannot run a container here: {done.stderr}")


class Image(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        build(SIDECAR, tools.ROOT)
        cls.about = json.loads(buildah("inspect", "--type", "image", SIDECAR))

    def test_is_what_its_label_says(self):
        config = self.about["OCIv1"]["config"]
        self.assertEqual(config["User"], "65532:65532")
        self.assertEqual(config["Entrypoint"], ["/usr/bin/syncflow-sidecar"])
        self.assertEqual({port.split("/")[0] for port in config["ExposedPorts"]}, {"7433", "9464"})
        version = re.search(r"project\(syncflow-sidecar VERSION (\S+)", tools.read(os.path.join(tools.ROOT, "CMakeLists.txt")))[1]
        self.assertEqual(config["Labels"]["org.opencontainers.image.version"], version)
        self.assertEqual(config["Labels"]["org.opencontainers.image.licenses"], "MIT")
        self.assertEqual([name for name in (entry.split("=")[0] for entry in config.get("Env", [])) if name != "PATH"], [])
        self.assertIn(version, self.podman_run("version").stdout)

    def test_is_small_and_holds_no_compiler(self):
        [size] = [image["Size"] for image in json.loads(podman("images", "--format", "json").stdout) if SIDECAR in (image.get("Names") or [])]
        print(f"{size / 1e6:.0f} MB")
        self.assertLess(size, SIZE_MAX)
        self.assertEqual(podman("run", "--rm", "--network", "host", "--entrypoint", "/usr/bin/g++", SIDECAR).returncode, 127)

    def hardened(self, *words):
        return ["run", "--network", "host", "--read-only", "--read-only-tmpfs=false", "--cap-drop", "ALL",
                "--security-opt", "no-new-privileges", *words, SIDECAR]

    def podman_run(self, *words):
        done = podman(*self.hardened("--rm"), *words)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done

    def test_does_the_main_job_read_only_and_without_capabilities(self):
        with Rig(tools.program()) as rig:
            sidecar = rig.sidecar(**{"journal.directory": "/var/lib/syncflow-sidecar"})
            journal = os.path.join(rig.folder, "volume")
            os.mkdir(journal)
            os.chown(journal, 65532, 65532)
            os.chmod(rig.folder, 0o755)
            mounts = ["--volume", f"{rig.folder}:/etc/syncflow-sidecar:ro", "--volume", f"{journal}:/var/lib/syncflow-sidecar"]
            name = f"syncflow-test-{os.getpid()}"
            run = [*PODMAN, *self.hardened("--rm", "--name", name, *mounts)]
            consumer = rig.stops(Consumer(sidecar.feed).start())
            for turn in ("first", "second"):
                with open(sidecar.log, "ab") as log:
                    process = subprocess.Popen(run, stdout=log, stderr=log)
                try:
                    wait_until(lambda: sidecar.get("/readyz")[0] == 200, "the container to be ready", context=sidecar.log_tail)
                    self.assert_restricted(name)
                    rig.execute(INSERT, turn, 100)
                    wait_until(lambda: consumer.has(f"{turn}-100"), "the consumer to have everything")
                finally:
                    podman("stop", "--time", "15", name)
                self.assertEqual(process.wait(timeout=60), 0, sidecar.log_tail())
            self.assertEqual(len(consumer.deliveries), 200)

    def assert_restricted(self, name):
        [pid] = json.loads(podman("inspect", "--format", "[{{.State.Pid}}]", name).stdout)
        status = dict(re.findall(r"^(\w+):\s+(.*)$", tools.read(f"/proc/{pid}/status"), re.MULTILINE))
        self.assertEqual(status["Uid"].split(), ["65532"] * 4)
        self.assertEqual((status["CapEff"], status["NoNewPrivs"]), ("0" * 16, "1"))
        self.assertIn(" / ro,", re.sub(r"^\S+ \S+ \S+ \S+", "", tools.read(f"/proc/{pid}/mountinfo"), flags=re.MULTILINE))


class Pod(unittest.TestCase):
    """What the chart renders, as podman can run it: host network, folders instead of claims, and the probes are asked by the test."""

    @classmethod
    def setUpClass(cls):
        if not os.path.exists(os.path.join(tools.NPM, "installed.json")):
            raise unittest.SkipTest("helm is not here; scripts/setup test fetches it with npm")
        build(SIDECAR, tools.ROOT)
        build(POSTGRES, HERE, "--file", os.path.join(HERE, "postgres.Dockerfile"))

    def setUp(self):
        self.folder = self.enterContext(tempfile.TemporaryDirectory(prefix="syncflow-pod-"))
        os.chmod(self.folder, 0o755)
        self.ports = {name: free_port() for name in ("postgres", "feed", "http")}

    def volume(self, name):
        path = os.path.join(self.folder, name)
        os.mkdir(path)
        os.chown(path, 65532, 65532)
        return {"path": path}

    def values(self):
        postgres, feed = self.ports["postgres"], f"127.0.0.1:{self.ports['feed']}"
        restricted = {"runAsUser": 65532, "allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
        return {
            "service": {"enabled": False},
            "sidecar": {
                "image": {"repository": SIDECAR.rpartition(":")[0], "pullPolicy": "Never"},
                "config": {"postgres": {"url": f"postgresql://postgres@127.0.0.1:{postgres}/postgres"}, "feed": {"listen": feed},
                           "http": {"listen": f"0.0.0.0:{self.ports['http']}"}}},
            "extraContainers": [
                {"name": "postgres", "image": POSTGRES, "imagePullPolicy": "Never", "securityContext": restricted,
                 "env": [{"name": "PGPORT", "value": str(postgres)}], "volumeMounts": [{"name": "postgres", "mountPath": "/data"}]},
                {"name": "consumer", "image": SIDECAR, "imagePullPolicy": "Never", "securityContext": restricted,
                 "args": ["tail", feed, "--from", "earliest", "--json"]}]}

    def manifest(self):
        from render import documents, pod_of, template  # noqa: PLC0415
        from render import SIDECAR as CHART  # noqa: PLC0415
        values = os.path.join(self.folder, "values.yaml")
        with open(values, "w", encoding="utf-8") as file:
            yaml.safe_dump(self.values(), file)
        rendered = documents(template(CHART, "3", "--values", values))
        config = next(each for each in rendered if each["kind"] == "ConfigMap")
        _, spec = pod_of(next(each for each in rendered if each["kind"] == "StatefulSet"))
        spec.update(hostNetwork=True, restartPolicy="OnFailure")
        self.probes = [spec["containers"][0].pop(kind)["httpGet"]["path"] for kind in ("startupProbe", "livenessProbe", "readinessProbe")]
        del spec["containers"][0]["ports"]  # podman would publish them, which a host's network needs not
        spec["volumes"] += [{"name": name, "hostPath": self.volume(name)} for name in ("postgres", "syncflow-journal")]
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": f"syncflow-pod-{os.getpid()}"}, "spec": spec}
        path = os.path.join(self.folder, "pod.yaml")
        with open(path, "w", encoding="utf-8") as file:
            yaml.safe_dump_all([config, pod], file)
        return path, pod["metadata"]["name"]

    def test_sidecar_postgresql_and_consumer_in_one_pod(self):
        """The sidecar is first in the pod and must not wait for PostgreSQL, which comes after it."""
        path, name = self.manifest()
        played = podman("play", "kube", path)
        self.addCleanup(podman, "play", "kube", "--down", path)
        self.assertEqual(played.returncode, 0, played.stderr)

        def say():
            return "".join(podman("logs", f"{name}-{each}").stderr for each in ("syncflow-sidecar", "postgres", "consumer"))
        url = f"postgresql://postgres@127.0.0.1:{self.ports['postgres']}/postgres"
        wait_until(lambda: self.insert(url), "PostgreSQL and its tables", context=say, every=0.5)
        wait_until(lambda: '"pod-100"' in podman("logs", f"{name}-consumer").stdout, "the consumer to print everything", context=say,
                   every=0.5)
        for probe in self.probes:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.ports['http']}{probe}", timeout=30) as answer:
                self.assertEqual(answer.status, 200, probe)

    def insert(self, url):
        """True when it is done: the server has started, and the sidecar has created the tables."""
        try:
            connection = psycopg2.connect(url, connect_timeout=5)
            with connection, connection.cursor() as cursor:
                cursor.execute(INSERT, ("pod", 100))
            connection.close()
            return True
        except (psycopg2.OperationalError, psycopg2.errors.UndefinedTable):
            return False


if __name__ == "__main__":
    prepare()
    try_buildah()
    make_base()
    try_podman()
    done = unittest.main(verbosity=2, exit=False).result
    if done.wasSuccessful() and done.skipped:
        tools.skip("; ".join(reason for _, reason in done.skipped))
    sys.exit(not done.wasSuccessful())
