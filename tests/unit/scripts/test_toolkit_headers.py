# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is read of the headers of CUDA's compiler, and of cuda-toolkit's METADATA."""

from __future__ import annotations

import pytest
import refresh_catalogue
import toolkit_headers as script

CONFIG = """
#if (__GRCO_CLANG_COMPILER__ == 1) && ((__clang_major__ < 16) || (__clang_major__ > 20))
#error -- unsupported Grace clang version! The version must be 16.x to 20.x.
#endif
#if defined(__GNUC__)
#if __GNUC__ > 15

#error -- unsupported GNU version! gcc versions later than 15 are not supported!
#endif
#if defined(__HORIZON__)
#if (__clang_major__ >= 19) || (__clang_major__ < 3) || ((__clang_major__ == 3) &&  (__clang_minor__ < 3))
#error -- unsupported HOS clang version! The version must be must be less than 19
#endif
#endif
#if (__clang_major__ >= 21) || (__clang_major__ < 3) || ((__clang_major__ == 3) &&  (__clang_minor__ < 3))
#error -- unsupported clang version! clang version must be less than 21 and greater than 3.2 .
#endif
"""
OLD = """
extern __DEVICE_FUNCTIONS_DECL__ __device_builtin__ double                 rsqrt(double x);
extern __DEVICE_FUNCTIONS_DECL__ __device_builtin__ double                 sinpi(double x);
extern __DEVICE_FUNCTIONS_DECL__ __device_builtin__ double                 cospi(double x);
"""
NEWER = OLD.replace("sinpi(double x)", "sinpi(double x) _NOEXCEPT").replace(
    "cospi(double x)", "cospi(double x) _NOEXCEPT"
)


@pytest.mark.parametrize(
    ("text", "gcc", "clang"),
    [
        pytest.param(CONFIG, 16, 21, id="as-it-is"),
        pytest.param(CONFIG.replace("\n\n#error", "\n#error"), 16, 21, id="without-a-blank-line"),
        pytest.param("", None, None, id="no-bound"),
    ],
)
def test_the_host_compilers_that_a_header_refuses(text: str, gcc: int | None, clang: int | None) -> None:
    """Neither the bound of Grace's clang nor that of another system is clang's own."""
    assert script.host_bounds(text) == {"gcc_below": gcc, "clang_below": clang}


@pytest.mark.parametrize(
    ("text", "below"),
    [
        pytest.param(OLD, "2.41", id="sinpi"),
        pytest.param(NEWER, "2.42", id="rsqrt"),
        pytest.param(NEWER.replace("rsqrt(double x)", "rsqrt(double x) _NOEXCEPT"), None, id="all-agree"),
    ],
)
def test_the_glibc_that_declares_a_function_differently(text: str, below: str | None) -> None:
    assert script.glibc_below(text) == below


def metadata(*lines: str) -> str:
    extras = sorted({line.partition("extra == ")[2].strip("'") for line in lines})
    return "\n".join(
        ["Metadata-Version: 2.1", "Name: cuda-toolkit", *(f"Provides-Extra: {e}" for e in extras), *lines, ""]
    )


def pins(nvcc: str, runtime: str, suffix: str = "") -> str:
    extra = {"nvcc": ("cuda-nvcc", nvcc), "cudart": ("cuda-runtime", runtime), "cccl": ("cuda-cccl", runtime)}
    extra |= {"nvrtc": ("cuda-nvrtc", nvcc), "nvml": ("nvml-dev", runtime)}
    rows = [f"Requires-Dist: nvidia-{name}{suffix}=={pin}.*; extra == '{key}'" for key, (name, pin) in extra.items()]
    return metadata(*rows, f"Requires-Dist: nvidia-cuda-runtime{suffix}=={runtime}.*; extra == 'nvcc'")


def test_a_patch_release_has_the_numbers_of_its_parts() -> None:
    """From 13.2.1 on the nvcc extra brings other packages too; a fourth number is the packaging's own."""
    found = script.patch_rows(
        {"13.0.2": pins("13.0.88", "13.0.96"), "13.0.3.0": pins("13.0.88", "13.0.96")}, ["13.0.88"]
    )
    row = {"nvcc": "13.0.88", "cudart": "13.0.96", "cccl": "13.0.96", "nvrtc": "13.0.88", "nvml": "13.0.96"}
    assert {patch: {**row, "source": found[patch]["source"]} for patch in ("13.0.2", "13.0.3")} == found


def test_a_patch_whose_metadata_repeats_the_one_before_tells_nothing() -> None:
    """12.5.1 names the nvcc of 12.5.0, while nvcc 12.5.82 is published: nobody knows which parts it has."""
    same = {patch: pins("12.5.40", "12.5.39", "-cu12") for patch in ("12.5.0", "12.5.1")}
    assert list(script.patch_rows(same, ["12.5.40", "12.5.82"])) == ["12.5.0"]
    assert list(script.patch_rows(same, ["12.5.40"])) == ["12.5.0", "12.5.1"]


def test_nvcc_gets_the_parts_that_it_calls_in_its_own_version() -> None:
    extras = {"nvcc": {"nvidia-cuda-nvcc": "13.0.88"}, "cudart": {"nvidia-cuda-runtime": "13.0.96"}}
    whole = {"nvidia-cuda-crt": "13.0.88", "nvidia-cuda-nvcc": "13.0.88", "nvidia-nvvm": "13.0.88"}
    assert script.complete_compiler(extras, lambda _name, _version: True) == {**extras, "nvcc": whole}
    assert script.complete_compiler(extras, lambda name, _version: name != "nvidia-nvvm") == extras
    pinned = {"nvcc": {**whole, "nvidia-nvvm": "13.0.99"}}
    assert script.complete_compiler(pinned, lambda _name, _version: True) == pinned


def test_an_edit_by_hand_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    assert script.verify(refresh_catalogue._Dumper) is None
    text = script.FILE.read_text(encoding="utf-8")
    edited = script.FILE.__class__(str(tmp_path), "toolkits.yml")
    edited.write_text(text.replace("gcc_below: 16", "gcc_below: 17", 1), encoding="utf-8")
    monkeypatch.setattr(script, "FILE", edited)
    told = script.verify(refresh_catalogue._Dumper)
    assert told
    assert told.startswith("catalogue/toolkits.yml was edited by hand")
