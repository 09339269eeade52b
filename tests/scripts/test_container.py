# SPDX-License-Identifier: Apache-2.0
"""container/: each file has the form that its reader wants, and what they say of each other and of
the server is true. tests/live/test_container.py runs the configuration."""

import re

import pytest

from .checkout import TOP
from .test_monitoring import asked, metrics

yaml = pytest.importorskip("yaml")
FOLDER = TOP / "container"
INSTRUCTIONS = {"ARG", "FROM", "RUN", "WORKDIR", "COPY", "USER", "EXPOSE", "STOPSIGNAL", "CMD"}


def documents(name):
    """All documents of a YAML file; a key that is given twice is an error."""
    class Loader(yaml.SafeLoader):
        """Refuses repeated keys, which YAML forbids and PyYAML does not."""

    def mapping(loader, node):
        keys = [loader.construct_object(key) for key, _ in node.value]
        assert len(keys) == len(set(keys)), f"{name}: {node.start_mark}: repeated key in {keys}"
        return yaml.SafeLoader.construct_mapping(loader, node, deep=True)

    Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, mapping)
    return list(yaml.load_all((FOLDER / name).read_text(), Loader))


def check(value, form, where):
    """A value against a form: a type, a regular expression, a set of words, [form of each],
    {key: form}; keys that end with ? may be missing, and no others may be there."""
    if isinstance(form, type):
        assert type(value) is form, f"{where}: {value!r} is not a {form.__name__}"
    elif isinstance(form, str):
        assert isinstance(value, str) and re.fullmatch(form, value), f"{where}: {value!r}"
    elif isinstance(form, (set, frozenset)):
        assert value in form, f"{where}: {value!r} is not one of {form}"
    elif isinstance(form, list):
        assert isinstance(value, list) and value, f"{where}: no list"
        for number, one in enumerate(value):
            check(one, form[0], f"{where}[{number}]")
    elif callable(form):
        form(value, where)
    else:
        assert isinstance(value, dict), f"{where}: no mapping"
        known = {key.rstrip("?"): form[key] for key in form}
        missing = {key for key in form if not key.endswith("?")} - set(value)
        assert not missing, f"{where}: {missing} missing"
        for key, one in value.items():
            assert key in known, f"{where}: unknown key {key}"
            check(one, known[key], f"{where}.{key}")


def strings(value, where):
    """A mapping of strings: labels, annotations, a ConfigMap's data."""
    assert isinstance(value, dict) and value, where
    for key, text in value.items():
        assert isinstance(key, str) and isinstance(text, str), f"{where}.{key}"


NAME = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
QUANTITY = r"\d+(m|Mi|Gi)?"
META = {"name": NAME, "labels?": strings}
SELECTOR = {"matchLabels": strings}
AMOUNTS = {"cpu": QUANTITY, "memory": QUANTITY}
PROBE = {"httpGet": {"path": r"/\S+", "port": NAME}, "periodSeconds": int,
         "timeoutSeconds?": int, "failureThreshold?": int}
CONTAINER = {
    "name": NAME, "image": r"[\w./-]+:[\w.-]+", "imagePullPolicy": {"IfNotPresent", "Always"},
    "ports": [{"name": NAME, "containerPort": int}],
    "resources": {"requests": AMOUNTS, "limits": AMOUNTS},
    "securityContext": {"allowPrivilegeEscalation": bool, "readOnlyRootFilesystem": bool,
                        "capabilities": {"drop": [{"ALL"}]}},
    "startupProbe": PROBE, "readinessProbe": PROBE, "livenessProbe": PROBE,
    "lifecycle": {"preStop": {"exec": {"command": [str]}}},
    "volumeMounts": [{"name": NAME, "mountPath": r"/[\w./-]+", "readOnly?": bool}],
}
POD = {
    "terminationGracePeriodSeconds": int, "automountServiceAccountToken": bool,
    "securityContext": {"runAsNonRoot": bool, "runAsUser": int, "runAsGroup": int, "fsGroup": int,
                        "seccompProfile": {"type": {"RuntimeDefault"}}},
    "containers": [CONTAINER],
    "volumes": [{"name": NAME, "emptyDir?": {"medium": {"Memory"}, "sizeLimit": QUANTITY},
                 "configMap?": {"name": NAME}}],
}
KINDS = {
    ("v1", "ConfigMap"): {"data": strings},
    ("apps/v1", "Deployment"): {"spec": {
        "replicas": int, "selector": SELECTOR,
        "strategy": {"type": {"RollingUpdate"},
                     "rollingUpdate": {"maxUnavailable": int, "maxSurge": int}},
        "template": {"metadata": {"labels": strings, "annotations": strings}, "spec": POD}}},
    ("v1", "Service"): {"spec": {
        "selector": strings, "ports": [{"name": NAME, "port": int, "targetPort": NAME}]}},
    ("policy/v1", "PodDisruptionBudget"): {"spec": {"minAvailable": int, "selector": SELECTOR}},
    ("autoscaling/v2", "HorizontalPodAutoscaler"): {"spec": {
        "scaleTargetRef": {"apiVersion": {"apps/v1"}, "kind": {"Deployment"}, "name": NAME},
        "minReplicas": int, "maxReplicas": int,
        "metrics": [{"type": {"Pods"}, "pods": {
            "metric": {"name": r"[a-z_]+"},
            "target": {"type": {"AverageValue"}, "averageValue": QUANTITY}}}],
        "behavior": {"scaleDown": {"stabilizationWindowSeconds": int}}}},
}


@pytest.fixture(name="objects", scope="module")
def _objects():
    return {one["kind"]: one for one in documents("kubernetes/httpd.yaml")}


def configured(name):
    """The values of a directive of container/httpd.conf."""
    return re.findall(rf"^ *{name} +(\S+)", (FOLDER / "httpd.conf").read_text(), re.M)


def test_each_object_has_its_kinds_form(objects):
    assert {(one["apiVersion"], kind) for kind, one in objects.items()} == set(KINDS)
    for kind, one in objects.items():
        form = {"apiVersion": str, "kind": str, "metadata": META,
                **KINDS[one["apiVersion"], kind]}
        check(one, form, kind)


def test_the_check_finds_mistakes():
    for bad in ({"drop": ["ALL"], "add": ["X"]}, {}, {"drop": []}, {"drop": ["SOME"]}):
        with pytest.raises(AssertionError):
            check(bad, {"drop": [{"ALL"}]}, "capabilities")


def test_objects_name_each_other_rightly(objects):
    deployment = objects["Deployment"]["spec"]
    labels = deployment["template"]["metadata"]["labels"]
    pod = deployment["template"]["spec"]
    container = pod["containers"][0]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    for selector in (deployment["selector"]["matchLabels"], objects["Service"]["spec"]["selector"],
                     objects["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"]):
        assert selector == labels
    scaler = objects["HorizontalPodAutoscaler"]["spec"]
    assert scaler["scaleTargetRef"]["name"] == objects["Deployment"]["metadata"]["name"]
    assert scaler["minReplicas"] > objects["PodDisruptionBudget"]["spec"]["minAvailable"]
    assert {port["targetPort"] for port in objects["Service"]["spec"]["ports"]} == {"http"}
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    assert {mount["name"] for mount in container["volumeMounts"]} == set(volumes)
    assert volumes["page"]["configMap"]["name"] == objects["ConfigMap"]["metadata"]["name"]
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container[probe]["httpGet"]["port"] in ports


def test_the_pod_fits_the_configuration(objects):
    """Ports, paths and times."""
    template = objects["Deployment"]["spec"]["template"]
    pod = template["spec"]
    container = pod["containers"][0]
    assert [str(port["containerPort"]) for port in container["ports"]] == configured("Listen")
    pages = configured("<Location")
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert f'"{container[probe]["httpGet"]["path"].partition("?")[0]}">' in pages
    notes = template["metadata"]["annotations"]
    assert f'"{notes["prometheus.io/path"]}">' in pages
    assert notes["prometheus.io/port"] == configured("Listen")[1]
    mounted = {mount["mountPath"] for mount in container["volumeMounts"]}
    assert configured("DefaultRuntimeDir") == ['"/run/httpd"'] and "/run/httpd" in mounted
    pause = int(re.search(r"sleep (\d+);", container["lifecycle"]["preStop"]["exec"]["command"][2])
                .group(1))
    drain = int(configured("GracefulShutdownTimeout")[0])
    assert pod["terminationGracePeriodSeconds"] > pause + drain
    assert drain < 10  # docker stop


def test_the_scaler_follows_metrics_that_there_are(objects):
    rules = documents("adapter.yaml")[0]["rules"]
    assert {rule["name"]["as"] for rule in rules} == {
        one["pods"]["metric"]["name"]
        for one in objects["HorizontalPodAutoscaler"]["spec"]["metrics"]}
    for rule in rules:
        assert asked(rule["seriesQuery"]) == asked(rule["metricsQuery"]) <= metrics()


SERVICE = {"image": r"[\w./-]+(:[\w.-]+)?", "ports": [r"127\.0\.0\.1:\d+:\d+"],
           "restart": {"unless-stopped"}, "volumes?": [r"[\w./-]+:/[\w./-]+(:ro)?"],
           "depends_on?": [NAME]}
OURS = {**SERVICE, "build": {"context": str, "dockerfile": str}, "user": {"www-data"},
        "read_only": bool, "cap_drop": [{"ALL"}], "security_opt": [{"no-new-privileges:true"}],
        "tmpfs": [r"/run/httpd:[\w=,]+"], "cpus": int, "mem_limit": r"\d+m", "pids_limit": int,
        "stop_signal": {"SIGWINCH"}, "stop_grace_period": r"\d+s",
        "healthcheck": {"test": [str], "interval": r"\d+s", "timeout": r"\d+s", "retries": int}}


def test_compose():
    compose, = documents("compose.yml")
    check(compose, {"name": NAME, "volumes": {"prometheus": {}},
                    "services": {"httpd": OURS, "prometheus": SERVICE, "grafana": SERVICE}},
          "compose")
    services = compose["services"]
    build = services["httpd"]["build"]
    assert (FOLDER / build["context"] / build["dockerfile"]).resolve() == FOLDER / "Dockerfile"
    for service in services.values():
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            assert source in compose["volumes"] or (FOLDER / source).exists(), volume
    assert services["httpd"]["ports"] == ["127.0.0.1:8080:8080"]
    prometheus, = documents("prometheus.yml")
    target = prometheus["scrape_configs"][0]["static_configs"][0]["targets"]
    assert target == [f"httpd:{configured('Listen')[1]}"]
    assert documents("grafana/sources.yml")[0]["datasources"][0]["url"] == "http://prometheus:9090"
    path = documents("grafana/boards.yml")[0]["providers"][0]["options"]["path"]
    assert f"../docs/grafana:{path}:ro" in services["grafana"]["volumes"]


def instructions():
    """The Dockerfile's as (word, rest)."""
    text = re.sub(r"^#.*\n", "", (FOLDER / "Dockerfile").read_text(), flags=re.M)
    lines = [line for line in text.replace("\\\n", " ").splitlines() if line.strip()]
    return [tuple(line.split(None, 1)) for line in lines]


def test_dockerfile():
    """The rules of the usual linters, as far as they apply here."""
    parts = instructions()
    assert {word for word, _ in parts} <= INSTRUCTIONS
    assert parts[0] == ("ARG", "HTTPD=httpd:2.4")
    stages = [rest for word, rest in parts if word == "FROM"]
    assert stages == ["${HTTPD} AS build", "${HTTPD}"]
    for word, rest in parts:
        if word == "RUN" and "apt-get install" in rest:
            assert "-y --no-install-recommends" in rest and "rm -rf /var/lib/apt/lists" in rest
            assert rest.strip().startswith("apt-get update")
        if word == "COPY" and not rest.startswith("--from"):
            source = rest.split()[0]
            assert (TOP / source).exists(), source
    last = parts[-4:]
    assert last == [("USER", "www-data"), ("EXPOSE", configured("Listen")[0]),
                    ("STOPSIGNAL", "SIGWINCH"), ("CMD", '["httpd-foreground"]')]


def test_the_stage_builds_what_make_makes():
    made = " ".join(rest for word, rest in instructions() if word == "RUN")
    for _, path in re.findall(r"(/usr/src/stm/)(build/\S+)", (FOLDER / "Dockerfile").read_text()):
        assert path in made
    makefile = "".join(path.read_text() for path in TOP.glob("*/*.mk"))
    for product in re.findall(r"build/(\S+)", made):
        assert f"$(BUILD)/{product}" in makefile
