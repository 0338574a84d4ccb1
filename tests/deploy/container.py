"""The steps of deploy/docker/Dockerfile, replayed without a daemon: a strict reader, and a root made by its steps.

Used by test_container.py. The base image is made as distroless makes it: Debian's packages, unpacked, none of their
scripts run; tests/run has put them into tests/.debs. The build stage is played by the program that is tested. An
instruction that isn't known here is an error, never skipped.
"""

import json
import re
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from processes import binary
from stage import AS_ROOT, DEPLOY, ROOT

DEBS = ROOT / "tests/.debs"
DOCKERFILE = DEPLOY / "docker/Dockerfile"
NEEDS = {"ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "HEALTHCHECK", "RUN", "STOPSIGNAL", "USER"}
NEEDS |= {"VOLUME", "WORKDIR"}


@dataclass
class Stage:
    """What is between one FROM and the next: the image or stage that it begins with, and its instructions."""

    base: str
    name: str
    steps: list = field(default_factory=list)


@dataclass
class Image:
    """What the steps of a stage, and of those below it, come to."""

    copies: list = field(default_factory=list)
    env: dict = field(default_factory=dict)
    args: dict = field(default_factory=dict)
    user: str = "0:0"
    entrypoint: list = field(default_factory=list)
    cmd: list = field(default_factory=list)
    health: list = field(default_factory=list)
    stop_signal: str = ""
    volumes: list = field(default_factory=list)
    base: str = ""


def instructions(text):
    """Each instruction with its words, continued lines joined; an error for a line that is none."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    for line in re.sub(r"\\\n", " ", "\n".join(lines)).splitlines():
        if not line.strip():
            continue
        word, _, rest = line.strip().partition(" ")
        if word not in NEEDS:
            raise ValueError(f"unknown instruction {word}")
        yield word, " ".join(rest.split())


def stages(text):
    found = []
    for word, rest in instructions(text):
        if word == "FROM":
            match = re.fullmatch(r"(\S+) AS (\S+)", rest)
            if not match:
                raise ValueError(f"FROM {rest}: each stage has a name")
            found.append(Stage(*match.groups()))
        else:
            found[-1].steps.append((word, rest))
    return {stage.name: stage for stage in found}


def image(all_stages, name):
    """What a stage comes to, with those that it is built on."""
    stage = all_stages[name]
    made = image(all_stages, stage.base) if stage.base in all_stages else Image(base=stage.base)
    for word, rest in stage.steps:
        apply(made, word, rest)
    return made


def apply(made, word, rest):
    if word == "ARG":
        key, _, value = rest.partition("=")
        made.args[key] = value
    elif word == "ENV":
        key, value = rest.split("=", 1)
        made.env[key] = value
    elif word == "COPY":
        made.copies.append(re.sub(r"\$\{(\w+)\}", lambda match: made.args[match.group(1)], rest))
    elif word == "USER":
        made.user = rest
    elif word == "ENTRYPOINT":
        made.entrypoint, made.cmd = json.loads(rest), []
    elif word == "CMD":
        made.cmd = json.loads(rest)
    elif word == "HEALTHCHECK":
        made.health = json.loads(rest.split("CMD ", 1)[1])
    elif word == "STOPSIGNAL":
        made.stop_signal = rest
    elif word == "VOLUME":
        made.volumes += json.loads(rest)
    elif word != "EXPOSE":
        raise ValueError(f"{word} needs a shell, which the image hasn't")


def run(*command, **more):
    done = subprocess.run([*AS_ROOT, *map(str, command)], capture_output=True, text=True, **more)
    assert done.returncode == 0, (command, done.stderr)
    return done.stdout


def base_root(folder):
    """The base image: C library, libgcc, authorities, no shell. As root, whose files they are."""
    debs = sorted(DEBS.glob("*.deb"))
    assert debs, "no packages in tests/.debs: tests/run --install"
    run("mkdir", "-p", folder / "etc/ssl/certs", folder / "tmp", folder / "proc", folder / "dev", folder / "sys")
    run("chmod", "1777", folder / "tmp")
    for deb in debs:
        run("dpkg-deb", "-x", deb, folder)
    authorities = b"".join(path.read_bytes() for path in sorted(folder.glob("usr/share/ca-certificates/mozilla/*.crt")))
    run("tee", folder / "etc/ssl/certs/ca-certificates.crt", input=authorities.decode())


def copy(step, folder):
    """One COPY; what comes from the build stage is the program that is tested, or its empty directory."""
    options, words = [], step.split()
    while words[0].startswith("--"):
        options.append(words.pop(0))
    source, target = words
    place = folder / target.lstrip("/")
    run("mkdir", "-p", place.parent)
    if "--from=build" not in options:
        run("install", "-m", "644", ROOT / source, place)
    elif source == "/src/target/release/crossfade":
        run("install", "-m", "755", binary(), place)
    elif source == "/state":
        run("install", "-d", "-m", "700", place)
    else:
        raise ValueError(f"the build stage has no {source}")
    for option in options:
        if option.startswith("--chown="):
            run("chown", option.removeprefix("--chown="), place)


def build(folder, name="final"):
    """The root of a stage, and what it says of how it is run."""
    made = image(stages(DOCKERFILE.read_text()), name)
    base_root(folder)
    for step in made.copies:
        copy(step, folder)
    return made


def context(folder):
    """What reaches the build by Dockerfile.dockerignore, as files in `folder`."""
    rules = [
        line for line in (DOCKERFILE.parent / "Dockerfile.dockerignore").read_text().splitlines()
        if line and not line.startswith("#")
    ]  # fmt: skip
    assert rules[0] == "*" and all(rule.startswith("!") for rule in rules[1:]), "all out, then some in"
    for rule in rules[1:]:
        found = sorted(ROOT.glob(rule[1:]))
        assert found, f"{rule} names nothing"
        for path in found:
            target = folder / path.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copytree(path, target) if path.is_dir() else shutil.copy(path, target)


def built_from(folder, context_folder):
    """The build stage's COPYs, from the context into `folder`."""
    for word, rest in stages(DOCKERFILE.read_text())["build"].steps:
        if word != "COPY":
            continue
        *sources, target = rest.split()
        for source in sources:
            place = folder / target
            if (context_folder / source).is_dir():
                shutil.copytree(context_folder / source, place)
            else:
                place.mkdir(parents=True, exist_ok=True)
                shutil.copy(context_folder / source, place)


def versions():
    """The Debian release of each stage's image, and the Rust of the build."""
    text = DOCKERFILE.read_text()
    rust, debian = re.search(r"FROM rust:([\d.]+)-slim-(\w+) AS build", text).groups()
    final = re.search(r"FROM gcr.io/distroless/cc-debian(\d+):nonroot", text).group(1)
    return rust, debian, final


def rust_wanted():
    return re.search(r'^rust-version = "(.*)"', Path(ROOT / "Cargo.toml").read_text(), re.M).group(1)
