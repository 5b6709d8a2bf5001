# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a bundle holds for a decision, and the variables with which the same decision is reached again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import load_catalogue
from ansible_collections.podsmith.gpu.plugins.plugin_utils._offline import bundle
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.decision import to_decision
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.plan import resolve

ROOT = Path(__file__).resolve().parents[5]
WISH = {"cuda": "13.0", "pytorch": "2.11", "cutlass": "4.2.0", "extensions": ["triton", "torchvision"]}
ADOPTED = {"torch": "2.11.0+cu130", "torchvision": "0.26.0+cu130", "triton": "3.6.0", "filelock": "3.20.0"}


def observe(packages: dict[str, str] | None = None, **platform: Any) -> dict[str, Any]:
    """The recorded H200 host; ``packages`` are in its PyTorch environment."""
    gpu = json.loads((ROOT / "tests/fixtures/h200-driver-580-facts.json").read_text(encoding="utf-8"))["gpu"]
    gpu["installed"]["pytorch"][0]["packages"] = packages or {}
    gpu["platform"].update(platform)
    return gpu


def decide(observed: dict[str, Any], **request: Any) -> dict[str, Any]:
    return to_decision(resolve(observed, WISH | request, load_catalogue()))


def needs(observed: dict[str, Any], mirrors: dict[str, str] | None = None, **request: Any) -> bundle.Needs:
    decision = decide(observed, **request)
    target = bundle.find_target(decision, observed, {})
    return bundle.list_needs(decision, observed, target, mirrors or {}, load_catalogue())


def sets(found: bundle.Needs) -> dict[str, bundle.Wheels]:
    """The sets of wheels by the first word of their purpose."""
    return {wheels.purpose.split()[0].rstrip(","): wheels for wheels in found.wheels}


def names(requirements: tuple[str, ...]) -> list[str]:
    return [requirement.partition("==")[0] for requirement in requirements]


def test_an_image_with_toolkit_and_pytorch_needs_headers_and_tools_alone() -> None:
    found = needs(observe(ADOPTED))
    assert found.left_out == found.repositories == ()
    assert [(wheels.requirements, wheels.no_deps) for wheels in found.wheels if "CUTLASS" in wheels.purpose] == [
        (("nvidia-cutlass==4.2.0.0",), True)
    ]
    beside = sets(found)["PyTorch"]
    assert names(beside.requirements) == ["ninja", "setuptools", "numpy", "pip"]
    assert set(beside.have) == {"torch", "torchvision", "triton", "filelock"}
    assert (beside.constraints, beside.index_urls) == ((), ())


def test_tools_that_the_adopted_environment_has_are_not_bundled() -> None:
    tools = load_catalogue()["tools"]["tools"]
    has = {"numpy": "2.0.0", "pip": "25.0", "setuptools": tools["setuptools"]["version"], "ninja": "1.0"}
    beside = sets(needs(observe(ADOPTED | has)))["PyTorch"]
    assert names(beside.requirements) == ["ninja"], "another version than the role wants is brought"


def test_pytorch_comes_from_its_index_or_its_mirror_with_all_that_shares_its_environment() -> None:
    urls = load_catalogue()["pytorch"]["indexes"]["cu130"]["url"]
    found = sets(needs(observe(), extensions=["torchvision", "bitsandbytes"]))["PyTorch"]
    assert names(found.requirements)[:2] == ["torch", "torchvision"]
    assert "bitsandbytes" in names(found.requirements)
    assert found.index_urls == (urls,)
    assert "torch==2.11.0+cu130" in found.constraints
    mirrored = needs(observe(), {"pytorch_index_url": "https://mirror.example/cu130"})
    assert sets(mirrored)["PyTorch"].index_urls == ("https://mirror.example/cu130",)


def test_a_torch_of_the_hosts_own_folder_is_not_bundled_what_it_needs_is() -> None:
    observed = observe(root=False)
    observed["installed"].update(pytorch=[], toolkits=[])
    wheel = {"name": "torch", "version": "2.11.0+cu130", "path": "/srv/w.whl", "python_tag": "cp312", "arch": "x86_64"}
    observed["sources"].update(find_links=["/srv", "https://wheels.example/"], wheels=[{**wheel, "cuda": "13.0"}])
    decision = decide(observed, extensions=[])
    assert decision["pytorch"]["provider"] == "host_wheels"
    assert "torch" in sets(needs(observed, extensions=[]))["PyTorch"].have
    variables = bundle.host_variables(decision, observed, WISH, "bundle/h200")
    assert variables["bundle_environment"]["PIP_FIND_LINKS"] == "{{ bundle_host_dir }}/wheels /srv", (
        "no page out of reach"
    )


def test_a_toolkit_from_pypi_is_bundled_side_by_side_ones_too() -> None:
    observed = observe(ADOPTED)
    wish = {"toolkit": {"provider": "pypi", "also": ["13.1"]}}
    purposes = [wheels.purpose for wheels in needs(observed, {"cuda_toolkit_index_url": "http://m"}, **wish).wheels]
    assert purposes[:2] == ["CUDA toolkit 13.0", "CUDA toolkit 13.1"]


def test_uv_is_bundled_where_the_host_has_none() -> None:
    tools = observe(ADOPTED)["platform"]["tools"]
    assert "uv" not in sets(needs(observe(ADOPTED)))
    assert "uv" in sets(needs(observe(ADOPTED, tools=tools | {"uv": None})))


def test_cutlass_without_a_wheel_is_cloned() -> None:
    found = needs(observe(ADOPTED), {"cutlass_git_url": "file:///srv/cutlass"}, cutlass="4.3.0")
    assert found.repositories == (
        {"name": "cutlass", "url": "file:///srv/cutlass", "revision": "v4.3.0", "purpose": "CUTLASS 4.3.0"},
    )


def test_what_cannot_be_bundled_is_named_with_the_way_out() -> None:
    observed = observe(compiler=None)
    observed["installed"].update(toolkits=[])
    left_out = {row["what"]: row["why"] for row in needs(observed).left_out}
    toolkit = next(what for what in left_out if "cuda-nvcc-13-0" in what)
    assert "set toolkit.provider: pypi" in left_out[toolkit]
    assert "g++" in left_out


def test_rpm_packages_are_left_out_and_pypi_is_told_only_where_it_has_them() -> None:
    observed = observe()
    observed["platform"]["os"] = {"id": "rocky", "version": "9.5", "family": "redhat"}
    observed["platform"] |= {"compiler": None, "tools": {"dnf": "/usr/bin/dnf", "apt": None}}
    left_out = {row["what"]: row["why"] for row in needs(observed, cuda="12.8", pytorch="none").left_out}
    toolkit = next(what for what in left_out if "cuda-nvcc-12-8" in what)
    assert left_out[toolkit].endswith("let the host reach an archive, or install them in its image")
    assert "packages of the system are not bundled" in left_out["gcc-c++"]
    newer = needs(observed, cuda="13.0", pytorch="none", toolkit={"provider": "rpm"}).left_out
    assert [row["why"] for row in newer if "set toolkit.provider: pypi" in row["why"]] != []


def test_a_blocked_decision_is_refused_with_its_remedies() -> None:
    observed = observe()
    observed["driver"].update(version="470.57.02", branch=470, cuda="11.4")
    with pytest.raises(bundle.BundleError, match=r"there is nothing to bundle for this host\. .+"):
        needs(observed, on_old_driver=["fail"])


def test_a_host_whose_driver_does_not_work_has_nothing_to_bundle() -> None:
    observed = observe()
    observed["driver"]["status"] = "lost"
    with pytest.raises(bundle.BundleError, match=r"broken: .*: there is nothing to bundle for this host\. Reboot"):
        needs(observed)


@pytest.mark.parametrize(
    ("unknown", "given", "message"),
    [
        pytest.param(("glibc",), {}, "the host's glibc, which decide the wheels; set it in bundle_target", id="one"),
        pytest.param(("glibc", "arch"), {}, "glibc and arch, .* set them in bundle_target", id="two"),
        pytest.param(("glibc",), {"glibc": "2.31"}, None, id="given"),
    ],
)
def test_what_chooses_wheels_is_observed_or_given(
    unknown: tuple[str, ...], given: dict[str, str], message: str | None
) -> None:
    observed = observe(ADOPTED)
    decision = decide(observed)
    for name in unknown:
        del observed["platform"][name]
    if message is None:
        assert bundle.find_target(decision, observed, given) == bundle.Target("3.12", "2.31", "x86_64")
    else:
        with pytest.raises(bundle.BundleError, match=message):
            bundle.find_target(decision, observed, given)


def test_the_pinned_wish_reaches_the_same_decision() -> None:
    observed = observe(ADOPTED)
    wish = WISH | {"cuda": "newest", "pytorch": "newest"}
    decision = to_decision(resolve(observed, wish, load_catalogue()))
    pinned = bundle.host_variables(decision, observed, wish, "bundle/h200")["stack_plan_request"]
    assert "newest" not in pinned.values()
    assert to_decision(resolve(observed, pinned, load_catalogue()))["digest"] == decision["digest"]


def test_a_patch_release_that_was_wished_stays_pinned() -> None:
    observed = observe(ADOPTED)
    observed["installed"].update(pytorch=[], toolkits=[])
    decision = decide(observed, cuda="13.0.2", toolkit={"provider": "pypi"})
    assert bundle.pin(WISH | {"cuda": "13.0.2"}, decision)["cuda"] == "13.0.2"
    assert bundle.pin(WISH | {"cuda": "13.0"}, decide(observed, cuda="13.0"))["cuda"] == "13.0"


def test_a_part_that_was_not_wished_is_not_pinned() -> None:
    observed = observe(ADOPTED)
    decision = decide(observed, cutlass="none")
    assert bundle.pin(WISH | {"cutlass": "none"}, decision)["cutlass"] == "none"


def test_the_tools_are_those_of_the_pytorch_role() -> None:
    defaults = yaml.safe_load((ROOT / "roles/pytorch/defaults/main.yml").read_text(encoding="utf-8"))
    wanted = [name.partition("==")[0] for name in defaults["pytorch_tools"]]
    assert names(tuple(bundle._tools(load_catalogue()))) == wanted


def test_every_mirror_variable_of_the_roles_is_set() -> None:
    """A role that fetched past the bundle would ask the network."""
    variables = bundle.host_variables(decide(observe(ADOPTED)), observe(ADOPTED), WISH, "bundle/h200")
    mirrors = {
        name
        for path in ROOT.glob("roles/*/defaults/main.yml")
        for name in yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        if name.endswith(("_index_url", "_index_urls", "_find_links", "_git_url"))
    }
    assert mirrors - set(variables) == set()


@pytest.mark.parametrize("wheels", ["source", "pytorch_index"])
def test_what_is_compiled_on_the_host_is_named_and_not_bundled(wheels: str) -> None:
    found = needs(observe(), extensions=[], wheels={"provider": wheels}, source={"extensions": ["flash-attn"]})
    texts = [text for one in found.wheels for text in (*one.requirements, *one.constraints)]
    assert [text for text in texts if "flash-attn" in text or ".src" in text] == []
    assert any("torch" in one.have for one in found.wheels) == (wheels == "source")
    told = {entry["what"].split()[0]: entry["why"] for entry in found.left_out}
    assert {"flash-attn", *(["torch"] if wheels == "source" else [])} <= told.keys()
    assert told["flash-attn"].startswith("a bundle holds no source builds; build it on a host like this one")
