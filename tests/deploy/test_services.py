"""The services of deploy/compose.yaml against the program, the files and the networks they name."""

from __future__ import annotations

import ipaddress
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import typer

from backend import heartbeat, settings
from backend.cli import cli
from backend.guard import OPEN_ROUTES
from pool.store import Pool
from tests.deploy.files import (
    DEPLOY,
    ROOT,
    SECRETS,
    compose,
    environment,
    image_environment,
    instruction,
    services,
)


@pytest.mark.parametrize("service", ["thresher", "worker"])
def test_commands_are_commands_of_the_program(service: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    (entry,) = (json.loads(rest) for rest in instruction("ENTRYPOINT"))
    assert set(entry) <= set(project["scripts"])
    program = typer.main.get_group(cli)
    (default,) = (json.loads(rest) for rest in instruction("CMD"))
    for name, *words in (services()[service]["command"], default):
        program.commands[name].make_context(name, words)  # fails on an unknown option


def test_the_readme_uses_commands_that_exist() -> None:
    program = typer.main.get_group(cli)
    readme = (DEPLOY / "README.md").read_text("utf-8")
    used = re.findall(r"docker compose exec \S+ thresher (\w+)", readme)
    assert len(used) >= 4
    assert set(used) <= set(program.commands)


def test_services_find_each_other() -> None:
    found = services()
    doors = compose()["networks"]["doors"]["ipam"]["config"][0]
    home = ipaddress.ip_address(found["thresher"]["networks"]["doors"]["ipv4_address"])
    assert home in ipaddress.ip_network(doors["subnet"])
    assert home not in ipaddress.ip_network(doors["ip_range"])  # nobody is given it by chance
    meetings = {
        "label-studio": ["postgres", "thresher"],
        "thresher": ["postgres", "label-studio"],
        "worker": ["postgres", "label-studio"],
    }
    for one, others in meetings.items():
        for other in others:
            assert set(found[one]["networks"]) & set(found[other]["networks"]), (one, other)
    assert set(found["postgres"]["networks"]) == {"storage"}
    assert compose()["networks"]["storage"]["internal"] is True
    for service in found.values():
        assert set(service["networks"]) <= set(compose()["networks"])


def test_addresses_name_services_and_their_ports() -> None:
    own = environment("thresher")
    image = image_environment()
    assert own["THRESHER_BACKEND_URL"] == f"http://thresher:{image['PORT']}"
    assert instruction("EXPOSE") == [image["PORT"]]
    ports = {name: service.get("ports", []) for name, service in services().items()}
    assert ports["thresher"] == [f"${{BIND:-127.0.0.1}}:9090:{image['PORT']}"]
    assert ports["label-studio"] == ["${BIND:-127.0.0.1}:8080:8080"]
    assert ports["postgres"] == ports["worker"] == []
    assert own["LABEL_STUDIO_URL"] == "http://label-studio:8080"


def test_both_databases_are_made_and_used_under_one_name() -> None:
    server, studio = environment("postgres"), environment("label-studio")
    sql = (DEPLOY / "databases.sql").read_text("utf-8")
    assert re.findall(r"^CREATE DATABASE (\w+);$", sql, re.MULTILINE) == [studio["POSTGRE_NAME"]]
    assert environment("thresher")["THRESHER_DATABASE_URL"].endswith(
        f"@postgres:5432/{server['POSTGRES_DB']}"
    )
    assert studio["POSTGRE_USER"] == server["POSTGRES_USER"]
    assert studio["POSTGRE_PASSWORD"] == server["POSTGRES_PASSWORD"] == SECRETS["POSTGRES_PASSWORD"]


def test_services_wait_for_what_they_need_and_are_watched() -> None:
    for name, service in services().items():
        assert service["healthcheck"]["test"][0] == "CMD", name
        for needed, how in service.get("depends_on", {}).items():
            assert how == {"condition": "service_healthy"}
            assert "healthcheck" in services()[needed]
    assert set(services()["worker"]["depends_on"]) == {"thresher"}  # the API makes the tables


def test_volumes_and_mounted_files_are_there() -> None:
    for service in services().values():
        for mount in service.get("volumes", []):
            source = mount.split(":")[0]
            if source.startswith("."):
                assert (DEPLOY / source).is_file(), source
            else:
                assert source in compose()["volumes"]
    for name in ("thresher", "worker"):
        build = services()[name]["build"]
        assert (DEPLOY / build["context"] / build["dockerfile"]).samefile(DEPLOY / "Dockerfile")
        assert services()[name]["volumes"] == [f"thresher:{image_environment()['THRESHER_DATA_DIR']}"]


def test_what_gpus_add_fits_the_services() -> None:
    for name, service in compose("compose.gpu.yaml")["services"].items():
        assert name in services()
        assert set(service) == {"deploy"}  # devices only: what is built stays what it is
        (device,) = service["deploy"]["resources"]["reservations"]["devices"]
        assert device["capabilities"] == ["gpu"]


def test_the_readme_lists_every_file() -> None:
    readme = (DEPLOY / "README.md").read_text("utf-8")
    listed = set(re.findall(r"^\| `([^`]+)` \|", readme, re.MULTILINE))
    here = {path.name for path in DEPLOY.iterdir()}
    assert listed == here - {"README.md", "Dockerfile.dockerignore"}


@pytest.mark.slow
def test_the_workers_health_check_tells_dead_from_alive(tmp_path: Path) -> None:
    check = services()["worker"]["healthcheck"]["test"]
    assert check[1:3] == ["python", "-c"]
    ledger = f"sqlite:///{tmp_path / 'pool.sqlite'}"
    env = {k: v for k, v in os.environ.items() if k not in settings.variables()}
    env |= {"THRESHER_DATABASE_URL": ledger, "THRESHER_DATA_DIR": str(tmp_path)}

    def healthy() -> bool:
        done = subprocess.run(
            [sys.executable, "-c", check[3]], cwd=ROOT, env=env, capture_output=True, text=True
        )
        assert done.returncode in (0, 1), done.stderr
        assert not done.stderr
        return done.returncode == 0

    with Pool.open(ledger) as pool:
        assert not healthy()
        heartbeat.beat(pool)
        assert healthy()


def test_the_apis_health_check_asks_an_open_route() -> None:
    check = services()["thresher"]["healthcheck"]["test"]
    asked = re.search(r"'http://localhost:(\d+)(/\w+)'", check[-1])
    assert asked is not None
    assert asked[1] == image_environment()["PORT"]
    assert asked[2] in OPEN_ROUTES
