"""Every manifest in deploy/ is good by a schema, and one with an unknown key fails by that key's name."""

import shutil
import tomllib

import manifests
import pytest
import yaml
from stage import DEPLOY, replaced

# The judge, the file, where a key is put that nobody knows, and the key by which it has to be named.
UNKNOWN = [
    (manifests.compose, "compose.yaml", "stop_grace_period", "stop_grace", "stop_grace"),
    (manifests.fly, "fly/fly.toml", "kill_timeout = 45", "kill_timeouts = 45", "kill_timeouts"),
    (manifests.fly, "fly/fly.toml", "force_https = true", "force_tls = true", "force_tls"),
    (manifests.fly, "fly/fly.toml", "[[services.tcp_checks]]", "[[services.tcp_check]]", "tcp_check"),
    (manifests.fly, "fly/fly.toml", "STABLE_URL", "FLY_URL", "FLY_URL"),
    (manifests.heroku, "heroku/heroku.yml", "  config:", "  configs:", "configs"),
    (manifests.cloudformation, "aws/alb/template.yaml", "StopTimeout:", "StopTimeouts:", "StopTimeouts"),
    (manifests.cloudformation, "aws/nlb/template.yaml", "HealthCheckProtocol:", "HealthProtocol:", "HealthProtocol"),
    (manifests.cloudformation, "aws/nlb/template.yaml", "!Ref ClearTargets", "!Ref PlainTargets", "PlainTargets"),
    (manifests.dockerfiles, "docker/Dockerfile", "STOPSIGNAL SIGTERM", "STOPSIGN SIGTERM", "Dockerfile:"),
    (manifests.dockerfiles, "heroku/Dockerfile", "COPY crossfade.toml", "COPYS crossfade.toml", "Dockerfile:"),
    (manifests.kubernetes, "kubernetes/deployment.yaml", "preStop:", "preStopp:", "preStopp"),
    (manifests.kubernetes, "kubernetes/deployment.yaml", "path: /readyz", "paths: /readyz", "paths"),
    (manifests.kubernetes, "kubernetes/service.yaml", "clusterIP:", "clusterIp:", "clusterIp"),
    (manifests.kubernetes, "kubernetes/poddisruptionbudget.yaml", "minAvailable", "minAvail", "minAvail"),
    (manifests.kubernetes, "kubernetes/servicemonitor.yaml", "interval:", "intervals:", "intervals"),
    (manifests.kubernetes, "kubernetes/kustomization.yaml", "generatorOptions:", "generatorOption:", "generatorOption"),
]


@pytest.mark.parametrize("judge", manifests.JUDGES, ids=lambda judge: judge.__name__)
def test_every_manifest_is_good(judge):
    assert judge(DEPLOY) == []


@pytest.mark.parametrize("judge, file, old, new, named", UNKNOWN, ids=[f"{row[1]}:{row[4]}" for row in UNKNOWN])
def test_an_unknown_key_is_named(tmp_path, judge, file, old, new, named):
    copy = shutil.copytree(DEPLOY, tmp_path / "deploy")
    changed = copy / file
    changed.write_text(replaced(changed.read_text(), {old: new}))
    assert any(named in complaint for complaint in judge(copy)), judge(copy)


def test_no_manifest_is_left_without_a_judge():
    judged = {"compose.yaml", "fly/fly.toml", "heroku/heroku.yml", "heroku/Dockerfile", "docker/Dockerfile"}
    judged |= {str(path.relative_to(DEPLOY)) for path in DEPLOY.glob("aws/*/template.yaml")}
    kustomization = yaml.safe_load((DEPLOY / "kubernetes/kustomization.yaml").read_text())
    judged |= {f"kubernetes/{name}" for name in [*kustomization["resources"], "kustomization.yaml"]}
    others = ("images", "prometheus", "grafana")
    shipped = {
        str(path.relative_to(DEPLOY))
        for path in DEPLOY.rglob("*")
        if path.is_file() and (path.suffix in (".yaml", ".yml", ".toml") or path.name == "Dockerfile")
        if path.name != "crossfade.toml" and path.relative_to(DEPLOY).parts[0] not in others
    }
    assert shipped == judged


def test_what_compose_mounts_from_here_is_here():
    """But for the folders of Prometheus and Grafana, which have tests of their own."""
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    mounted = [volume.split(":")[0] for service in services.values() for volume in service.get("volumes", [])]
    here = [path for path in mounted if path.startswith("./") and not path.startswith(("./prometheus", "./grafana"))]
    assert here == ["./docker"] and (DEPLOY / here[0] / "crossfade.toml").is_file()


def seconds(text):
    assert text.endswith("s") and text[:-1].isdigit(), text
    return int(text[:-1])


def configuration(name):
    return tomllib.loads((DEPLOY / name / "crossfade.toml").read_text())


class Tags(yaml.SafeLoader):
    """CloudFormation's !Ref and the like, by their text."""


Tags.add_multi_constructor("!", lambda loader, suffix, node: f"!{suffix} {node.value}")


def resources(kind, load_balancer):
    template = yaml.load((DEPLOY / f"aws/{load_balancer}/template.yaml").read_text(), Tags)
    return [one["Properties"] for one in template["Resources"].values() if one["Type"] == kind]


def attributes(pairs):
    return {pair["Key"]: pair["Value"] for pair in pairs}


def pod():
    """The Deployment's, as kustomize makes it."""
    deployments = [one for one in manifests.kustomized(DEPLOY) if one["kind"] == "Deployment"]
    assert len(deployments) == 1
    return deployments[0]["spec"]["template"]["spec"]


def time_to_end():
    """What the platform gives the program between SIGTERM and its end, by platform."""
    deployment = pod()
    before = deployment["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]["crossfade"]
    times = {
        "docker": seconds(compose["stop_grace_period"]),
        "fly": tomllib.loads((DEPLOY / "fly/fly.toml").read_text())["kill_timeout"],
        # A dyno's, which nothing can change.
        "heroku": 30,
        "kubernetes": deployment["terminationGracePeriodSeconds"] - before,
        "systemd": seconds(next(
            line.split("=")[1]
            for line in (DEPLOY / "systemd/crossfade.service").read_text().splitlines()
            if line.startswith("TimeoutStopSec=")
        )),
    }  # fmt: skip
    for kind in ("alb", "nlb"):
        task = resources("AWS::ECS::TaskDefinition", kind)[0]
        times[f"aws/{kind}"] = task["ContainerDefinitions"][0]["StopTimeout"]
    return times


@pytest.mark.parametrize("name", ["docker", "fly", "heroku", "kubernetes", "systemd", "aws/alb", "aws/nlb"])
def test_the_platform_waits_longer_than_the_drain_takes(name):
    drain = seconds(configuration(name)["server"]["drain_timeout"])
    assert time_to_end()[name] >= drain + 5


def test_the_load_balancer_gives_up_an_idle_connection_before_we_do():
    balancer = attributes(resources("AWS::ElasticLoadBalancingV2::LoadBalancer", "alb")[0]["LoadBalancerAttributes"])
    idle = int(balancer["idle_timeout.timeout_seconds"])
    assert idle < seconds(configuration("aws/alb")["timeouts"]["keep_alive"])
    # Heroku's router keeps one for 90 s.
    assert seconds(configuration("heroku")["timeouts"]["keep_alive"]) > 90


def test_the_network_load_balancer_sends_what_the_configuration_waits_for():
    assert configuration("aws/nlb")["server"]["proxy_protocol"] is True
    for group in resources("AWS::ElasticLoadBalancingV2::TargetGroup", "nlb"):
        assert attributes(group["TargetGroupAttributes"])["proxy_protocol_v2.enabled"] == "true"
        # The header stands before a health check, too, and only the visitors' ports read it.
        assert group["HealthCheckProtocol"] == "TCP" and "HealthCheckPort" not in group


def test_the_configmap_is_what_is_shipped_and_is_mounted_as_a_directory():
    objects = manifests.kustomized(DEPLOY)
    configmap = next(one for one in objects if one["kind"] == "ConfigMap")
    assert configmap["data"] == {"crossfade.toml": (DEPLOY / "kubernetes/crossfade.toml").read_text()}
    spec = pod()
    # By this name, whatever is in it: a hash would roll new pods out instead of being taken by these.
    assert {"name": "configuration", "configMap": {"name": "crossfade"}} in spec["volumes"]
    assert configmap["metadata"]["name"] == "crossfade"
    mounts = {mount["name"]: mount for mount in spec["containers"][0]["volumeMounts"]}
    assert mounts["configuration"] == {"name": "configuration", "mountPath": "/etc/crossfade", "readOnly": True}


def test_the_ports_of_the_manifests_are_those_of_the_configurations():
    def port(name, key):
        return int(configuration(name)["server"][key].rsplit(":", 1)[1])

    fly = tomllib.loads((DEPLOY / "fly/fly.toml").read_text())
    assert fly["services"][0]["internal_port"] == port("fly", "http")
    assert fly["checks"]["ready"]["port"] == fly["metrics"]["port"] == port("fly", "metrics")
    spec = pod()
    ports = {one["name"]: one["containerPort"] for one in spec["containers"][0]["ports"]}
    assert ports == {"http": port("kubernetes", "http"), "metrics": port("kubernetes", "metrics")}
    alb = resources("AWS::ElasticLoadBalancingV2::TargetGroup", "alb")[0]
    assert (alb["Port"], int(alb["HealthCheckPort"])) == (port("aws/alb", "http"), port("aws/alb", "metrics"))
    nlb = {group["Port"] for group in resources("AWS::ElasticLoadBalancingV2::TargetGroup", "nlb")}
    assert nlb == {port("aws/nlb", "http"), port("aws/nlb", "https")}
