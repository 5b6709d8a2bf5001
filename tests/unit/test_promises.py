"""What the content promises: the parts that must agree do, and nothing stands where it must not."""

from __future__ import annotations

import ast
import json
import pathlib
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
ROLES = sorted(path.name for path in (ROOT / "roles").iterdir() if path.is_dir())
RESULTS = {
    "stack_plan_decision",
    "gpu_verify_results",
    "gpu_benchmark_results",
    "pytorch_source_results",
}  # what roles publish for others
PLUGIN_KINDS = ("modules", "action", "filter", "lookup", "callback", "inventory")
PLUGINS = sorted(
    path.relative_to(ROOT / "plugins")
    for kind in PLUGIN_KINDS
    for path in (ROOT / "plugins" / kind).glob("*.py")
    if path.name != "__init__.py"
)
UTILS = sorted(
    path.relative_to(ROOT / "plugins") for path in (ROOT / "plugins").glob("*_utils/*.py") if path.name != "__init__.py"
)
TASK_FILES = sorted(
    path.relative_to(ROOT) for folder in ("roles", "playbooks") for path in (ROOT / folder).rglob("tasks/**/*.yml")
)
TESTS = sorted({*ROOT.glob("tests/**/*.py"), *ROOT.glob("molecule/**/*.py")} - {pathlib.Path(__file__).resolve()})
PLAYBOOKS = sorted(path.name for path in (ROOT / "playbooks").glob("*.yml"))
PAGES = sorted(
    path.relative_to(ROOT)
    for pattern in ("*.md", "docs/**/*.md", "roles/*/README.md", "molecule/**/*.md")
    for path in ROOT.glob(pattern)
)

# A number with two or three parts, as releases, drivers and capabilities have: 13.0, 580.95.05, 2.9.1.
VERSION = re.compile(r"(?<![\w.%-])\d+(?:\.\d+){1,3}(?![\w.])")
# What looks like one and is none.
NO_VERSION = {"1.0.0"}  # version_added
# What a wish looks like, said to one who wrote another: examples, which nothing is compared with.
EXAMPLES = {"plugin_utils/_request.py"}


def load(path: pathlib.Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def specs(role: str) -> dict[str, Any]:
    return load(ROOT / "roles" / role / "meta" / "argument_specs.yml")["argument_specs"]


def options(role: str) -> dict[str, Any]:
    """The options of all entry points together, in order."""
    return {name: option for spec in specs(role).values() for name, option in spec.get("options", {}).items()}


def tasks_in(content: Any) -> Iterator[dict[str, Any]]:
    """Every task of a loaded task file or playbook, those inside blocks too."""
    for task in content or []:
        yield task
        for part in ("block", "rescue", "always", "tasks", "pre_tasks", "post_tasks", "handlers"):
            yield from tasks_in(task.get(part))


def scalars(content: Any) -> Iterator[str]:
    """Every key and value of a loaded YAML file, as text."""
    if isinstance(content, dict):
        for key, value in content.items():
            yield str(key)
            yield from scalars(value)
    elif isinstance(content, list):
        for value in content:
            yield from scalars(value)
    elif content is not None:
        yield str(content)


def code_strings(path: pathlib.Path) -> Iterator[tuple[int, str]]:
    """Line and text of each string in a Python file that is neither documentation nor part of an error's sentence."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    texts = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            texts.add(node.value)
        if isinstance(node, ast.Assign) and {"DOCUMENTATION", "EXAMPLES", "RETURN"} & {
            target.id for target in node.targets if isinstance(target, ast.Name)
        }:
            texts.add(node.value)
        if isinstance(node, ast.Raise) or (isinstance(node, ast.ClassDef) and node.name == "ModuleDocFragment"):
            texts.update(ast.walk(node))
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in texts:
            yield node.lineno, node.value


# --- roles ---


@pytest.mark.parametrize("role", ROLES)
def test_defaults_are_the_argument_specs(role: str) -> None:
    """Same names, values, order. A spec leaves out what its checker can't read: an expression for a bool or a dict."""
    specified, defaults = options(role), load(ROOT / "roles" / role / "defaults" / "main.yml") or {}
    left_out = {
        name
        for name, value in defaults.items()
        if "{{" in str(value)
        and "default" not in specified[name]
        and specified[name]["type"] in {"bool", "dict", "list"}
    }
    declared = {name: option["default"] for name, option in specified.items() if "default" in option}
    assert {name: value for name, value in defaults.items() if name not in left_out} == declared
    assert list(defaults) == [name for name in specified if name in defaults]


@pytest.mark.parametrize("role", ROLES)
def test_role_is_complete(role: str) -> None:
    folder = ROOT / "roles" / role
    wanted = ("README.md", "meta/main.yml", "meta/argument_specs.yml", "defaults/main.yml", "tasks/main.yml")
    assert [name for name in wanted if not (folder / name).is_file()] == []
    for entry, spec in specs(role).items():
        assert {"short_description", "description", "author", "version_added"} <= set(spec), entry
        assert (folder / "tasks" / f"{entry}.yml").is_file(), f"the entry point {entry} has no task file"


@pytest.mark.parametrize("role", ROLES)
def test_role_variables_carry_the_name_of_their_role(role: str) -> None:
    assert [name for name in options(role) if not name.startswith(f"{role}_")] == []


@pytest.mark.parametrize("role", [role for role in ROLES if (ROOT / "roles" / role / "tasks" / "install").is_dir()])
def test_providers_are_the_task_files(role: str) -> None:
    files = {path.stem for path in (ROOT / "roles" / role / "tasks" / "install").glob("*.yml")}
    assert set(options(role)[f"{role}_provider"]["choices"]) == files


def assigned(path: pathlib.Path) -> set[str]:
    """The variables that the tasks of a file set for others, by set_fact, register and vars; not a role call's vars."""
    names = set()
    for task in tasks_in(load(path)):
        called = "ansible.builtin.include_role" in task or "ansible.builtin.import_role" in task
        for part in ("ansible.builtin.set_fact", *([] if called else ["vars"])):
            names |= set(task.get(part) or {})
        names |= {task["register"]} if "register" in task else set()
    return names


def used_variables(path: pathlib.Path) -> Iterator[str]:
    """Words of a file that begin with a role's name, where they stand for a variable."""
    name = re.compile(rf"(?<![\w./])(?:{'|'.join(ROLES)})_\w+(?![\w/(]|\.yml)")
    for line in path.read_text(encoding="utf-8").splitlines():
        code = "" if line.lstrip().startswith("#") else line.partition(" # ")[0]
        for found in name.finditer(code):
            before, after = code[: found.start()], code[found.end() :]
            text = before.endswith(("'", '"')) and after.startswith(("'", '"'))
            option = (
                path.parts[-2] != "vars" and not before.strip(" -") and after.startswith(":") and "roles" in path.parts
            )
            if not (text or option):
                yield found[0]


def test_every_variable_is_declared() -> None:
    """A misspelt role variable would pass in silence: Ansible checks the declared ones only."""
    declared = RESULTS.union(*(options(role) for role in ROLES), *(assigned(ROOT / path) for path in TASK_FILES))
    values = {choice for role in ROLES for option in options(role).values() for choice in option.get("choices", [])}
    used = {
        (str(path.relative_to(ROOT)), name)
        for folder in ("roles", "playbooks", "inventories", "molecule")
        for path in (ROOT / folder).rglob("*")
        if path.suffix in {".yml", ".j2"} and "meta" not in path.parts
        for name in used_variables(path)
    }
    assert {(path, name) for path, name in used if name not in declared.union(values, ROLES)} == set()


@pytest.mark.parametrize("path", TASK_FILES, ids=str)
def test_a_role_is_called_with_its_own_variables(path: pathlib.Path) -> None:
    for task in tasks_in(load(ROOT / path)):
        call = task.get("ansible.builtin.include_role") or task.get("ansible.builtin.import_role")
        if call:
            role = call["name"].rpartition(".")[2]
            given = {name for name in task.get("vars") or {} if not name.startswith("__")}
            assert given <= set(options(role)) | RESULTS, task["name"]


def test_the_decision_is_read_in_defaults_only() -> None:
    allowed = re.compile(r"^roles/(?:stack_plan/.*|\w+/(?:defaults/main\.yml|meta/argument_specs\.yml|README\.md))$")
    readers = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "roles").rglob("*")
        if path.is_file() and path.suffix != ".pyc" and "stack_plan_decision" in path.read_text(encoding="utf-8")
    }
    assert {path for path in readers if not allowed.match(path)} == set()


def test_the_observation_is_read_in_the_plan_only() -> None:
    observation = re.compile(r"""ansible_facts(?:\[['"]gpu['"]\]|\.gpu\b)""")
    readers = {
        path.relative_to(ROOT / "roles").parts[0]
        for path in (ROOT / "roles").rglob("*")
        if path.suffix in {".yml", ".j2"} and observation.search(path.read_text(encoding="utf-8"))
    }
    assert readers <= {"stack_plan"}


@pytest.mark.parametrize("role", ROLES)
def test_main_is_a_table_of_contents(role: str) -> None:
    entries = load(ROOT / "roles" / role / "tasks" / "main.yml")
    assert len(entries) <= 5
    assert all("name" in entry for entry in entries)


@pytest.mark.parametrize("path", TASK_FILES, ids=str)
def test_task_file(path: pathlib.Path) -> None:
    text = (ROOT / path).read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 60, "a task file has at most 60 lines"
    for task in tasks_in(load(ROOT / path)):
        assert not task.get("ignore_errors"), f"{task.get('name')}: an error is handled or it fails the host"
        assert "failed_when" not in task or task["failed_when"] not in (False, "false"), (
            f"{task.get('name')}: say what failure is"
        )
        assert "ansible.builtin.shell" not in task, f"{task.get('name')}: no shell, no pipes"
        if "ansible.builtin.command" in task:
            assert "argv" in task["ansible.builtin.command"], f"{task.get('name')}: a command is a list of words"


# --- versions ---


@pytest.mark.parametrize("path", [path for path in (*PLUGINS, *UTILS) if str(path) not in EXAMPLES], ids=str)
def test_no_version_in_python(path: pathlib.Path) -> None:
    found = [(line, number) for line, text in code_strings(ROOT / "plugins" / path) for number in VERSION.findall(text)]
    assert [(line, number) for line, number in found if number not in NO_VERSION] == []


@pytest.mark.parametrize(
    "path",
    sorted(
        path.relative_to(ROOT)
        for pattern in ("roles/*/*/**/*.yml", "playbooks/**/*.yml")
        for path in ROOT.glob(pattern)
        if "meta" not in path.parts
    ),
    ids=str,
)
def test_no_version_in_yaml(path: pathlib.Path) -> None:
    assert [text for text in scalars(load(ROOT / path)) if set(VERSION.findall(text)) - NO_VERSION] == []


@pytest.mark.parametrize("role", ROLES)
def test_no_version_in_an_argument_spec(role: str) -> None:
    defaults = [option.get("default") for option in options(role).values()]
    assert [text for text in scalars(defaults) if VERSION.search(text)] == []


# --- plugins, tests, recordings ---


@pytest.mark.parametrize("path", PLUGINS, ids=str)
def test_every_plugin_has_a_test(path: pathlib.Path) -> None:
    test = pathlib.Path("tests", "unit", "plugins", path.parent, f"test_{path.stem}.py")
    assert (ROOT / test).is_file(), f"add {test}"


def imported(path: pathlib.Path) -> set[pathlib.Path]:
    """The private utils that a Python file imports, as paths below plugins/."""
    found = re.findall(r"\b(plugin_utils|module_utils)(?:\.| import )(_\w+)", path.read_text(encoding="utf-8"))
    return {pathlib.Path(folder, f"{stem}.py") for folder, stem in found} & set(UTILS)


def test_every_util_is_reached_by_a_test() -> None:
    """A util that no test imports, itself or through what it imports, can break in silence."""
    reached: set[pathlib.Path] = set()
    found = {util for test in (ROOT / "tests" / "unit").rglob("*.py") for util in imported(test)}
    while found - reached:
        reached |= found
        found = {util for path in reached for util in imported(ROOT / "plugins" / path)}
    assert sorted(map(str, set(UTILS) - reached)) == []


HARNESS = re.compile(
    r"patch_module_args|ANSIBLE_MODULE_ARGS|_ANSIBLE_ARGS|[\"']AnsibleModule[\"']|ansiballz"
    r"|plugins[./]modules[./][\w.]+ import main\b|\bmodule\.main\(",
    re.IGNORECASE,
)


def test_modules_are_run_by_one_fixture() -> None:
    """A harness of a test's own costs a fresh process a call, and decides for itself what a result is."""
    fixture = ROOT / "tests/unit/plugins/modules/conftest.py"
    found = {path.relative_to(ROOT): HARNESS.findall(path.read_text(encoding="utf-8")) for path in TESTS}
    assert found.pop(fixture.relative_to(ROOT))
    assert {path: words for path, words in found.items() if words} == {}


@pytest.mark.parametrize("path", [path for path in PLUGINS if path.parts[0] != "action"], ids=str)
def test_every_plugin_is_documented(path: pathlib.Path) -> None:
    file = ROOT / "plugins" / path
    sidecar = file.with_suffix(".yml")
    text = sidecar.read_text(encoding="utf-8") if sidecar.is_file() else file.read_text(encoding="utf-8")
    wanted = {"DOCUMENTATION"} if path.parts[0] == "callback" else {"DOCUMENTATION", "EXAMPLES", "RETURN"}
    assert {word for word in wanted if not re.search(rf"^{word}\b", text, re.MULTILINE)} == set()


@pytest.mark.parametrize(
    "path",
    sorted(
        path.relative_to(ROOT)
        for path in (ROOT / "tests" / "fixtures").rglob("*.json")
        if path.parent.name != "benchmarks"
    ),
    ids=str,
)
def test_every_recording_is_an_observation(path: pathlib.Path) -> None:
    recording = json.loads((ROOT / path).read_text(encoding="utf-8"))["gpu"]
    assert recording["schema"] == 1
    assert {"platform", "driver", "devices", "installed"} <= set(recording)


@pytest.mark.parametrize("path", [path for path in UTILS if path.parts[0] == "module_utils"], ids=str)
def test_what_runs_on_hosts_imports_nothing_that_hosts_lack(path: pathlib.Path) -> None:
    tree = ast.parse((ROOT / "plugins" / path).read_text(encoding="utf-8"))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module}
    assert {
        name for name in imported if name.partition(".")[0] in {"yaml", "jinja2", "packaging", "requests", "torch"}
    } == set()
    assert {name for name in imported if ".plugin_utils" in name} == set(), "plugin_utils stay on the controller"


# --- pages and pins ---


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_links_lead_somewhere(page: pathlib.Path) -> None:
    text = re.sub(r"^```.*?^```", "", (ROOT / page).read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    text = re.sub(r"`[^`]*`", "", text)
    missing = []
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        target, _hash, anchor = link.partition("#")
        if re.match(r"[a-z]+:", link):
            continue
        path = ROOT / page.parent / target if target else ROOT / page
        if not path.exists() or (anchor and anchor not in anchors(path)):
            missing.append(link)
    assert missing == []


def anchors(page: pathlib.Path) -> set[str]:
    """The names that a renderer of Markdown gives to the headings of a page."""
    headings = re.findall(r"^#+ +(.+?) *$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("playbook", PLAYBOOKS)
def test_readme_names_every_playbook(playbook: str) -> None:
    assert re.search(rf"\b{playbook.removesuffix('.yml')}\b", (ROOT / "README.md").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", ["requirements", "requirements-dev"])
def test_lock_holds_the_pinned_versions(name: str) -> None:
    """`make lock` was run after the last edit of the pins."""
    pins = re.findall(r"^([\w.-]+==[\w.]+)", (ROOT / f"{name}.in").read_text(encoding="utf-8"), re.MULTILINE)
    locked = re.findall(r"^([\w.-]+==[\w.]+)", (ROOT / f"{name}.txt").read_text(encoding="utf-8").lower(), re.MULTILINE)
    assert {pin.lower() for pin in pins} - set(locked) == set()
