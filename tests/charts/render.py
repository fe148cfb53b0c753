"""Charts, their examples, and what helm makes of them."""

import glob
import os
import re
import subprocess

import yaml
from tools import HELMS, NPM, ROOT, read  # noqa: F401

CHARTS = os.path.join(ROOT, "charts")
SIDECAR = os.path.join(CHARTS, "syncflow-sidecar")
LIBRARY = os.path.join(CHARTS, "syncflow-sidecar-lib")
SYNCSERVER = os.path.join(CHARTS, "examples", "syncserver")
RELEASE, NAMESPACE, KUBERNETES = "shop", "data", "1.33.0"


class Refused(Exception):
    """helm ended with an error; its words."""


class Example:
    """A folder with the values of a use, and what the chart makes of them."""

    def __init__(self, folder):
        self.name = os.path.basename(folder)
        self.chart = os.path.dirname(os.path.dirname(folder))
        self.values = os.path.join(folder, "values.yaml")
        self.golden = os.path.join(folder, "rendered.yaml")
        said = re.match(r"# kubernetes: (\S+)", read(self.values))
        self.kubernetes = said[1] if said else KUBERNETES

    def __str__(self):
        return f"{os.path.basename(self.chart)}/{self.name}"

    def render(self, helm="3", *more):
        return template(self.chart, helm, "--values", self.values, *more, kubernetes=self.kubernetes)


def examples():
    found = glob.glob(os.path.join(SIDECAR, "examples", "*")) + glob.glob(os.path.join(SYNCSERVER, "examples", "*"))
    return [Example(folder) for folder in sorted(found)]


def helm(version, *words):
    """Its standard output. Throws Refused."""
    home = {f"HELM_{kind}_HOME": os.path.join(NPM, "home", kind) for kind in ("CACHE", "CONFIG", "DATA")}
    done = subprocess.run([HELMS[version], *words], capture_output=True, text=True, timeout=120, check=False,
                          env={**os.environ, **home})
    if done.returncode != 0:
        raise Refused(done.stdout + done.stderr)
    return done.stdout


def template(chart, version, *words, kubernetes=KUBERNETES):
    return helm(version, "template", RELEASE, chart, "--namespace", NAMESPACE, "--kube-version", kubernetes, *words)


def documents(text):
    return [document for document in yaml.safe_load_all(text) if document]


def pod_of(document):
    """The pod's metadata and spec of a workload, else None."""
    if document["kind"] == "Pod":
        return document["metadata"], document["spec"]
    if document["kind"] in ("StatefulSet", "Deployment"):
        template_ = document["spec"]["template"]
        return template_["metadata"], template_["spec"]
    return None
