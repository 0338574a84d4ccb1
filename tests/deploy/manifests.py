"""How each kind of manifest in deploy/ is judged: a judge answers with its complaints, none for a good file.

Used by test_manifests.py, which shows of each judge that it complains of an unknown key. Schemas come with the packages
cfn-lint, check-jsonschema (compose) and kubernetes-validate; those in schemas/ are ours, where nobody has one, with the
keys of the vendor's documentation. None of them may let an unknown key pass.
"""

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import check_jsonschema
import jsonschema
import kubernetes_validate
import yaml

HERE = Path(__file__).resolve().parent
BIN = Path(sys.executable).parent
COMPOSE = Path(check_jsonschema.__file__).parent / "builtin_schemas/vendor/compose-spec.json"
# The oldest that has `preStop: sleep` without a feature gate.
KUBERNETES = ["1.30", "1.34"]


def against(schema, value):
    """The complaints of a JSON schema, each with the path to its place."""
    schema = json.loads(Path(schema).read_text())
    validator = jsonschema.validators.validator_for(schema)(schema)
    return [f"{error.json_path}: {error.message}" for error in best(validator.iter_errors(value))]


def best(errors):
    """Where one of several forms would do, what is wrong with each of them."""
    for error in errors:
        yield from best(error.context) if error.context else [error]


def compose(folder):
    return against(COMPOSE, yaml.safe_load((folder / "compose.yaml").read_text()))


def fly(folder):
    return against(HERE / "schemas/fly.json", tomllib.loads((folder / "fly/fly.toml").read_text()))


def heroku(folder):
    return against(HERE / "schemas/heroku.json", yaml.safe_load((folder / "heroku/heroku.yml").read_text()))


def cloudformation(folder):
    templates = sorted(str(path) for path in folder.glob("aws/*/template.yaml"))
    assert templates, "there is no template"
    done = subprocess.run(
        [BIN / "cfn-lint", "--non-zero-exit-code", "informational", *templates],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert not done.stderr, done.stderr
    return [line for line in done.stdout.splitlines() if line] or ["failed"] * bool(done.returncode)


def dockerfiles(folder):
    files = sorted(str(path) for path in folder.rglob("Dockerfile"))
    assert len(files) == 2, files
    done = subprocess.run(
        [BIN / "hadolint", "--failure-threshold", "style", *files], capture_output=True, text=True, timeout=60
    )
    return [line for line in (done.stdout + done.stderr).splitlines() if line] or ["failed"] * bool(done.returncode)


def kustomized(folder):
    """What kubectl would apply, built by kustomize as kubectl has it; its error, where it can't."""
    done = subprocess.run(
        ["kubectl", "kustomize", str(folder / "kubernetes")], capture_output=True, text=True, timeout=60
    )
    if done.returncode:
        raise ValueError(done.stderr)
    return list(yaml.safe_load_all(done.stdout))


def kubernetes(folder):
    try:
        objects = kustomized(folder)
    except ValueError as error:
        return [str(error)]
    complaints = []
    for one in objects:
        if one["kind"] == "ServiceMonitor":
            complaints += against(HERE / "schemas/servicemonitor.json", one)
            continue
        for version in KUBERNETES:
            try:
                kubernetes_validate.validate(one, version, strict=True)
            except kubernetes_validate.ValidationError as error:
                complaints.append(f"{one['kind']}: {error.message}")
    return complaints


JUDGES = [compose, fly, heroku, cloudformation, dockerfiles, kubernetes]
