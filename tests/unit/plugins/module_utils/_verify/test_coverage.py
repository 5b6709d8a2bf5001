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
        pytest.param(["sm_80"], "9.0", False, True, id="a-later-major"),
        pytest.param(["sm_120"], "10.0", False, False, id="an-earlier-major"),
        pytest.param(["sm_90a"], "9.0", True, True, id="arch-specific"),
        pytest.param(["sm_100a"], "10.3", False, False, id="arch-specific-of-another-minor"),
        pytest.param(["sm_100f"], "10.3", True, True, id="family"),
        pytest.param(["sm_103f"], "10.0", False, False, id="family-before-its-minor"),
        pytest.param(["sm_100f"], "12.0", False, False, id="another-family"),
        pytest.param(["sm_86"], "8.7", False, True, id="discrete-code-on-tegra"),
        pytest.param(["sm_87"], "8.9", False, True, id="tegra-code-on-discrete"),
        pytest.param(["sm_87"], "8.7", True, True, id="tegra-code-on-tegra"),
        pytest.param(["sm_110"], "11.0", True, True, id="tegra-of-a-major-of-its-own"),
        pytest.param(["compute_90"], "12.0", True, True, id="ptx"),
        pytest.param(["compute_86"], "8.7", True, True, id="ptx-on-tegra"),
        pytest.param(["compute_120"], "9.0", False, False, id="ptx-of-a-newer-one"),
        pytest.param(["compute_90a"], "9.0", False, False, id="ptx-with-a-suffix"),
        pytest.param(["sm_75", "sm_80", "sm_90"], "7.0", False, False, id="none-of-several"),
        pytest.param([], "9.0", False, False, id="nothing"),
    ],
)
def test_covers(architectures: list[str], capability: str, by_code: bool, by_ptx: bool) -> None:
    assert coverage.covers(architectures, capability, ptx=False) is by_code
    assert coverage.covers(architectures, capability, ptx=True) is by_ptx


def test_the_split_is_by_what_is_given() -> None:
    assert coverage.covers(["sm_86"], "8.7", ptx=False, tegra=lambda _name: False)
    assert not coverage.covers(["sm_86"], "8.9", ptx=False, tegra=lambda name: name == "8.9")


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
