#!/usr/bin/python3
"""The charts under helm 3 and helm 4: what they render is valid, restricted and what the examples show; nonsense is refused."""

import copy
import json
import os
import re
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import tools  # noqa: E402

if not os.path.exists(os.path.join(tools.NPM, "installed.json")):
    tools.skip("helm is not here; scripts/setup test fetches it with npm")

import yaml  # noqa: E402
import pages  # noqa: E402
from render import (CHARTS, HELMS, LIBRARY, RELEASE, SIDECAR, SYNCSERVER, Refused, documents, examples, helm, pod_of, read,  # noqa: E402
                    template)

EXAMPLES = examples()
MINIMAL = os.path.join(SIDECAR, "examples", "minimal", "values.yaml")
# Kubernetes' restricted profile: the kinds of volumes it knows.
VOLUMES = {"configMap", "secret", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "downwardAPI", "csi"}
# What the variables of a configuration stand for in these tests.
ENVIRONMENT = {"PATH": os.environ["PATH"], "DATABASE_URL": "postgresql://db/shop", "PGUSER": "sidecar"}
# Of the compiler, in every Debian or only with a sanitizer.
ALWAYS_THERE = re.compile(r"lib(asan|ubsan|c|stdc\+\+|gcc_s|m)\.so|ld-linux")
JOB = {"name": "a", "schedule": "@daily", "every": "5h", "older_than": "90d", "collections": {"drafts": "never"}}


def validate(*files):
    """(whether all is well, what was said)."""
    with tempfile.TemporaryDirectory(prefix="syncflow-manifests-") as out:
        script = os.path.join(tools.HERE, "validate.mjs")
        try:
            return True, tools.run("node", script, tools.NPM, out, *files)
        except AssertionError as failure:
            return False, str(failure)


def containers(spec):
    return spec.get("initContainers", []) + spec["containers"]


def complaints(rendered):
    """What the types do not say, of all documents of one rendering."""
    all_documents = documents(rendered)
    for document in all_documents:
        name = document["metadata"]["name"]
        place = f"{document['kind']} {name}"
        if len(name) > 63:
            yield f"{place}: the name is too long"
        if document["kind"] in ("Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding", "Secret"):
            yield f"{place}: the chart needs no such object"
        if pod_of(document):
            yield from (f"{place}: {complaint}" for complaint in pod_complaints(document))
        if document["kind"] == "Service" or "Monitor" in document["kind"]:
            yield from (f"{place}: {complaint}" for complaint in port_complaints(document, all_documents))


def pod_complaints(document):
    metadata, spec = pod_of(document)
    if spec.get("automountServiceAccountToken") is not False:
        yield "the pod gets a token of the API server"
    selector = document["spec"].get("selector", {}).get("matchLabels", {})
    if not selector.items() <= metadata.get("labels", {}).items():
        yield "the selector does not select the pod"
    volumes = [volume["name"] for volume in spec.get("volumes", [])]
    volumes += [claim["metadata"]["name"] for claim in document["spec"].get("volumeClaimTemplates", [])]
    if len(volumes) != len(set(volumes)):
        yield "two volumes have the same name"
    for volume in spec.get("volumes", []):
        if set(volume) - {"name"} - VOLUMES:
            yield f"the volume {volume['name']} is of a kind that restricted pods may not have"
    mounted = {mount["name"] for container in containers(spec) for mount in container.get("volumeMounts", [])}
    yield from (f"the volume {name} is missing" for name in sorted(mounted - set(volumes)))
    yield from (f"the volume {name} is mounted nowhere" for name in sorted(set(volumes) - mounted))
    for container in containers(spec):
        yield from (f"container {container['name']}: {complaint}"
                    for complaint in container_complaints(container, spec.get("securityContext", {})))


def container_complaints(container, pod_security):
    image = container["image"]
    if not re.search(r"@sha256:|:[\w.-]+$", image) or image.endswith(":latest"):
        yield f"the image {image} has no version"
    security = {**pod_security, **container.get("securityContext", {})}
    restricted = (security.get("runAsNonRoot") is True and security.get("runAsUser", 0) > 0
                  and security.get("allowPrivilegeEscalation") is False and security.get("readOnlyRootFilesystem") is True
                  and security.get("capabilities", {}).get("drop") == ["ALL"] and "add" not in security["capabilities"]
                  and security.get("seccompProfile", {}).get("type") == "RuntimeDefault")
    if not restricted:
        yield f"is not restricted: {security}"
    ports = [port["name"] for port in container.get("ports", [])]
    yield from (f"the port's name {name} is too long" for name in ports if len(name) > 15)
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        port = container.get(probe, {}).get("httpGet", {}).get("port")
        if port and port not in ports:
            yield f"the {probe} asks the port {port}, which is not there"
    for variable in container.get("env", []):
        if re.search("password|token|secret", variable["name"], re.IGNORECASE) and "value" in variable:
            yield f"the value of {variable['name']} stands in the manifest"


def port_complaints(document, all_documents):
    """Whom a Service or a monitor selects must have the ports it names."""
    selector = document["spec"]["selector"]
    selector = selector.get("matchLabels", selector)
    wanted = {port.get("targetPort", port.get("port")) for key in ("ports", "endpoints", "podMetricsEndpoints")
              for port in document["spec"].get(key, [])}
    if document["kind"] == "ServiceMonitor":
        chosen = [(other["metadata"], [port["name"] for port in other["spec"]["ports"]])
                  for other in all_documents if other["kind"] == "Service"]
    else:
        pods = [pod_of(other) for other in all_documents if pod_of(other) and other["kind"] != "Pod"]
        chosen = [(metadata, [port["name"] for container in containers(spec) for port in container.get("ports", [])])
                  for metadata, spec in pods]
    chosen = [ports for metadata, ports in chosen if selector.items() <= metadata["labels"].items()]
    if not chosen:
        yield "selects nothing"
    if document["kind"] == "ServiceMonitor":  # it takes those of the Services that have the port
        chosen = [sum(chosen, [])]
    for ports in chosen:
        yield from (f"the port {port} is not there" for port in sorted(wanted - set(ports)))
        yield from (f"the port {port} is there twice" for port in sorted(wanted) if ports.count(port) > 1)


class EveryExample(unittest.TestCase):
    def test_there_are_enough(self):
        self.assertGreaterEqual(len(EXAMPLES), 12)

    def test_lint_is_content(self):
        for example in EXAMPLES:
            for version in HELMS:
                with self.subTest(example=str(example), helm=version):
                    helm(version, "lint", "--strict", example.chart, "--values", example.values, "--kube-version", example.kubernetes)

    def test_both_helms_render_what_is_kept(self):
        for example in EXAMPLES:
            for version in HELMS:
                with self.subTest(example=str(example), helm=version):
                    self.assertEqual(example.render(version), read(example.golden), "stale: run tests/charts/pages.py")

    def test_manifests_are_kubernetes(self):
        well, said = validate(*(example.golden for example in EXAMPLES))
        self.assertTrue(well, said)

    def test_manifests_hold_together_and_are_restricted(self):
        for example in EXAMPLES:
            with self.subTest(example=str(example)):
                self.assertEqual(list(complaints(example.render())), [])

    def test_configuration_is_what_the_program_takes(self):
        maps = [(example, document["data"]["sidecar.yaml"]) for example in EXAMPLES
                for document in documents(example.render())
                if document["kind"] == "ConfigMap" and "sidecar.yaml" in document["data"]]
        self.assertEqual(len(maps), len(EXAMPLES))
        for example, text in maps:
            with self.subTest(example=str(example)), tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
                file.write(text)
                file.flush()
                tools.run(tools.program(), "check-config", file.name, env=ENVIRONMENT)


class Planted(unittest.TestCase):
    """The checks above catch what is planted in a good rendering."""

    def setUp(self):
        self.documents = documents(template(SIDECAR, "3", "--values", MINIMAL))
        self.set = next(document for document in self.documents if document["kind"] == "StatefulSet")
        self.spec = self.set["spec"]["template"]["spec"]
        self.container = self.spec["containers"][0]

    def expect_complaint(self, words):
        self.assertIn(words, "\n".join(complaints(yaml.safe_dump_all(self.documents))))

    def expect_invalid(self, words):
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
            yaml.safe_dump_all(self.documents, file)
            file.flush()
            well, said = validate(file.name)
        self.assertFalse(well)
        self.assertIn(words, said)

    def test_unknown_field(self):
        self.container["restartPolcy"] = "Always"
        self.expect_invalid("restartPolcy")

    def test_word_for_a_number(self):
        self.container["ports"][0]["containerPort"] = "7433"
        self.expect_invalid("containerPort")

    def test_unknown_kind(self):
        self.set["kind"] = "StatefulSets"
        self.expect_invalid("no such kind")

    def test_root(self):
        del self.container["securityContext"]["runAsUser"]
        self.expect_complaint("is not restricted")

    def test_capability(self):
        self.container["securityContext"]["capabilities"]["add"] = ["NET_ADMIN"]
        self.expect_complaint("is not restricted")

    def test_missing_volume(self):
        self.spec["volumes"].pop()
        self.expect_complaint("is missing")

    def test_host_path(self):
        self.spec["volumes"][0] = {"name": self.spec["volumes"][0]["name"], "hostPath": {"path": "/"}}
        self.expect_complaint("of a kind that restricted pods may not have")

    def test_selector(self):
        self.set["spec"]["selector"]["matchLabels"]["other"] = "label"
        self.expect_complaint("does not select the pod")

    def test_probe_without_a_port(self):
        self.container["livenessProbe"]["httpGet"]["port"] = "admin"
        self.expect_complaint("asks the port admin")

    def test_service_without_a_port(self):
        self.container["ports"].pop()
        self.expect_complaint("the port http-metrics is not there")

    def test_image_without_a_version(self):
        self.container["image"] = "registry.example.com:5000/sidecar"
        self.expect_complaint("has no version")

    def test_secret_in_the_manifest(self):
        self.container["env"].append({"name": "PGPASSWORD", "value": "x"})
        self.expect_complaint("stands in the manifest")

    def test_token_of_the_api_server(self):
        del self.spec["automountServiceAccountToken"]
        self.expect_complaint("token of the API server")


# --set words on top of the minimal example, and words of the refusal. `schema:` refusals are helm's own sentences, which differ.
REFUSED = {
    "two replicas": ("replicas=2", "a replication slot has one reader"),
    "no database": ("sidecar.database.existingSecret=", "the sidecar needs a database"),
    "a password in the ConfigMap": ("sidecar.config.postgres.url=postgresql://u:p@db/shop", "holds a password"),
    "a password among the keywords": ("sidecar.config.postgres.url=host=db password=p", "holds a password"),
    "a password that is a variable in part": ("sidecar.config.postgres.url=postgresql://u:${PW}x@db/shop", "holds a password"),
    "a password among the keywords, a variable beside it":
        ("sidecar.config.postgres.url=host=db password=p user=${PW}", "holds a password"),
    "a volume without the file system's own share": ("sidecar.persistence.size=17Gi", "the file system takes for itself"),
    "a journal larger than its volume": ("sidecar.config.journal.retain_size=20GiB", "enlarge the volume or lower the limits"),
    "pins larger than the volume": ("sidecar.persistence.size=16Gi", "enlarge the volume or lower the limits"),
    "a volume in powers of ten": ("sidecar.persistence.size=17G", "enlarge the volume or lower the limits"),
    "a journal of unknown size": ("sidecar.config.journal.retain_size=${SIZE}", "must be a plain size"),
    "a feed that asks nobody": ("sidecar.tokens.existingSecret=", "nobody would be asked who they are"),
    "a feed with certificates that are not asked for":
        ("sidecar.tokens.existingSecret=,sidecar.tls.existingSecret=shop-tls", "nobody would be asked who they are"),
    "a Service of a feed on loopback": ("sidecar.config.feed.listen=127.0.0.1:7433", "the Service would lead nowhere"),
    "a feed without a port": ("sidecar.config.feed.listen=0.0.0.0", "must end in :PORT"),
    "probes that reach nothing": ("sidecar.config.http.listen=127.0.0.1:9464", "probes cannot reach"),
    "no http for the probes": ("sidecar.config.http.listen=", "probes cannot reach"),
    "a sync API that asks nobody": ("sidecar.config.sync_api.listen=0.0.0.0:3000", "SyncFlow's clients do not say who they are"),
    "a sync API on another's port": ("sidecar.config.sync_api.listen=127.0.0.1:7433", "has the port of feed.listen or http.listen"),
    "a job without a time": ("sidecar.config.compaction.jobs[0].name=a,sidecar.config.compaction.jobs[0].older_than=9d", "schema"),
    "one port twice": ("sidecar.config.http.listen=0.0.0.0:7433", "the same port"),
    "a claim without a name": ("sidecar.persistence.kind=existingClaim", "name it in sidecar.persistence.existingClaim"),
    "latest": ("sidecar.image.tag=latest", "nobody could tell what runs"),
    "both monitors": ("serviceMonitor.enabled=true,podMonitor.enabled=true", "every sample would be stored twice"),
    "a monitor of no Service": ("serviceMonitor.enabled=true,service.enabled=false", "serviceMonitor needs the Service"),
    "a name that no alert watches": ("prometheusRule.enabled=true,nameOverride=feed", "the alerts watch scrape jobs"),
    "an alert that is not there": ("prometheusRule.enabled=true,prometheusRule.disabled={SyncflowNothing}", "there is no such alert"),
    "a value that is not there": ("replica=1", "schema"),
    "a sidecar's value that is not there": ("sidecar.imag.tag=1", "schema"),
    "a setting that is not there": ("sidecar.config.journal.max_sise=1GiB", "schema"),
    "a section that is not there": ("sidecar.config.jurnal.retain_size=1GiB", "schema"),
    "a number as a word": ("replicas=one", "schema"),
    "a size that is none": ("sidecar.config.journal.retain_size=4 gigabytes", "schema"),
    "a duration that is none": ("sidecar.config.feed.heartbeat=15", "schema"),
    "another version of the configuration": ("sidecar.config.version=2", "schema"),
    "a slot that PostgreSQL refuses": ("sidecar.config.replication.slot=Shop-1", "schema"),
    "many writers of the volume": ("sidecar.persistence.accessModes={ReadWriteMany}", "schema"),
    "too little time to end": ("terminationGracePeriodSeconds=5", "schema"),
}


# What looks like nonsense and is none.
ALLOWED = {
    "a password that is a variable": "sidecar.config.postgres.url=postgresql://u:${PW}@db/shop",
    "a password that is a variable among the keywords": "sidecar.config.postgres.url=host=db password=${PW} user=u",
    "a feed that asks for certificates": "sidecar.tokens.existingSecret=,sidecar.tls.existingSecret=shop-tls,sidecar.tls.clientCaKey=ca.crt",
    "a feed that asks for certificates, wired by hand": "sidecar.tokens.existingSecret=,sidecar.config.feed.tls.client_ca=/etc/ca.crt",
    "a feed on loopback without a Service": "sidecar.config.feed.listen=127.0.0.1:7433,service.enabled=false",
    "a volume a tenth larger than the journal": "sidecar.persistence.size=18Gi",
}


class Refusals(unittest.TestCase):
    def test_what_makes_sense_is_not_refused(self):
        for what, words in ALLOWED.items():
            for version in HELMS:
                with self.subTest(what, helm=version):
                    template(SIDECAR, version, "--values", MINIMAL, "--set", words)

    def test_nonsense_is_refused(self):
        for what, (words, sentence) in REFUSED.items():
            for version in HELMS:
                with self.subTest(what, helm=version), self.assertRaises(Refused) as refused:
                    template(SIDECAR, version, "--values", MINIMAL, "--set", words)
                self.assertIn(sentence, str(refused.exception))

    def test_two_replicas_of_a_server_with_the_sidecar(self):
        with self.assertRaisesRegex(Refused, "a replication slot has one reader"):
            template(SYNCSERVER, "3", "--set", "replicas=2")

    def test_native_sidecar_on_a_kubernetes_that_knows_none(self):
        with self.assertRaisesRegex(Refused, "needs Kubernetes 1.29"):
            template(SYNCSERVER, "3", "--set", "sidecar.nativeSidecar=true", kubernetes="1.28.0")

    def test_kubernetes_that_is_too_old(self):
        with self.assertRaisesRegex(Refused, "kubeVersion"):
            template(SIDECAR, "3", "--values", MINIMAL, kubernetes="1.24.0")


class Sidecars(unittest.TestCase):
    """In somebody else's pod."""

    def pod(self, kubernetes, *words):
        rendered = documents(template(SYNCSERVER, "3", *words, kubernetes=kubernetes))
        return pod_of(next(document for document in rendered if document["kind"] == "Deployment"))[1]

    def test_native_where_kubernetes_can(self):
        pod = self.pod("1.29.0")
        self.assertEqual([container.get("restartPolicy") for container in pod["initContainers"]], ["Always"])
        self.assertNotIn("syncflow-sidecar", [container["name"] for container in pod["containers"]])

    def test_classic_before(self):
        pod = self.pod("1.28.9")
        self.assertNotIn("initContainers", pod)
        self.assertIn("syncflow-sidecar", [container["name"] for container in pod["containers"]])

    def test_readiness_of_the_pod_does_not_hang_on_it(self):
        [sidecar] = self.pod("1.33.0")["initContainers"]
        self.assertNotIn("readinessProbe", sidecar)
        self.assertIn("livenessProbe", sidecar)


class Rollouts(unittest.TestCase):
    def test_a_broken_first_pod_is_replaced_by_an_upgrade(self):
        """With OrderedReady the controller waits for ever until the broken one is ready."""
        rendered = documents(template(SIDECAR, "3", "--values", MINIMAL))
        spec = next(document for document in rendered if document["kind"] == "StatefulSet")["spec"]
        self.assertEqual(spec.get("podManagementPolicy"), "Parallel")

    def test_what_doctor_says_is_there_for_helm_test_logs(self):
        """helm fetches the logs after it has carried out hook-succeeded."""
        rendered = documents(template(SIDECAR, "3", "--values", MINIMAL))
        [doctor] = [document for document in rendered if document["kind"] == "Pod"]
        self.assertEqual(doctor["metadata"]["annotations"]["helm.sh/hook-delete-policy"], "before-hook-creation")

    def test_a_sync_api_on_loopback_is_no_port_of_the_service(self):
        rendered = documents(template(SIDECAR, "3", "--values", MINIMAL, "--set", "sidecar.config.sync_api.listen=127.0.0.1:3000"))
        service = next(document for document in rendered if document["kind"] == "Service")
        self.assertEqual([port["name"] for port in service["spec"]["ports"]], ["feed", "http-metrics"])


class ServiceForOutside(unittest.TestCase):
    WORDS = "service.type=LoadBalancer,service.annotations.example\\.com/outside=yes,serviceMonitor.enabled=true"

    def test_has_not_what_asks_nobody(self):
        rendered = template(SIDECAR, "3", "--values", MINIMAL, "--set", self.WORDS)
        services = [document for document in documents(rendered) if document["kind"] == "Service"]
        self.assertEqual([(each["metadata"]["name"], each["spec"]["type"], each["metadata"].get("annotations"),
                           [port["name"] for port in each["spec"]["ports"]]) for each in services],
                         [("shop-syncflow-sidecar", "LoadBalancer", {"example.com/outside": "yes"}, ["feed"]),
                          ("shop-syncflow-sidecar-metrics", "ClusterIP", None, ["http-metrics"])])
        self.assertEqual(list(complaints(rendered)), [])

    def notes(self, *words):
        """helm 3 asks a cluster before it writes them."""
        return helm("4", "install", RELEASE, SIDECAR, "--dry-run=client", "--values", MINIMAL, *words)

    def test_without_tls_is_warned_of(self):
        warning = "the feed is reached from outside the cluster (service.type LoadBalancer)"
        self.assertIn(warning, self.notes("--set", self.WORDS))
        for words in ("sidecar.tls.existingSecret=shop-tls", "sidecar.config.feed.tls.certificate=/etc/tls.crt"):
            self.assertNotIn(warning, self.notes("--set", f"{self.WORDS},{words}"))
        self.assertNotIn("from outside", self.notes())


class Changes(unittest.TestCase):
    """When the pod is rolled."""

    def template(self, *words, chart=SIDECAR):
        rendered = documents(template(chart, "3", "--values", MINIMAL, *words))
        return next(document for document in rendered if document["kind"] == "StatefulSet")["spec"]["template"]

    def test_with_another_configuration(self):
        self.assertNotEqual(self.template(), self.template("--set", "sidecar.config.log.level=debug"))

    def test_not_with_another_label(self):
        self.assertEqual(self.template(), self.template("--set", "commonLabels.team=shop"))

    def test_not_with_another_version_of_the_chart(self):
        """As long as the image stays."""
        with tempfile.TemporaryDirectory(prefix="syncflow-chart-") as folder:
            helm("3", "package", SIDECAR, "--version", "0.9.9", "--app-version", "0.9.9", "--destination", folder)
            [package] = os.listdir(folder)
            self.assertEqual(self.template(), self.template(chart=os.path.join(folder, package)))


class Words(unittest.TestCase):
    """What the chart says twice, or says of something else, is true."""

    def test_tables_of_values_are_fresh(self):
        for chart in (SIDECAR, LIBRARY):
            page = read(os.path.join(chart, "README.md"))
            self.assertEqual(pages.with_table(page, chart), page, "stale: run tests/charts/pages.py")

    def test_the_librarys_monitor_finds_the_sidecar(self):
        [monitor] = re.findall(r"```yaml\n(apiVersion.*?)```", read(os.path.join(LIBRARY, "README.md")), re.DOTALL)
        self.assertRegex(yaml.safe_load(monitor)["metadata"]["name"], "syncflow")
        for kubernetes in ("1.28.0", "1.33.0"):
            rendered = template(SYNCSERVER, "3", kubernetes=kubernetes)
            self.assertEqual(list(complaints(f"{rendered}---\n{monitor}")), [], kubernetes)

    def test_claim_that_the_pages_enlarge_is_the_charts(self):
        page = read(os.path.join(CHARTS, "operations", "sizing.md"))
        [claim] = re.findall(r"kubectl patch pvc (\S+)-0 ", page)
        [name] = re.findall(r"kubectl delete statefulset (\S+) --cascade=orphan", page)
        rendered = documents(template(SIDECAR, "3", "--values", MINIMAL))
        [made] = [document for document in rendered if document["kind"] == "StatefulSet"]
        [volume] = [each["metadata"]["name"] for each in made["spec"]["volumeClaimTemplates"]]
        self.assertEqual((name, claim), (made["metadata"]["name"], f"{volume}-{name}"))
        page = read(os.path.join(CHARTS, "operations", "backup.md"))
        self.assertEqual(re.findall(r"claimName: ([\w-]+)", page), [f"{claim}-0"])
        self.assertEqual(set(re.findall(r"kubectl scale statefulset (\S+)", page)), {name})

    def test_versions_are_the_programs(self):
        version = re.search(r"project\(syncflow-sidecar VERSION (\S+)", read(os.path.join(tools.ROOT, "CMakeLists.txt")))[1]
        self.assertEqual(yaml.safe_load(read(os.path.join(LIBRARY, "values.yaml")))["image"]["tag"], version)
        for chart in (SIDECAR, LIBRARY):
            about = yaml.safe_load(read(os.path.join(chart, "Chart.yaml")))
            self.assertEqual((about["version"], about["appVersion"]), (version, version))
        about = yaml.safe_load(read(os.path.join(SIDECAR, "Chart.yaml")))
        self.assertEqual([each["version"] for each in about["dependencies"]], [version])

    def test_schema_knows_the_programs_settings(self):
        schema = json.loads(read(os.path.join(LIBRARY, "values.schema.json")))["properties"]["config"]["properties"]
        ours = {f"{section}.{key}" for section, about in schema.items() for key in about.get("properties", {})}
        defaults = yaml.safe_load(tools.run(tools.program(), "print-config", "--defaults"))
        theirs = {f"{section}.{key}" for section, content in defaults.items() if isinstance(content, dict) for key in content}
        self.assertEqual(theirs - ours, set(), "the chart's schema lacks settings")
        self.assertEqual(ours - theirs, set(), "the chart's schema has settings that the program does not know")

    def test_schema_knows_the_settings_of_a_job(self):
        schema = json.loads(read(os.path.join(LIBRARY, "values.schema.json")))["properties"]["config"]["properties"]
        ours = set(schema["compaction"]["properties"]["jobs"]["items"]["properties"])
        theirs = set()
        for when in ("schedule", "every"):
            job = {key: value for key, value in JOB.items() if key not in {"schedule", "every"} - {when}}
            with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
                yaml.safe_dump({"version": 1, "postgres": {"url": "x"}, "compaction": {"jobs": [job]}}, file)
                file.flush()
                theirs |= set(yaml.safe_load(tools.run(tools.program(), "print-config", file.name))["compaction"]["jobs"][0])
        self.assertEqual(ours, theirs)

    def test_schemas_refuse_what_they_do_not_know(self):
        for chart in (SIDECAR, LIBRARY):
            for path, place in objects_of(json.loads(read(os.path.join(chart, "values.schema.json")))):
                self.assertIs(place.get("additionalProperties"), False, path)

    def test_packages_are_whole(self):
        for version in HELMS:
            with tempfile.TemporaryDirectory(prefix="syncflow-package-") as folder:
                helm(version, "package", SIDECAR, "--destination", folder)
                [package] = os.listdir(folder)
                rendered = template(os.path.join(folder, package), version, "--values", MINIMAL)
                self.assertEqual(rendered, template(SIDECAR, version, "--values", MINIMAL))

    def test_charts_need_nothing_from_elsewhere(self):
        for name in ("syncflow-sidecar", "examples/syncserver"):
            about = yaml.safe_load(read(os.path.join(CHARTS, name, "Chart.yaml")))
            for each in about["dependencies"]:
                self.assertTrue(each["repository"].startswith("file://"))


def objects_of(schema, path="#"):
    """(path, schema) of each object that lists its properties."""
    if isinstance(schema, dict):
        if "properties" in schema:
            yield path, schema
        for key, value in schema.items():
            yield from objects_of(value, f"{path}/{key}")


class Image(unittest.TestCase):
    """What the Dockerfile's last stage installs is what the program asks the loader for."""

    def test_each_library_of_the_program_is_installed(self):
        packages = runtime_packages()
        self.assertIn("tzdata", packages, "the times of compaction jobs have zones")
        reached = packages | depended_on(packages)
        names = re.findall(r"\(NEEDED\).*\[(\S+)\]", tools.run("readelf", "-d", tools.program()))
        libraries = [name for name in names if not ALWAYS_THERE.match(name)]
        self.assertGreater(len(libraries), 5)
        for library in libraries:
            with self.subTest(library):
                self.assertTrue(owners(library) & reached, f"none of {owners(library)} is in the Dockerfile's runtime packages")


def runtime_packages():
    stage = tools.read(os.path.join(tools.ROOT, "Dockerfile")).rpartition("\nFROM ")[2]
    words = re.search(r"apt-get install -y --no-install-recommends ((?:[^&]|\\\n)+)", stage)[1]
    return set(words.replace("\\", " ").split())


def depended_on(packages):
    """By any of these, however far away, as this machine has them installed; of alternatives the first."""
    needs = {}
    for line in tools.run("dpkg-query", "--show", "--showformat", "${Package}\t${Pre-Depends},${Depends}\n").splitlines():
        package, _, wanted = line.partition("\t")
        needs[package] = {re.match(r"[a-z0-9.+-]*", each.strip())[0] for each in wanted.split(",")}
    found, ahead = set(), set(packages)
    while ahead:
        found |= ahead
        ahead = set().union(*(needs.get(package, set()) for package in ahead)) - found
    return found


def owners(library):
    """The packages that bring a library, by the name the loader looks for."""
    lines = tools.run("dpkg", "-S", f"*/{library}").splitlines()
    return {re.sub(r":\w+$", "", line.partition(": ")[0]) for line in lines if line.endswith(f"/{library}")}


class Compose(unittest.TestCase):
    """Nothing here runs compose; what its file points to is there and right."""

    def setUp(self):
        self.services = yaml.safe_load(tools.read(os.path.join(tools.ROOT, "compose.yaml")))["services"]

    def test_files_it_mounts_are_there(self):
        for name, service in self.services.items():
            for volume in service.get("volumes", []):
                if volume.startswith("./"):
                    self.assertTrue(os.path.exists(os.path.join(tools.ROOT, volume.split(":")[0])), f"{name}: {volume}")

    def test_configuration_is_what_the_program_takes(self):
        environment = {"PATH": os.environ["PATH"], **self.services["sidecar"]["environment"]}
        tools.run(tools.program(), "check-config", os.path.join(tools.ROOT, "examples", "compose", "sidecar.yaml"), env=environment)

    def test_services_are_these(self):
        self.assertEqual(set(self.services), {"postgres", "sidecar", "consumer", "prometheus"})


class RulesForTheOperator(unittest.TestCase):
    def rules(self, *words):
        rendered = documents(template(SIDECAR, "3", "--values", MINIMAL, "--set", "prometheusRule.enabled=true", *words))
        return next(document for document in rendered if document["kind"] == "PrometheusRule")["spec"]

    def test_are_those_of_the_file(self):
        kept = yaml.safe_load(read(os.path.join(SIDECAR, "rules", "syncflow.yaml")))
        self.assertEqual(self.rules(), kept)

    def test_point_to_your_pages(self):
        groups = self.rules("--set", "prometheusRule.runbookUrl=https://example.com/")["groups"]
        for rule in (rule for group in groups for rule in group["rules"]):
            self.assertEqual(rule["annotations"]["runbook_url"], f"https://example.com/{rule['alert']}.md")

    def test_may_be_left_out_to_the_last_of_a_group(self):
        kept = copy.deepcopy(self.rules()["groups"])
        first = [rule["alert"] for rule in kept[0]["rules"]]
        groups = self.rules("--set", f"prometheusRule.disabled={{{','.join(first)}}}")["groups"]
        self.assertEqual(groups, kept[1:])


if __name__ == "__main__":
    unittest.main(verbosity=2)
