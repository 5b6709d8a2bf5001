"""What people read is plain English of the field: forms that were replaced do not come back.

Everything a person reads is searched, area by area: pages, task names and messages, argument specs, the strings of
plugins, the catalogue, scripts. To replace another form, add a row to FORMS with an old sentence and a better one.
"""

from __future__ import annotations

import ast
import pathlib
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import pytest
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]


class Form(NamedTuple):
    pattern: str
    old: str
    better: str


FORMS = [
    Form(
        r";? write it (such )?as\b",
        '"x" is no version; write it such as 13.0',
        '… is "x"; expected a version such as 13.0',
    ),
    Form(r"\b(is|are|was|were|as) wanted\b", 'cuda is "x", a version is wanted', 'cuda is "x"; expected a version'),
    Form(
        r"(?<!is )(?<!are )(?<!was )\bwanted(?= [\w{'\"(])",
        "found x, wanted some of: …",
        "found x; expected some of: …",
    ),
    Form(r"\btaken for\b", "2.13.0+cpu, which is taken for newest", 'used as "newest"'),
    Form(r"\bspeaks?\b", "driver 570 speaks CUDA 12.8", "driver 570 supports CUDA 12.8"),
    Form(r"\b(is|are) of CUDA\b", "PyTorch and the toolkit are of CUDA 13.0", "… are built for CUDA 13.0"),
    Form(r"\bst(ands?|ood) in for\b", "the compat library stands in for the driver", "the compat library is active"),
    Form(r"\blibrary stands in\b", "unless the compat library stands in", "unless the compat library is active"),
    Form(r"\bWish\b", 'Wish driver: "580" or newer.', 'Set driver: "580" or newer.'),
    Form(r"\bwish (it|driver|the driver)\b", "wish it with `also`", "set `also`"),
    Form(
        r"\bwas not built:",
        "x was not built: the step build was killed.",
        "Building x failed: the build step was killed.",
    ),
    Form(r"\bIt said:", "It said: …", "Last errors: …"),
    Form(r"\bthrown out\b", "Whoever works on it is thrown out.", "Logged-in users are disconnected."),
    Form(r"\bnobody's\b", "a GPU host that is nobody's", "a disposable GPU host"),
    Form(r"\bthe matter of\b", "is the matter of the environment", "is decided by the environment"),
    Form(r"\bshall hear\b", "what ansible-playbook shall hear", "arguments for ansible-playbook"),
    Form(r"\bis about\b(?! [\d~{])", "the hosts that it is about", "the hosts to work on"),
    Form(r"\b(his|her|its|their|and) kin\b", "`cuda-drivers` and their kin", "`cuda-drivers` and similar packages"),
    Form(r"\b[Pp]uts? (\w+ ){0,3}right\b", "the command that puts it right", "the command that fixes it"),
    Form(
        r"\bis there and is used\b",
        "CUDA toolkit 13.0.88  is there and is used as it is",
        "CUDA toolkit 13.0.88  already installed, used as it is",
    ),
    Form(r"\b(is|are|was|were|be) taken out\b", "cuda-compat-12-8  is taken out", "cuda-compat-12-8  to be removed"),
    Form(r"\btaken (?=[\d{])", "observed 580.159.04, taken 570.133.20", "observed 580.159.04, used 570.133.20"),
    Form(r"\b(this|the) very\b", "this very stack passed its checks here", "this stack passed its checks here"),
    Form(
        r"\b([Aa]|[Tt]he|is) wish(ed)?\b",
        "What is wished, as C(stack_plan_request).",
        "The request, as C(stack_plan_request).",
    ),
    Form(
        r"\bwants\b(?! to\b)",
        "stack_plan wants what gpu_facts observed, a mapping; found list.",
        "stack_plan expects the mapping that gpu_facts returns; found list.",
    ),
    Form(
        r"\b(brings?|brought) (?!(it |them )?(to|back)\b)\w",
        "a package that brings a driver",
        "a package that pulls in a driver",
    ),
    Form(r"\bis no \w+ and no\b", '"x" is no group and no host', '"x" is neither a group nor a host'),
    Form(r"\bcomes? again\b", "Where it comes again, return this pod.", "If it recurs, return this pod."),
    Form(r"\b[Tt]ake another\b", "Take another pod.", "Use another pod."),
    Form(r"\bsent again\b", "PCIe packets sent again: 5", "PCIe packets resent: 5"),
    Form(r"\bbelongs? into\b", "a secret does not belong into a file", "a secret does not belong in a file"),
    Form(r"\bparted by\b", "names, parted by commas", "names, separated by commas"),
    Form(r"\bstands? for (an )?images?\b", "the hosts that stand for images", "the hosts that represent images"),
    Form(r"\bcame of\b", "Tell what came of a library", "Report whether a library works"),
    Form(r"\bmatter of versions\b", "this is no matter of versions", "the versions are not the cause"),
    Form(r"\b(come|comes|came) along\b", "a driver that would come along", "a package that pulls in a driver"),
]
TASK_NAMES = [
    Form(r"^Bring (?!.* to the plan$)", "Bring git", "Install git"),
    Form(r"^Have ", "Have apt read it", "Refresh the apt cache"),
    Form(r"^Forget ", "Forget them", "Drop them from the record"),
    Form(r"^See (that|what|whether) ", "See that they bring no driver", "Check that no driver is pulled in"),
]


def files(*patterns: str) -> Iterator[pathlib.Path]:
    for pattern in patterns:
        yield from (path for path in sorted(ROOT.glob(pattern)) if path.is_file())


def lines(*patterns: str) -> Iterator[tuple[str, str]]:
    """Place and text of each line."""
    for path in files(*patterns):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            yield f"{path.relative_to(ROOT)}:{number}", line


def joined(node: ast.expr) -> str | None:
    """The text of a string; {} for what an f-string fills in."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(joined(part) or "{}" for part in node.values)
    return None


def strings(*patterns: str) -> Iterator[tuple[str, str]]:
    """Place and text of each string in Python files, without docstrings, which no user reads."""
    for path in files(*patterns):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        skipped: set[ast.AST] = {node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        skipped |= {part for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
        for node in ast.walk(tree):
            if isinstance(node, ast.expr) and node not in skipped and (text := joined(node)):
                yield f"{path.relative_to(ROOT)}:{node.lineno}", text


def scalars(value: Any, keys: frozenset[str], *, below: bool = False) -> Iterator[str]:
    """Each text under one of the keys, at any depth."""
    if isinstance(value, str) and below:
        yield value
    for name, item in value.items() if isinstance(value, dict) else ():
        yield from scalars(item, keys, below=below or name in keys)
    for item in value if isinstance(value, list) else ():
        yield from scalars(item, keys, below=below)


def texts(keys: Iterable[str], *patterns: str) -> Iterator[tuple[str, str]]:
    """Place and text of what stands under these keys of YAML files."""
    for path in files(*patterns):
        for text in scalars(yaml.safe_load(path.read_text(encoding="utf-8")), frozenset(keys)):
            yield str(path.relative_to(ROOT)), text


TASKS = ("roles/*/tasks/**/*.yml", "roles/*/handlers/*.yml", "playbooks/**/*.yml")
# Not CHANGELOG.md, which records what earlier releases said.
AREAS: dict[str, Callable[[], Iterator[tuple[str, str]]]] = {
    "pages": lambda: lines("[!C]*.md", "CONTRIBUTING.md", "docs/**/*.md", "findings/**/*.md", "molecule/**/*.md"),
    "changelog fragments": lambda: lines("changelogs/fragments/*.yml"),
    "pages of roles": lambda: lines("roles/*/README.md"),
    "tasks": lambda: texts(("name", "msg", "fail_msg"), *TASKS),
    "argument specs": lambda: texts(("description", "short_description"), "roles/*/meta/argument_specs.yml"),
    "plugins": lambda: strings("plugins/**/*.py"),
    "filters": lambda: lines("plugins/**/*.yml"),
    "catalogue": lambda: texts(("cause", "remedy", "what", "because", "does", "name"), "catalogue/*.yml"),
    "scripts": lambda: lines("Makefile", "scripts/*.sh", ".ci/run", "galaxy.yml", "inventories/**/*.yml"),
    "scripts in Python": lambda: strings("scripts/*.py"),
}


def found(rows: Iterable[tuple[str, str]], forms: Iterable[Form]) -> list[str]:
    """What is to be reworded, each with the place and an example."""
    compiled = [(re.compile(form.pattern), form) for form in forms]
    return [
        f"{place}: {match[0]!r} in {' '.join(text.split())[:120]!r}; say it as in {form.better!r}"
        for place, text in rows
        for pattern, form in compiled
        if (match := pattern.search(text))
    ]


@pytest.mark.parametrize("area", AREAS)
def test_old_forms_do_not_return(area: str) -> None:
    rows = list(AREAS[area]())
    assert len(rows) > 5 or area == "changelog fragments", "the area is searched"  # after a release there are none
    problems = found(rows, FORMS)
    assert not problems, "\n".join(problems)


def test_task_names_say_what_is_done() -> None:
    names = [(place, name.rpartition(" | ")[2]) for place, name in texts(("name",), *TASKS)]
    assert len(names) > 100
    problems = found(names, TASK_NAMES)
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize("form", [*FORMS, *TASK_NAMES], ids=lambda form: form.old)
def test_a_form_is_found_and_its_better_one_is_not(form: Form) -> None:
    assert re.search(form.pattern, form.old)
    assert found([("", form.better)], [*FORMS, *TASK_NAMES]) == []


def test_a_sentence_that_is_filled_in_is_read_whole(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.py").write_text('"""Wish."""\nx = f"found {1}, wanted {2}"\n', encoding="utf-8")
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    assert list(strings("*.py")) == [("a.py:2", "found {}, wanted {}")]
    assert len(found(strings("*.py"), FORMS)) == 1
