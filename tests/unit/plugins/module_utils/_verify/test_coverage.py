"""Which compiled code runs on which GPU."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from ansible_collections.podsmith.gpu.plugins.module_utils._verify import coverage


@pytest.mark.parametrize(
    ("name", "expected"),
    [("sm_90a", (90, "a")), ("sm_75", (75, "")), ("compute_120", (120, "")), ("sm_120f", (120, "f"))],
)
def test_parse_architecture(name: str, expected: tuple[int, str]) -> None:
    assert coverage.parse_architecture(name) == expected


@pytest.mark.parametrize(("name", "expected"), [("sm_90a", ("9.0", "a")), ("sm_120", ("12.0", ""))])
def test_split_architecture(name: str, expected: tuple[str, str]) -> None:
    assert coverage.split_architecture(name) == expected


@pytest.mark.parametrize("name", ["9.0", "sm90", "sm_", "sm_90a; rm", "sm_90b", ""])
def test_what_is_no_architecture_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f'"{name}" is not an architecture; expected a name such as sm_90 or sm_90a'):
        coverage.parse_architecture(name)


@pytest.mark.parametrize(
    ("architectures", "capability", "by_code", "by_ptx"),
    [
        pytest.param(["sm_80"], "8.0", True, True, id="the-same"),
        pytest.param(["sm_86"], "8.9", True, True, id="a-later-minor"),
        pytest.param(["sm_89"], "8.6", False, False, id="an-earlier-minor"),
        pytest.param(["sm_80"], "9.0", False, False, id="a-later-major-has-no-ptx"),
        pytest.param(["sm_120"], "10.0", False, False, id="an-earlier-major"),
        pytest.param(["sm_90a"], "9.0", True, True, id="arch-specific"),
        pytest.param(["sm_100a"], "10.3", False, False, id="arch-specific-of-another-minor"),
        pytest.param(["sm_100f"], "10.3", True, True, id="family"),
        pytest.param(["sm_103f"], "10.0", False, False, id="family-before-its-minor"),
        pytest.param(["sm_100f"], "12.0", False, False, id="another-family"),
        pytest.param(["sm_86"], "8.7", False, False, id="discrete-code-on-tegra"),
        pytest.param(["sm_87"], "8.9", False, False, id="tegra-code-on-discrete"),
        pytest.param(["sm_87"], "8.7", True, True, id="tegra-code-on-tegra"),
        pytest.param(["sm_110"], "11.0", True, True, id="tegra-of-a-major-of-its-own"),
        pytest.param(["sm_101"], "11.0", True, True, id="thor-by-its-first-name"),
        pytest.param(["sm_100"], "11.0", False, False, id="thor-is-no-b200"),
        pytest.param(["sm_60"], "6.2", False, False, id="pascal-code-on-tx2"),
        pytest.param(["sm_62"], "6.1", False, False, id="an-earlier-minor-than-tx2"),
        pytest.param(["sm_72"], "7.5", False, False, id="xavier-code-on-turing"),
        pytest.param(["compute_90"], "12.0", False, True, id="ptx"),
        pytest.param(["sm_75", "compute_75"], "9.0", False, True, id="ptx-beside-code"),
        pytest.param(["compute_86"], "8.7", False, True, id="ptx-on-tegra"),
        pytest.param(["compute_87"], "8.9", False, True, id="ptx-from-tegra"),
        pytest.param(["compute_120"], "9.0", False, False, id="ptx-of-a-newer-one"),
        pytest.param(["sm_86", "compute_120"], "8.9", True, True, id="ptx-of-a-newer-one-beside-code"),
        pytest.param(["sm_90", "compute_120"], "8.9", False, False, id="ptx-of-a-newer-one-beside-other-code"),
        pytest.param(["compute_90a"], "9.0", False, True, id="ptx-with-a-suffix"),
        pytest.param(["compute_90a"], "10.0", False, False, id="ptx-with-a-suffix-elsewhere"),
        pytest.param(["compute_100f"], "10.3", False, True, id="ptx-of-a-family"),
        pytest.param(["compute_100f"], "12.0", False, False, id="ptx-of-another-family"),
        pytest.param(["sm_75", "sm_80", "sm_90"], "7.0", False, False, id="none-of-several"),
        pytest.param([], "9.0", False, False, id="nothing"),
    ],
)
def test_covers(architectures: list[str], capability: str, by_code: bool, by_ptx: bool) -> None:
    assert coverage.covers(architectures, capability, ptx=False) is by_code
    assert coverage.covers(architectures, capability, ptx=True) is by_ptx


@pytest.mark.parametrize(
    ("architectures", "capability", "cuda", "runs"),
    [
        pytest.param(["sm_80", "sm_90"], "8.7", "12.6", False, id="orin-before"),
        pytest.param(["sm_80", "sm_90"], "8.7", "13.0", False, id="orin-on-13.0"),
        pytest.param(["sm_80", "sm_90"], "8.7", "13.2", True, id="orin-from-13.2"),
        pytest.param(["sm_86"], "8.7", "13.4", True, id="orin-later"),
        pytest.param(["sm_80"], "8.7", None, False, id="unknown-release"),
        pytest.param(["sm_87"], "8.9", "13.2", False, id="never-the-other-way"),
        pytest.param(["sm_89"], "8.7", "13.2", False, id="an-earlier-minor"),
        pytest.param(["sm_70"], "7.2", "13.2", False, id="xavier-is-not-joined"),
        pytest.param(["sm_100"], "11.0", "13.2", False, id="thor-has-a-major-of-its-own"),
    ],
)
def test_the_split_of_orin_ends_with_a_release_of_cuda(
    architectures: list[str], capability: str, cuda: str | None, runs: bool
) -> None:
    assert coverage.covers(architectures, capability, ptx=False, cuda=cuda) is runs


def test_the_split_is_by_what_is_given() -> None:
    none, ada = coverage.Split(lambda _name: False), coverage.Split(lambda name: name == "8.9")
    assert coverage.covers(["sm_86"], "8.7", ptx=False, split=none)
    assert not coverage.covers(["sm_86"], "8.9", ptx=False, split=ada)


def test_the_proof_and_the_plan_had_two_answers() -> None:
    """The proof did not know the split of Tegra, and the plan took code for a family for that of one GPU."""

    def by_proof(architectures: Iterable[str], device: str) -> bool:
        major, minor = (int(part) for part in device.split("."))
        for name in architectures:
            number, feature = coverage.parse_architecture(name)
            at = (number // 10, number % 10)
            exact = at == (major, minor) if feature == "a" else at[0] == major and at[1] <= minor
            if exact or (name.startswith("compute_") and not feature and at <= (major, minor)):
                return True
        return False

    def by_plan(architectures: Iterable[str], device: str) -> bool:
        wanted = int(device.replace(".", ""))
        for name in architectures:
            number, feature = coverage.parse_architecture(name)
            if feature and number == wanted:
                return True
            same_kind = (number in coverage.TEGRA) == (wanted in coverage.TEGRA)
            if not feature and number // 10 == wanted // 10 and number <= wanted and same_kind:
                return True
        return False

    cases = [(["sm_86"], "8.7"), (["sm_100f"], "10.3")]
    assert [by_proof(*case) for case in cases] == [True, True]
    assert [by_plan(*case) for case in cases] == [False, False]
    assert [coverage.covers(*case, ptx=False) for case in cases] == [False, True]
