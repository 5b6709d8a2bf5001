"""What an image is built from and what RunPod is told, for decisions of the real catalogue."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Callable
from typing import Any

import jsonschema
import pytest

from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import Catalogue
from ansible_collections.podsmith.gpu.plugins.plugin_utils._image import image
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.target import Target, observe_target, parse_target

ROOT = pathlib.Path(__file__).resolve().parents[5]
SCHEMA = json.loads((ROOT / "tests/schemas/runpod-v2.json").read_text(encoding="utf-8"))
GIVEN = {
    "name": "h100",
    "reference": "",
    "base": "",
    "flavor": "base",
    "packages": ["openssh-server"],
    "ports": ["22/tcp", "8888/http"],
    "disk_gb": 40,
    "volume_gb": 0,
    "volume_path": "/workspace",
    "cloud": "SECURE",
    "gpu": "",
    "gpu_count": 1,
    "environment": {},
}
WISH = {"cuda": "13.0", "pytorch": "2.9"}
STANDBY = {**WISH, "forward_compat": "standby"}
Plan = Callable[..., tuple[dict[str, Any], Target]]


@pytest.fixture
def plan(known: Catalogue, decide: Callable[..., dict[str, Any]]) -> Plan:
    def call(wish: dict[str, Any], **target: Any) -> tuple[dict[str, Any], Target]:
        aim = parse_target({"gpus": ["NVIDIA H100 80GB HBM3"], "driver": "570", **target}, known)
        return decide(observe_target(aim, {}, known), **wish), aim

    return call


@pytest.fixture
def check(plan: Plan, known: Catalogue) -> Callable[..., image.Settings]:
    def call(wish: dict[str, Any] | None = None, target: dict[str, Any] | None = None, **given: Any) -> image.Settings:
        decision, aim = plan(wish or STANDBY, **(target or {}))
        return image.check_settings({**GIVEN, **given}, decision, aim, known)

    return call


def valid(kind: str, body: dict[str, Any]) -> dict[str, Any]:
    validator = jsonschema.Draft202012Validator({"$ref": f"#/$defs/{kind}", "$defs": SCHEMA["$defs"]})
    assert [error.message for error in validator.iter_errors(body)] == []
    return body


def test_the_schema_refuses_what_runpod_refuses() -> None:
    validator = jsonschema.Draft202012Validator({"$ref": "#/$defs/pod", "$defs": SCHEMA["$defs"]})
    good: dict[str, Any] = {"name": "a", "image": "b", "gpu": {"id": "NVIDIA H200"}}
    assert validator.is_valid(good)
    for bad in (
        {**good, "gpuTypeIds": ["NVIDIA H200"]},
        {**good, "gpu": {"id": "x", "minCudaVersion": "13.0", "allowedCudaVersions": ["13.0"]}},
        {**good, "gpu": {"id": "x", "minCudaVersion": "13"}},
        {**good, "disk": 0},
        {**good, "env": {"A": 1}},
        {**good, "mounts": {"persistent": {"size": 5, "path": "/workspace"}}},
        {"name": "a", "image": "b"},
    ):
        assert not validator.is_valid(bad), bad


# --- who is served ---


SERVED = [
    (STANDBY, {"driver": "570"}, ["12.2", "12.4", "12.7", "12.8", "12.9", "13.0"], True),
    (STANDBY, {"driver": "580"}, ["12.2", "12.4", "12.7", "12.8", "12.9", "13.0"], True),
    (WISH, {"driver": "570"}, ["12.8", "12.9", "13.0"], False),
    (WISH, {"driver": "580"}, ["13.0"], False),
    ({"cuda": "12.8", "pytorch": "2.9"}, {"driver": "535"}, ["12.2"], False),
    (STANDBY, {"driver": "580", "gpus": ["NVIDIA GeForce RTX 5090"]}, ["13.0"], False),
]


@pytest.mark.parametrize(("wish", "target", "first", "gaps"), SERVED)
def test_the_cuda_levels_that_are_served(
    wish: dict[str, Any], target: dict[str, Any], first: list[str], plan: Plan, known: Catalogue, *, gaps: bool
) -> None:
    decision, aim = plan(wish, **target)
    served = image.served_cudas(decision, wish, aim, known)
    assert served[: len(first)] == first
    assert served[-1] == max((row["cuda"] for row in known["drivers"]["branches"].values()), key=image.parse_version)
    assert image.has_gaps(served, known) is gaps


def test_a_pod_asks_for_a_floor_where_one_is_enough(check: Any, plan: Plan, known: Catalogue) -> None:
    decision, aim = plan(WISH)
    pod = image.describe_pod(check(WISH), image.served_cudas(decision, WISH, aim, known), known)
    assert valid("pod", pod)["gpu"] == {"id": "NVIDIA H100 80GB HBM3", "count": 1, "minCudaVersion": "12.8"}


def test_a_pod_lists_the_levels_where_the_library_leaves_some_out(check: Any, plan: Plan, known: Catalogue) -> None:
    decision, aim = plan(STANDBY)
    pod = image.describe_pod(check(STANDBY), image.served_cudas(decision, STANDBY, aim, known), known)
    allowed = valid("pod", pod)["gpu"]["allowedCudaVersions"]
    assert "12.2" in allowed
    assert "12.6" not in allowed, "driver 560 is not in the note of cuda-compat-13-0"


def test_the_template(check: Any, plan: Plan, known: Catalogue) -> None:
    decision, aim = plan(STANDBY)
    settings = check(STANDBY, volume_gb=100, environment={"HF_TOKEN": "{{ RUNPOD_SECRET_hf }}", "MODE": "train"})
    template = valid("template", image.describe_template(settings, image.served_cudas(decision, STANDBY, aim, known)))
    assert template["image"] == f"podsmith/h100:{decision['digest'][:12]}"
    assert template["mounts"] == {"persistent": {"size": 100, "path": "/workspace"}}
    assert (template["ports"], template["startSsh"], template["disk"]) == (["22/tcp", "8888/http"], True, 40)


# --- settings ---


@pytest.mark.parametrize(
    ("wish", "target", "flavor", "base"),
    [
        (STANDBY, {}, "base", "nvidia/cuda:13.0.2-base-ubuntu24.04"),
        (STANDBY, {}, "devel", "nvidia/cuda:13.0.2-devel-ubuntu24.04"),
        ({"cuda": "12.8"}, {"driver": "580"}, "base", "nvidia/cuda:12.8.1-base-ubuntu24.04"),
    ],
)
def test_the_base_is_nvidias_of_the_decisions_cuda(
    wish: dict[str, Any], target: dict[str, Any], flavor: str, base: str, check: Any
) -> None:
    assert check(wish, target, flavor=flavor).base == base


def test_a_base_that_the_catalogue_lacks(check: Any) -> None:
    with pytest.raises(
        image.ImageError, match=r"no image of CUDA 13\.0 on debian12 .*; name one in container_image_base"
    ):
        check(STANDBY, {"system": "debian12"})
    assert check(STANDBY, {"system": "debian12"}, base="debian:bookworm-slim").base == "debian:bookworm-slim"


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"name": "H 100"}, 'container_image_name is "H 100"; expected a value such as h100.'),
        ({"name": "../h100"}, 'container_image_name is "../h100"'),
        ({"reference": "podsmith/h100"}, "expected an image with a fixed tag or a digest"),
        ({"reference": "podsmith/h100:latest"}, 'container_image_reference is "podsmith/h100:latest"'),
        ({"base": "debian:bookworm; rm -rf /"}, "container_image_base is"),
        ({"packages": ["openssh-server; id"]}, "container_image_packages is"),
        (
            {"ports": ["22"]},
            'container_image_ports holds "22"; expected a port such as 22/tcp or 8888/http.',
        ),
        ({"ports": ["70000/tcp"]}, 'container_image_ports holds "70000/tcp"'),
        ({"ports": ["22/udp"]}, 'container_image_ports holds "22/udp"'),
        ({"disk_gb": 1}, "container_image_disk_gb is 1; expected a whole number from 5 to 10000."),
        ({"volume_gb": 5}, "container_image_volume_gb is 5; expected 0 or a whole number from 10 to 10000"),
        ({"volume_path": "workspace"}, 'container_image_volume_path is "workspace"'),
        ({"gpu_count": 0}, "container_image_gpu_count is 0; expected a whole number from 1 to 16"),
        ({"environment": {"LD_LIBRARY_PATH": "/usr/local/cuda/compat"}}, "would apply with every driver; remove it"),
        ({"environment": {"HF_TOKEN": "hf_abc"}}, "looks like a secret, which does not belong in a file"),
        ({"environment": {"A-B": "1"}}, 'has the key "A-B"; expected a variable\'s name such as HF_HOME'),
        ({"environment": {"A": 1}}, "container_image_environment.A is 1; expected text: put it in quotes."),
    ],
)
def test_a_setting_that_cannot_be_used(given: dict[str, Any], told: str, check: Any) -> None:
    with pytest.raises(image.ImageError) as caught:
        check(**given)
    assert told in str(caught.value)


def test_a_gpu_to_rent_is_needed(check: Any) -> None:
    with pytest.raises(image.ImageError, match="set container_image_gpu to RunPod's name of one"):
        check(WISH, {"gpus": ["9.0"], "driver": "580"})
    assert check(WISH, {"gpus": ["9.0"], "driver": "580"}, gpu="NVIDIA H200").gpu == "NVIDIA H200"


@pytest.mark.parametrize(
    ("wish", "target", "told"),
    [
        ({"cuda": "none"}, {}, "The request has no CUDA, and an image is for GPUs"),
        ({"cuda": "13.0", "on_old_driver": ["fail"]}, {"driver": "535"}, "there is no image for this target"),
    ],
)
def test_a_decision_without_an_image(wish: dict[str, Any], target: dict[str, Any], told: str, check: Any) -> None:
    with pytest.raises(image.ImageError, match=told):
        check(wish, target)


# --- what goes into the image ---


def test_the_wish_is_pinned_and_its_prefix_stays(plan: Plan) -> None:
    decision, _aim = plan(STANDBY)
    variables = image.build_variables(decision, STANDBY, {"pytorch_index_url": "https://mirror.example.com/cu130"})
    assert variables["stack_plan_request"] == {**STANDBY, "pytorch": "2.9.1", "prefix": "/opt/podsmith"}
    assert variables["pytorch_index_url"] == "https://mirror.example.com/cu130"


def test_a_login_does_not_go_into_an_image(plan: Plan) -> None:
    decision, _aim = plan(STANDBY)
    with pytest.raises(image.ImageError, match="ml_extensions_index_urls contains a login, which anyone"):
        image.build_variables(decision, STANDBY, {"ml_extensions_index_urls": ["https://me:pw@mirror.example.com/"]})


def test_what_is_inside_decides_the_same(plan: Plan, known: Catalogue, decide: Any) -> None:
    """The pinned wish and the written target lead to the digest that the image is labelled with."""
    decision, aim = plan(STANDBY)
    variables = json.loads(image.dump(image.build_variables(decision, STANDBY, {})))
    again = decide(observe_target(aim, {}, known), **variables["stack_plan_request"])
    assert again["digest"] == decision["digest"]


def test_the_start_knows_the_library_and_the_errors(plan: Plan, known: Catalogue) -> None:
    start = image.describe_start(plan(STANDBY)[0], known)
    assert (start["cuda"], start["least_driver"], start["package"]) == ("13.0", "580", "cuda-compat-13-0")
    assert (start["compat"], start["branches"][0]) == ("/usr/local/cuda-13.0/compat", 535)
    assert set(start["errors"]) == set(known["drivers"]["errors"])
    assert all(set(row) == {"name", "cause", "remedy"} for row in start["errors"].values())


@pytest.mark.parametrize(
    ("code", "told", "not_told"),
    [
        pytest.param("3", "HMM", "forked", id="a-fresh-process"),
        pytest.param("802", "a single GPU of such a system", "The GPUs are connected by NVSwitch", id="in-a-container"),
    ],
)
def test_the_start_explains_errors_for_a_fresh_process_in_a_container(
    code: str, told: str, not_told: str, plan: Plan, known: Catalogue
) -> None:
    cause = image.describe_start(plan(STANDBY)[0], known)["errors"][code]["cause"]
    assert told in cause
    assert not_told not in cause


def test_scripts_say_what_they_are_and_get_their_settings(check: Any) -> None:
    scripts = image.render_scripts(check(), "/opt/podsmith")
    assert set(scripts) == {"build.sh", "start.sh", "check.py"}
    assert scripts["build.sh"].splitlines()[:6] == [
        *("#!/bin/sh", "# Rendered by podsmith.gpu; edits are overwritten.", "set -eu"),
        *("home=/opt/podsmith-image", "prefix=/opt/podsmith", "packages=openssh-server"),
    ]
    assert "packages=" not in scripts["start.sh"]


# --- which images ---


GROUPS = {"all": ["pod-1"], "ungrouped": [], "h100": [], "wsl2": ["pod-1"]}


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("h100", [{"host": "image-of-h100", "groups": ["h100", "container_images"]}]),
        ("pod-1", [{"host": "pod-1", "groups": ["container_images"]}]),
        (
            "h100:wsl2",
            [{"host": f"image-of-{name}", "groups": [name, "container_images"]} for name in ("h100", "wsl2")],
        ),
    ],
)
def test_an_image_stands_for_a_profile_or_a_host(wanted: str, found: list[dict[str, Any]]) -> None:
    assert image.find_hosts(wanted, GROUPS) == found


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        ("h1000", '"h1000" is neither a group nor a host of the inventory; did you mean h100?'),
        ("all", '"all" is neither a group nor a host'),
        ("", "No image is named; name a group or host"),
    ],
)
def test_a_name_that_is_nothing(wanted: str, told: str) -> None:
    with pytest.raises(image.ImageError) as caught:
        image.find_hosts(wanted, GROUPS)
    assert told in str(caught.value)
