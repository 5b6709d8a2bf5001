# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the CUTLASS headers come from: the host's own, a wheel on PyPI, or git."""

from __future__ import annotations

from dataclasses import dataclass

from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import Catalogue
from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.versions import parse_version
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.builds import matches
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.case import Case
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.layout import is_ours, no_apt
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.refusal import Refusal, WayOut
from ansible_collections.podsmith.gpu.plugins.plugin_utils._request.words import unlisted


@dataclass(frozen=True)
class Cutlass:
    """The CUTLASS headers of the decision."""

    version: str
    provider: str  # git, pypi, adopt
    path: str
    tag: str | None = None
    commit: str | None = None
    requirement: str | None = None
    system_packages: tuple[str, ...] = ()


def provide_cutlass(case: Case) -> Cutlass | Refusal | None:
    """The CUTLASS headers, None where none are wished, or why they cannot be had."""
    host, request, layout, known = case.host, case.request, case.layout, case.known
    if request.cutlass == "none":
        return None
    releases = sorted(known["cutlass"]["releases"], key=parse_version)
    matching = [release for release in releases if matches(release, request.cutlass)]
    if not matching:
        raise unlisted("cutlass", request.cutlass, releases)
    version = matching[-1]
    row, path = known["cutlass"]["releases"][version], f"{layout.prefix}/cutlass/{version}"
    for found in host.cutlasses:
        if str(found.get("version")) == version and not found.get("broken") and not is_ours(found, layout):
            return Cutlass(version, "adopt", str(found["path"]))
    if row.get("pypi"):
        package = known["cutlass"]["sources"]["pypi"]["package"]
        return Cutlass(version, "pypi", path, row["tag"], row.get("commit"), f"{package}=={row['pypi']}")
    if host.lacks("git") and (refusal := no_apt(case)):
        because = f"CUTLASS {version} comes by git, which is not installed, and {refusal.because}"
        return Refusal(because, "Install git.", ways=_from_pypi(known))
    return Cutlass(version, "git", path, row["tag"], row.get("commit"), None, ("git",) if host.lacks("git") else ())


def _from_pypi(known: Catalogue) -> tuple[WayOut, ...]:
    """The newest release that needs no git."""
    rows = known["cutlass"]["releases"]
    found = max((version for version in rows if rows[version].get("pypi")), key=parse_version, default=None)
    return (WayOut(f'Set cutlass: "{found}", which PyPI has.', {"cutlass": found}),) if found else ()
