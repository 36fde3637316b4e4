"""What deploy/ tells Label Studio, against the Label Studio that is installed."""

from __future__ import annotations

import ast
import importlib.util
import ipaddress
import json
import re
import subprocess
import sys
from functools import cache
from importlib.metadata import version
from pathlib import Path

from defusedxml import ElementTree

from backend.detector.labels import match_classes
from backend.studio import labeling
from tests.deploy.files import DEPLOY, environment, services

DESIGNED = ("non-overflowing bin", "overflowing bin", "garbage")
CHINESE = {"未满溢的垃圾桶": DESIGNED[0], "满溢的垃圾桶": DESIGNED[1], "垃圾": DESIGNED[2]}


def label_studio() -> Path:
    spec = importlib.util.find_spec("label_studio")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent


@cache
def studio_variables() -> frozenset[str]:
    """Names that Label Studio looks up in the environment, without their prefix: settings and flags."""
    flags = json.loads((label_studio() / "feature_flags.json").read_text("utf-8"))["flags"]
    readers = {"get_env", "get_bool_env", "get_env_list", "get_env_list_int"}
    files = ["core/settings/base.py", "core/settings/label_studio.py", "server.py"]
    return frozenset(flags) | frozenset(
        call.args[0].value
        for file in files
        for call in ast.walk(ast.parse((label_studio() / file).read_text("utf-8")))
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Name)
        and call.func.id in readers
        and call.args
        and isinstance(call.args[0], ast.Constant)
        and isinstance(call.args[0].value, str)
    )


def test_every_variable_handed_to_label_studio_is_read() -> None:
    assert len(studio_variables()) > 100
    for name in services()["label-studio"]["environment"]:
        assert {name, name.removeprefix("LABEL_STUDIO_")} & studio_variables(), name


def test_the_version_is_the_one_that_is_tested_with() -> None:
    assert services()["label-studio"]["image"] == f"heartexlabs/label-studio:{version('label-studio')}"


def studio_verdicts(addresses: list[str]) -> dict[str, bool]:
    """Whether Label Studio, with our setting, would call each address; asked of its own function."""
    env = environment("label-studio")
    assert env["LABEL_STUDIO_USE_DEFAULT_BANNED_SUBNETS"] == "false"
    banned = env["LABEL_STUDIO_USER_ADDITIONAL_BANNED_SUBNETS"].split(",")
    code = """
import json, os, sys
import label_studio
sys.path.insert(0, os.path.dirname(label_studio.__file__))
from django.conf import settings
asked = json.load(sys.stdin)
settings.configure(**asked["settings"])
from core.utils.exceptions import SsrfBlockedUrlError
from core.utils.io import validate_ip
def calls(address):
    try:
        validate_ip(address)
    except SsrfBlockedUrlError:
        return False
    return True
print(json.dumps({a: calls(a) for a in asked["addresses"]}))
"""
    ours = {"USE_DEFAULT_BANNED_SUBNETS": False, "USER_ADDITIONAL_BANNED_SUBNETS": banned}
    asked = {"settings": ours, "addresses": addresses}
    done = subprocess.run(
        [sys.executable, "-c", code], input=json.dumps(asked), capture_output=True, text=True, check=True
    )
    return dict(json.loads(done.stdout))


def test_label_studio_reaches_thresher_and_nothing_else_that_is_private() -> None:
    home = services()["thresher"]["networks"]["doors"]["ipv4_address"]
    open_ = [home, "8.8.8.8", "172.32.0.1", "2606:4700::1111"]
    shut = [
        "127.0.0.1", "0.0.0.0", "169.254.169.254", "10.0.0.1", "192.168.1.1", "172.17.0.1", "172.18.0.2",
        "172.30.90.1", "172.30.90.89", "172.30.90.91", "172.30.90.129", "172.31.255.255", "100.100.100.200",
        "::1", "::ffff:127.0.0.1", "fd00:ec2::254", "fe80::1",
    ]  # fmt: skip
    assert studio_verdicts(open_ + shut) == dict.fromkeys(open_, True) | dict.fromkeys(shut, False)


def test_what_is_banned_is_the_default_less_one_address() -> None:
    source = ast.parse((label_studio() / "core/utils/io.py").read_text("utf-8"))
    (default,) = [
        ast.literal_eval(node.value)
        for node in ast.walk(source)
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and node.targets[0].id == "default_banned_subnets"
    ]
    ours = environment("label-studio")["LABEL_STUDIO_USER_ADDITIONAL_BANNED_SUBNETS"].split(",")
    home = ipaddress.ip_network(services()["thresher"]["networks"]["doors"]["ipv4_address"])
    four = [ipaddress.IPv4Network(net) for net in default if "." in net and ":" not in net]
    less = [part for net in four for part in (net.address_exclude(home) if home.subnet_of(net) else [net])]  # type: ignore[arg-type]
    assert list(ipaddress.collapse_addresses(less)) == list(
        ipaddress.collapse_addresses(ipaddress.IPv4Network(net) for net in ours if ":" not in net)
    )
    assert list(
        ipaddress.collapse_addresses(ipaddress.IPv6Network(net) for net in default if ":" in net)
    ) == list(ipaddress.collapse_addresses(ipaddress.IPv6Network(net) for net in ours if ":" in net))
    readme = (DEPLOY / "README.md").read_text("utf-8")
    command = re.search(r'^python3 -c "(.*)"$', readme, re.MULTILINE)
    assert command is not None
    printed = subprocess.run(
        [sys.executable, "-c", command[1]], capture_output=True, text=True, check=True
    ).stdout
    assert set(printed.strip().split(",")) == {
        net for net in ours if re.match(r"172\.(1[6-9]|2\d|3[01])\.", net)
    }


def config() -> str:
    return (DEPLOY / "labeling.xml").read_text("utf-8")


def test_the_labeling_config_has_the_three_classes_and_says_why() -> None:
    parsed = labeling.parse(config())
    assert tuple(label.value for label in parsed.labels) == DESIGNED
    assert parsed.shows_why
    assert (
        labeling.data_keys(config()) == {parsed.image_key} == {"image"}
    )  # nothing else is demanded of a task


def test_models_with_chinese_or_english_classes_are_understood() -> None:
    labels = labeling.parse(config()).labels
    assert match_classes(list(CHINESE), labels) == CHINESE
    assert match_classes(DESIGNED, labels) == {name: name for name in DESIGNED}
    names = [name for label in labels for name in label.predicted_values]
    assert len(names) == len(set(names))


def test_label_studios_own_reader_accepts_the_config() -> None:
    from label_studio_sdk.label_interface.interface import LabelInterface

    interface = LabelInterface(config())
    interface.validate()  # type: ignore[no-untyped-call]
    (control,) = interface.controls
    assert list(control.labels) == list(DESIGNED)


def test_hotkeys_and_colours_are_told_apart() -> None:
    tags = list(ElementTree.fromstring(config()).iter("Label"))
    for attribute in ("hotkey", "background"):
        assert len({tag.get(attribute) for tag in tags} - {None}) == len(tags)
