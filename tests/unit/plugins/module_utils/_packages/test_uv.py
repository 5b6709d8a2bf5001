# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a folder of packages lacks, how uv is told, and what its failures mean."""

from __future__ import annotations

import pathlib

import pytest

from ansible_collections.podsmith.gpu.plugins.module_utils._host.pip import PipSources
from ansible_collections.podsmith.gpu.plugins.module_utils._packages import uv as _uv


def write_distribution(
    folder: pathlib.Path, name: str, version: str, files: dict[str, str], metadata: str = ""
) -> None:
    """An installed distribution, as an installer leaves it."""
    info = folder / f"{name}-{version}.dist-info"
    info.mkdir(parents=True)
    lines = []
    for path, content in files.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content)
        lines.append(f"{path},sha256=x,{len(content)}")
    (info / "METADATA").write_text(f"Name: {name}\nVersion: {version}\n{metadata}\nText\nRequires-Dist: text==1\n")
    lines += [f"{info.name}/RECORD,,", "pkg/__pycache__/gone.cpython-311.pyc,,"]
    (info / "RECORD").write_text("\n".join(lines) + "\n")


def distribution(
    name: str, version: str, *, missing: tuple[str, ...] = (), damaged: tuple[str, ...] = ()
) -> _uv.Distribution:
    return _uv.Distribution(name, version, (), missing, damaged)


def wish(text: str) -> _uv.Requirement:
    return _uv.parse_requirement(text)


@pytest.mark.parametrize(
    ("text", "name", "version"),
    [
        ("torch==2.9.1+cu130", "torch", "2.9.1+cu130"),
        ("Typing_Extensions == 4.16.0", "typing-extensions", "4.16.0"),
        ("cuda-toolkit[nvcc,cudart]==13.0.3", "cuda-toolkit", "13.0.3"),
        ("numpy", "numpy", None),
        (
            "flash-attn @ https://e.org/f/flash_attn-2.8.3%2Bcu12-cp312-cp312-linux_x86_64.whl#sha256=0",
            "flash-attn",
            "2.8.3+cu12",
        ),
    ],
)
def test_requirement(text: str, name: str, version: str | None) -> None:
    assert wish(text) == _uv.Requirement(text, name, version)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("torch>=2.9", "write name==version, or a name alone for any version"),
        ("--index-url=x", "not a requirement this module takes"),
        ("torch==2.9; rm -rf /", "not a requirement"),
        ("x @ https://e.org/x.tar.gz", "give the URL of a .whl file"),
    ],
)
def test_requirement_refused(text: str, words: str) -> None:
    with pytest.raises(_uv.PackagesError, match=words):
        wish(text)


@pytest.mark.parametrize(
    ("wanted", "found", "same"),
    [
        ("2.9.1", "2.9.1", True),
        ("2.9", "2.9.0", True),
        ("4.2.0.0", "4.2", True),
        ("2.9.1", "2.9.1+cu130", True),
        ("2.9.1+cu130", "2.9.1", False),
        ("2.9.1+cu128", "2.9.1+cu130", False),
        ("0.0.33.post2", "0.0.33", False),
        ("0.0.33.post2", "0.0.33-post2", True),
        ("2.10", "2.1", False),
        ("20", "2", False),
    ],
)
def test_same_version(wanted: str, found: str, same: bool) -> None:
    assert _uv.same_version(wanted, found) is same


def test_record_leaves_byte_code_and_itself_out() -> None:
    lines = ["a/b.py,sha256=x,12", '"a,b.py",sha256=x,3', "a/__pycache__/b.pyc,,", "x-1.dist-info/RECORD,,"]
    text = "\n".join([*lines, "../../../bin/x,sha256=y,"])
    assert _uv.parse_record(text) == {"a/b.py": 12, "a,b.py": 3, "../../../bin/x": None}


def test_distributions_are_compared_with_their_record(tmp_path: pathlib.Path) -> None:
    write_distribution(tmp_path, "Whole_One", "1.0", {"whole/a.py": "a"})
    write_distribution(tmp_path, "holed", "2.0", {"holed/a.py": "a", "holed/b.py": "b"})
    write_distribution(tmp_path, "bent", "3.0", {"bent/a.py": "a"})
    write_distribution(tmp_path, "bare", "4.0", {})
    (tmp_path / "holed/b.py").unlink()
    (tmp_path / "bent/a.py").write_text("longer")
    (tmp_path / "bare-4.0.dist-info/RECORD").unlink()
    found = _uv.read_distributions(str(tmp_path))
    assert {name: (item.version, item.missing, item.damaged) for name, item in found.items()} == {
        "whole-one": ("1.0", (), ()),
        "holed": ("2.0", ("holed/b.py",), ()),
        "bent": ("3.0", (), ("bent/a.py",)),
        "bare": ("4.0", ("bare-4.0.dist-info/RECORD",), ()),
    }
    assert _uv.read_distributions(str(tmp_path / "absent")) == {}


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ('{"torch": "2.9.1"}', {"torch": "2.9.1"}),
        ("[1]", {}),
        ("{broken", {}),
        (None, {}),
    ],
)
def test_record_of_the_last_installation(tmp_path: pathlib.Path, content: str | None, found: dict[str, str]) -> None:
    if content is not None:
        _uv.record_path(tmp_path).write_text(content)
    assert _uv.read_packages(tmp_path) == found


@pytest.mark.parametrize(
    ("case", "install", "restore", "repair", "refetch"),
    [
        pytest.param({}, ["torch==2.9.1", "numpy"], [], [], False, id="empty"),
        pytest.param({"present": {"torch": "2.9.1", "numpy": "2.0"}}, [], [], [], False, id="converged"),
        pytest.param({"present": {"torch": "2.9.1+cu130", "numpy": "2.0"}}, [], [], [], False, id="local-label-serves"),
        pytest.param(
            {"present": {"torch": "2.8.0", "numpy": "2.0"}}, ["torch==2.9.1"], [], [], False, id="other-version"
        ),
        pytest.param(
            {"present": {"numpy": "2.0"}, "adopted": {"torch": "2.9.1"}}, [], [], [], False, id="adopted-counts"
        ),
        pytest.param(
            {"present": {"torch": "2.8.0", "numpy": "2.0"}, "adopted": {"torch": "2.9.1"}},
            ["torch==2.9.1"],
            [],
            [],
            False,
            id="own-hides-adopted",
        ),
        pytest.param({"present": {"torch": "2.9.1!", "numpy": "2.0"}}, [], [], ["torch"], False, id="file-missing"),
        pytest.param(
            {"present": {"torch": "2.9.1?", "numpy": "2.0"}}, [], [], ["torch"], True, id="file-changed-in-place"
        ),
        pytest.param(
            {"present": {"torch": "2.8.0!", "numpy": "2.0"}}, ["torch==2.9.1"], [], [], False, id="broken-and-replaced"
        ),
        pytest.param(
            {"present": {"torch": "2.9.1", "numpy": "2.0"}, "recorded": {"numpy": "2.0", "sympy": "1.14"}},
            [],
            ["sympy==1.14"],
            [],
            False,
            id="brought-once-and-gone",
        ),
        pytest.param(
            {"present": {"torch": "2.9.1", "numpy": "2.1"}, "recorded": {"numpy": "2.0"}},
            [],
            [],
            [],
            False,
            id="changed-by-user",
        ),
        pytest.param(
            {"present": {"torch": "2.9.1", "numpy": "2.0"}, "reinstall": ["Torch", "absent"]},
            [],
            [],
            ["torch"],
            False,
            id="told",
        ),
        pytest.param(
            {
                "present": {"torch": "2.9.1", "numpy": "2.0", "triton": "3.0"},
                "constraints": ["triton==3.5.1", "absent==1"],
            },
            ["triton==3.5.1"],
            [],
            [],
            False,
            id="constraint-broken",
        ),
    ],
)
def test_outstanding(
    case: dict[str, dict[str, str]], install: list[str], restore: list[str], repair: list[str], refetch: bool
) -> None:
    present = {
        name: distribution(
            name, text.rstrip("!?"), missing=("x",) * text.endswith("!"), damaged=("x",) * text.endswith("?")
        )
        for name, text in case.get("present", {}).items()
    }
    work = _uv.outstanding(
        [wish("torch==2.9.1"), wish("numpy")],
        [wish(text) for text in case.get("constraints", [])],
        present,
        adopted=case.get("adopted", {}),
        recorded=case.get("recorded", {}),
        reinstall=case.get("reinstall", []),
    )
    assert [item.text for item in work.install] == install
    assert [item.text for item in work.restore] == restore
    assert list(work.repair) == repair
    assert work.refetch is refetch
    assert work.is_empty is not any((install, restore, repair))


@pytest.mark.parametrize(
    ("work", "asked"),
    [
        pytest.param(
            _uv.Work((), (), ("sympy",), False),
            ["torch==2.9.1", "sympy==1.14"],
            id="a-repair-changes-no-version",
        ),
        pytest.param(
            _uv.Work((), (wish("mpmath==1.3"),), (), False),
            ["torch==2.9.1", "mpmath==1.3"],
            id="what-is-gone-comes-as-it-was",
        ),
        pytest.param(
            _uv.Work((wish("numpy==2.0"),), (wish("mpmath==1.3"),), ("sympy",), False),
            ["numpy==2.0", "torch==2.9.1", "mpmath", "sympy"],
            id="beside-changes-the-resolver-decides",
        ),
    ],
)
def test_wishes(work: _uv.Work, asked: list[str]) -> None:
    present = {"torch": distribution("torch", "2.9.1"), "sympy": distribution("sympy", "1.14")}
    requirements = [wish("torch==2.9.1"), wish("adopted==1")]
    assert [item.text for item in _uv.wishes(requirements, work, present)] == asked


@pytest.mark.parametrize(
    ("pip", "own", "arguments", "variables"),
    [
        pytest.param(PipSources(), {}, [], {}, id="nothing"),
        pytest.param(
            PipSources(index_url="https://m/simple", cert="/ca.pem", trusted_hosts=("m", "n")),
            {"ca_bundle": "/etc/ssl/ca.crt"},
            [],
            {"UV_DEFAULT_INDEX": "https://m/simple", "SSL_CERT_FILE": "/ca.pem", "UV_INSECURE_HOST": "m n"},
            id="mirror-and-its-certificate",
        ),
        pytest.param(
            PipSources(extra_index_urls=("file:///a/simple", "https://b"), find_links=("/w",)),
            {},
            [],
            {"UV_INDEX": "file:///a/simple https://b", "UV_INDEX_STRATEGY": "unsafe-best-match", "UV_FIND_LINKS": "/w"},
            id="several-indexes-match-as-pip-does",
        ),
        pytest.param(
            PipSources(index_url="https://m/simple", extra_index_urls=("https://b",), find_links=("/w",)),
            {"index_url": "https://t/cu130", "extra_index_urls": ["https://b"], "find_links": ["/v", "/w"]},
            [],
            {
                "UV_DEFAULT_INDEX": "https://m/simple",
                "UV_INDEX": "https://t/cu130 https://b",
                "UV_INDEX_STRATEGY": "unsafe-best-match",
                "UV_FIND_LINKS": "/v,/w",
            },
            id="own-come-first",
        ),
        pytest.param(
            PipSources(no_index=True, find_links=("/w",)), {}, ["--no-index"], {"UV_FIND_LINKS": "/w"}, id="no-index"
        ),
        pytest.param(
            PipSources(no_index=True),
            {"index_url": "https://t"},
            [],
            {"UV_INDEX": "https://t", "UV_INDEX_STRATEGY": "unsafe-best-match"},
            id="own-index-wins-over-no-index",
        ),
        pytest.param(
            PipSources(),
            {"ca_bundle": "/etc/ssl/ca.crt"},
            [],
            {"SSL_CERT_FILE": "/etc/ssl/ca.crt"},
            id="system-certificates",
        ),
    ],
)
def test_settings(pip: PipSources, own: dict[str, str], arguments: list[str], variables: dict[str, str]) -> None:
    assert _uv.uv_settings(pip, **own) == (arguments, variables)


def test_asked_hides_credentials() -> None:
    variables = {"UV_INDEX": "https://user:secret@t/cu130", "UV_FIND_LINKS": "/w,/v"}
    assert _uv.asked(variables) == ["https://****@t/cu130", "PyPI", "/w", "/v"]


@pytest.mark.parametrize(
    ("output", "words"),
    [
        pytest.param(
            "Using Python 3.11.2 environment at: v1\nerror: No solution found when resolving dependencies\n"
            "  cause: Because there is no version of torch==9.9.9 and you require torch==9.9.9, we can conclude",
            "torch==9.9.9 is offered by none of the sources asked (https://t, PyPI); set X to a mirror.",
            id="version-absent",
        ),
        pytest.param(
            "error: No solution found when resolving dependencies\n"
            "  cause: Because nosuch was not found in the package registry and you require nosuch==1, …",
            "nosuch is offered by none of the sources asked (https://t, PyPI); set X to a mirror.",
            id="package-absent",
        ),
        pytest.param(
            "error: Failed to fetch: https://user:secret@t/simple/foo/\n  cause: error sending request for url (x)\n"
            "  cause: client error (Connect)\n  cause: Connection refused (os error 111)",
            "https://****@t/simple/foo/ could not be fetched (Connection refused (os error 111)); set X to a mirror.",
            id="unreachable",
        ),
        pytest.param(
            "error: Failed to fetch: `https://t/x.whl`\n  Caused by: No space left on device (os error 28)",
            "the disk is full; free space, or choose a prefix on a larger file system.",
            id="disk-full",
        ),
        pytest.param(
            "Resolved 3 packages in 1ms\nerror: No solution found when resolving dependencies\n"
            "  cause: Because xformers==0.0.33 depends on torch==2.9.0 and torch==2.13.0, this cannot be used.",
            "uv says: No solution found when resolving dependencies Because xformers==0.0.33 depends on torch==2.9.0"
            " and torch==2.13.0, this cannot be used (sources asked: https://t, PyPI); set X to a mirror.",
            id="conflict",
        ),
    ],
)
def test_failures_are_explained(output: str, words: str) -> None:
    hint = "set X to a mirror"
    assert _uv.explain_failure(output, sources=["https://t", "PyPI"], hint=hint) == words


def test_downloads() -> None:
    said = "Downloading nvcc (35.7MiB)\n Downloaded nvcc\nDownloading torch (1.5GiB)\nDownloading x (512KiB)\n"
    assert _uv.downloads(said) == [
        {"name": "nvcc", "mib": 35.7},
        {"name": "torch", "mib": 1536.0},
        {"name": "x", "mib": 0.5},
    ]


def test_unmet_leaves_out_what_is_adopted() -> None:
    said = (
        "Checked 3 packages in 1ms\nFound 3 incompatibilities\n"
        "The package `xformers` requires `torch==2.9.0`, but it's not installed\n"
        "The package `vllm` requires `ray>=2`, but it's not installed\n"
        "The package `vllm` requires `numpy<2`, but `2.4.6` is installed\n"
    )
    assert _uv.unmet(said, {"torch": "2.9.1"}) == [
        "vllm wants ray>=2, but it's not installed",
        "vllm wants numpy<2, but `2.4.6` is installed",
    ]


def test_pins_on_what_is_adopted(tmp_path: pathlib.Path) -> None:
    pins = (
        "Requires-Dist: torch==2.9.0\nRequires-Dist: numpy\nRequires-Dist: sympy (==1.13)\n"
        'Requires-Dist: triton==1; platform_system == "Windows"\n'
    )
    write_distribution(tmp_path, "xformers", "0.0.33", {}, pins)
    adopted = {
        name: distribution(name, version)
        for name, version in {"torch": "2.9.1", "triton": "3", "sympy": "1.13"}.items()
    }
    assert _uv.broken_pins(str(tmp_path), adopted) == ["xformers wants torch==2.9.0, but 2.9.1 is adopted"]


@pytest.mark.parametrize(
    ("name", "version", "files", "majors"),
    [
        ("nvidia-cublas-cu12", "12.8.4.1", (), [12]),
        ("nvidia-cudnn-cu13", "9.24.0.43", (), [13]),
        ("nvidia-cuda-runtime", "13.0.96", ("nvidia/cu13/lib/libcudart.so.13",), [13]),
        ("nvidia-ml-py", "13.590", ("pynvml.py",), []),
        ("torch", "2.9.1+cu130", ("torch/lib/libtorch.so",), []),
    ],
)
def test_cuda_majors(name: str, version: str, files: tuple[str, ...], majors: list[int]) -> None:
    assert list(_uv.cuda_majors([_uv.Distribution(name, version, files, (), ())])) == majors


def test_incoherence_names_what_does_not_fit() -> None:
    present = {
        item.name: item
        for item in (
            distribution("torch", "2.8.0"),
            distribution("nvidia-nccl-cu12", "2.27"),
            distribution("nvidia-cudnn-cu13", "9.2"),
        )
    }
    assert _uv.incoherence(present, {}, [wish("torch==2.9.1"), wish("absent==1")]) == [
        "torch 2.8.0 is there instead of 2.9.1",
        "CUDA 12 libraries (nvidia-nccl-cu12 2.27) beside CUDA 13 libraries (nvidia-cudnn-cu13 9.2)",
    ]
    assert _uv.incoherence({"torch": distribution("torch", "2.9.1")}, {}, [wish("torch==2.9.1")]) == []


def test_linker_names(tmp_path: pathlib.Path) -> None:
    for name in ("libcudart.so.13", "libnvvm.so.4", "libcudart_static.a", "libx.so.1.2"):
        (tmp_path / name).touch()
    assert _uv.linker_names(tmp_path) == {"libcudart.so": "libcudart.so.13", "libnvvm.so": "libnvvm.so.4"}
    assert _uv.linker_names(tmp_path / "absent") == {}


@pytest.mark.parametrize(
    ("version", "least", "enough"),
    [("0.13.8", "0.13.8", True), ("0.13.10", "0.13.8", True), ("0.9.9", "0.13.8", False)],
)
def test_newer_or_same(version: str, least: str, enough: bool) -> None:
    assert _uv.newer_or_same(version, least) is enough


@pytest.mark.parametrize(
    ("url", "path"),
    [("file:///opt/a%20b/simple", "/opt/a b/simple"), ("/opt/wheels", "/opt/wheels"), ("https://m/x", None)],
)
def test_local_path(url: str, path: str | None) -> None:
    assert _uv.local_path(url) == path
