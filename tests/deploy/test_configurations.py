"""Every crossfade.toml that is shipped in deploy/ is good as it is, and an unknown key in it fails by name."""

import os
import re
import subprocess

import pytest
import trustme
from stage import CONFIGURATIONS, DEPLOY, name_of, replaced
from processes import binary

# What its platform sets, where there is no default for it.
GIVEN = {"deploy/heroku/crossfade.toml": {"PORT": "5000"}}


@pytest.fixture(scope="session")
def certificates(tmp_path_factory):
    """Where the certificate of deploy/aws/nlb is; its path is by a variable, for a look at the file elsewhere."""
    folder = tmp_path_factory.mktemp("tls")
    issued = trustme.CA().issue_cert("www.example.com")
    issued.private_key_pem.write_to_path(str(folder / "key.pem"))
    issued.cert_chain_pems[0].write_to_path(str(folder / "cert.pem"))
    return {"CROSSFADE_TLS": str(folder)}


def check(path, env):
    clean = {"PATH": os.environ["PATH"], **env}
    return subprocess.run(
        [binary(), "check", "--config", path], env=clean, capture_output=True, text=True, timeout=30
    )


def test_each_platform_has_one():
    found = {str(path.parent.relative_to(DEPLOY)) for path in CONFIGURATIONS}
    assert found == {"aws/alb", "aws/nlb", "docker", "fly", "heroku", "kubernetes", "systemd"}


@pytest.mark.parametrize("path", CONFIGURATIONS, ids=name_of)
def test_every_configuration_is_good(path, certificates):
    done = check(path, GIVEN.get(name_of(path), {}) | certificates)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", CONFIGURATIONS, ids=name_of)
def test_an_unknown_key_is_named(path, certificates, tmp_path):
    wrong = tmp_path / "crossfade.toml"
    wrong.write_text(replaced(path.read_text(), {"drain_timeout": "drain_timeouts"}))
    done = check(wrong, GIVEN.get(name_of(path), {}) | certificates)
    assert done.returncode == 1 and "drain_timeouts" in done.stderr


def test_without_its_port_a_dyno_does_not_start_on_another():
    done = check(DEPLOY / "heroku/crossfade.toml", {})
    assert done.returncode == 1 and "PORT" in done.stderr


def test_every_variable_that_a_manifest_sets_is_one_that_its_configuration_reads():
    read = {path: set(re.findall(r"\$\{([A-Z_]+)", path.read_text())) for path in CONFIGURATIONS}
    set_by = {
        "docker": "compose.yaml", "fly": "fly/fly.toml", "aws/alb": "aws/alb/template.yaml",
        "aws/nlb": "aws/nlb/template.yaml", "heroku": "heroku/README.md",
    }  # fmt: skip
    for platform, manifest in set_by.items():
        wanted = read[DEPLOY / platform / "crossfade.toml"] - {"PORT", "CROSSFADE_TLS"}
        text = (DEPLOY / manifest).read_text()
        assert wanted and all(name in text for name in wanted), (platform, wanted)
        assert not set(re.findall(r"\b[A-Z]+_(?:URL|HOST)\b", text)) - wanted - {"PROMETHEUS_URL"}, platform
