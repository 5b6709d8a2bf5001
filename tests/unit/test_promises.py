"""What the content promises: the parts that must agree do, and nothing stands where it must not."""

from __future__ import annotations

import ast
import json
import pathlib
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pytest
import yaml

from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.parts import PARTS, RESULTS, Part
from ansible_collections.podsmith.gpu.plugins.plugin_utils._request.request import Request, parse_request

ROOT = pathlib.Path(__file__).resolve().parents[2]
ROLES = sorted(path.name for path in (ROOT / "roles").iterdir() if path.is_dir())
PLACE = "ansible_collections.podsmith.gpu.plugins."
PLUGIN_KINDS = ("modules", "action", "filter", "lookup", "callback", "inventory")
PLUGINS = sorted(
    path.relative_to(ROOT / "plugins")
    for kind in PLUGIN_KINDS
    for path in (ROOT / "plugins" / kind).glob("*.py")
    if path.name != "__init__.py"
)
UTILS = sorted(path.relative_to(ROOT / "plugins") for path in (ROOT / "plugins").glob("*_utils/**/*.py"))
TASK_FILES = sorted(
    path.relative_to(ROOT) for folder in ("roles", "playbooks") for path in (ROOT / folder).rglob("tasks/**/*.yml")
)
PLAYBOOKS = sorted(path.name for path in (ROOT / "playbooks").glob("*.yml"))
TESTS = sorted(
    path.relative_to(ROOT)
    for pattern in ("tests/**/*.py", "molecule/**/tests/*.py", "molecule/shared/performance/*.py")
    for path in ROOT.glob(pattern)
)
PAGES = sorted(
    path.relative_to(ROOT)
    for pattern in ("*.md", "docs/**/*.md", "findings/*.md", "roles/*/README.md", "molecule/**/*.md")
    for path in ROOT.glob(pattern)
)

# A number with two or three parts, as releases, drivers and capabilities have: 13.0, 580.95.05, 2.9.1.
VERSION = re.compile(r"(?<![\w.%-])\d+(?:\.\d+){1,3}(?![\w.])")
# Which folder of utils may import from which others; nothing that is not here, and nothing here that no file does.
ARROWS = {
    "module_utils/_build": {"module_utils/_host"},
    "module_utils/_bundle": {"module_utils/_host"},
    "module_utils/_observe": {"module_utils/_host"},
    "module_utils/_packages": {"module_utils/_host"},
    "module_utils/_repair": {"module_utils/_host"},
    "module_utils/_project": {"module_utils/_host", "module_utils/_packages"},
    "module_utils/_verify": {"module_utils/_host", "module_utils/_observe"},
    "plugin_utils/_benchmark": {"plugin_utils/_catalogue"},
    "plugin_utils/_image": {
        "module_utils/_verify",
        "plugin_utils/_catalogue",
        "plugin_utils/_offline",
        "plugin_utils/_plan",
        "plugin_utils/_request",
    },
    "plugin_utils/_offline": {
        "module_utils/_host",
        "plugin_utils/_catalogue",
        "plugin_utils/_plan",
    },
    "plugin_utils/_plan": {
        "module_utils/_build",
        "module_utils/_repair",
        "module_utils/_verify",
        "plugin_utils/_catalogue",
        "plugin_utils/_generate",
        "plugin_utils/_request",
    },
    "plugin_utils/_project": {
        "module_utils/_host",
        "plugin_utils/_catalogue",
        "plugin_utils/_plan",
        "plugin_utils/_request",
    },
    "plugin_utils/_recording": {"module_utils/_host", "module_utils/_observe"},
    "plugin_utils/_report": {"plugin_utils/_plan", "plugin_utils/_request"},
    "plugin_utils/_request": {"plugin_utils/_catalogue"},
}
LONGEST = 450  # lines of a file of product code
# Files that are longer today; each goes from here when it is split.
LONGER: set[str] = set()
OBSERVED_WITH = 21  # utils that gpu_facts takes along; a fact module runs on every host at the start of every run
# What looks like one and is none.
NO_VERSION = {"1.0.0"}  # version_added
# What a wish looks like, said to one who wrote another: examples, which nothing is compared with.
EXAMPLES = {"plugin_utils/_request/request.py"}


def load(path: pathlib.Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def specs(role: str) -> dict[str, Any]:
    return load(ROOT / "roles" / role / "meta" / "argument_specs.yml")["argument_specs"]


def options(role: str) -> dict[str, Any]:
    """The options of all entry points together, in order; where several have one, it is as the first says."""
    found: dict[str, Any] = {}
    for spec in specs(role).values():
        for name, option in spec.get("options", {}).items():
            found.setdefault(name, option)
    return found


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


@pytest.mark.parametrize("role", [role for role in ROLES if f"{role}_provider" in options(role)])
def test_providers_are_the_task_files_or_the_rows_of_one_call(role: str) -> None:
    """Providers with steps of their own have a task file each; those of one call have a row of its arguments each."""
    folder, variables = ROOT / "roles" / role / "tasks" / "install", ROOT / "roles" / role / "vars" / "main.yml"
    rows = load(variables).get(f"__{role}_providers", {}) if variables.is_file() else {}
    files = {path.stem for path in folder.glob("*.yml")}
    assert not (files and rows), "either files or rows"
    assert set(options(role)[f"{role}_provider"]["choices"]) == files | set(rows)


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


def published(path: pathlib.Path) -> set[str]:
    """The variables that the tasks of a file publish by set_fact for whoever comes after."""
    facts = [task.get("ansible.builtin.set_fact") or {} for task in tasks_in(load(path))]
    return {name for fact in facts for name in fact if not name.startswith("__") and name != "cacheable"}


@pytest.mark.parametrize("path", [*TASK_FILES, *(pathlib.Path("playbooks", name) for name in PLAYBOOKS)], ids=str)
def test_what_is_published_stands_in_the_table(path: pathlib.Path) -> None:
    """Else the next playbook of the same run refuses it as an unknown variable."""
    assert {name for name in published(ROOT / path) if name.startswith(tuple(f"{role}_" for role in ROLES))} <= RESULTS


def test_the_table_names_what_is_published() -> None:
    facts = [published(ROOT / path) for path in TASK_FILES]
    facts += [published(ROOT / "playbooks" / name) for name in PLAYBOOKS]
    assert set().union(*facts) >= RESULTS


def test_every_role_has_its_row() -> None:
    assert sorted(part.role for part in PARTS) == ROLES
    assert [part.role for part in PARTS if any(not name.startswith(f"{part.role}_") for name in part.results)] == []


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


def test_every_variable_of_a_role_is_read() -> None:
    """One that no task, template or default reads can be set and changes nothing."""
    folders = [ROOT / "playbooks", *(path for path in (ROOT / "roles").glob("*/*") if path.name != "meta")]
    files = [path for folder in folders for path in folder.rglob("*") if path.suffix in {".yml", ".j2"}]
    read = {name for path in files for name in re.findall(r"\b[a-z]\w+\b(?!:)", path.read_text(encoding="utf-8"))}
    assert {name for role in ROLES for name in options(role)} - read == set()


@pytest.mark.parametrize("path", TASK_FILES, ids=str)
def test_a_role_is_called_with_its_own_variables(path: pathlib.Path) -> None:
    for task in tasks_in(load(ROOT / path)):
        call = task.get("ansible.builtin.include_role") or task.get("ansible.builtin.import_role")
        if call:
            role = call["name"].rpartition(".")[2]
            given = {name for name in task.get("vars") or {} if not name.startswith("__")}
            assert given <= set(options(role)) | RESULTS, task["name"]


def calls() -> Iterator[tuple[str, str, str]]:
    """Every call of a role in roles, playbooks and scenarios: the file, the role, the entry point."""
    for folder in ("roles", "playbooks", "molecule"):
        for path in (ROOT / folder).rglob("*.yml"):
            content = load(path) if {"tasks", "playbooks", "molecule"} & set(path.parts) else None
            for task in tasks_in(content if isinstance(content, list) else []):
                call = task.get("ansible.builtin.include_role") or task.get("ansible.builtin.import_role")
                if call:
                    yield str(path.relative_to(ROOT)), call["name"].rpartition(".")[2], call.get("tasks_from", "main")


def test_every_entry_point_that_is_used_is_declared() -> None:
    """What a role does for others is its interface: documented, its arguments checked."""
    found = set(calls())
    assert {("playbooks/plan.yml", "stack_plan", "check"), ("playbooks/plan.yml", "stack_plan", "main")} <= found
    assert {call for call in found if call[2] not in specs(call[1])} == set()


def test_what_is_private_to_a_role_is_read_by_it_alone() -> None:
    private = re.compile(rf"\b__({'|'.join(sorted(ROLES, key=len, reverse=True))})_\w+")
    readers = {
        (str(path.relative_to(ROOT)), found[0])
        for folder in ("roles", "playbooks", "inventories", "molecule")
        for path in (ROOT / folder).rglob("*")
        if path.suffix in {".yml", ".j2"}
        for found in private.finditer(path.read_text(encoding="utf-8"))
        if path.relative_to(ROOT).parts[:2] != ("roles", found[1])
    }
    assert readers == set()


def test_roles_of_changes_are_those_that_a_bootstrap_applies() -> None:
    """A change whose role nobody includes stays pending for ever; an include that no change asks for never runs."""
    changed = {part.role for part in PARTS if part.key}
    files = [ROOT / "playbooks/bootstrap.yml", *(ROOT / "playbooks/tasks").glob("*.yml")]
    conditions = [str(task.get("when")) for path in files for task in tasks_in(load(path))]
    asked = {role for when in conditions if "bootstrap_pending" in when for role in re.findall(r"'(\w+)'", when)}
    included = {role for path, role, _entry in calls() if path.startswith("playbooks/tasks/")} - {"stack_plan"}
    assert changed == asked == included


def test_the_defaults_of_the_request_are_those_of_the_code() -> None:
    keys = specs("stack_plan")["main"]["options"]["stack_plan_request"]["options"]
    assert set(keys) == set(Request.__dataclass_fields__)
    assert [name for name, option in keys.items() if "default" not in option] == []
    assert parse_request({name: option["default"] for name, option in keys.items()}) == Request()


@pytest.mark.parametrize("role", ROLES)
def test_readme_has_the_skeleton(role: str) -> None:
    """Title, one paragraph, Example, What it never does, Variables, Licence; other sections stand before Variables."""
    text = (ROOT / "roles" / role / "README.md").read_text(encoding="utf-8")
    prose = re.sub(r"^```.*?^```$", "CODE", text, flags=re.DOTALL | re.MULTILINE)
    title, paragraph, *_rest = prose.partition("\n## ")[0].strip().split("\n\n")
    assert (title, _rest, paragraph[0] in "*|#") == (f"# {role}", [], False)
    headings = re.findall(r"^## (.+)$", prose, re.MULTILINE)
    assert headings[0] == "Example"
    assert headings[1:-2].count("What it never does") == 1
    assert headings[-2:] == ["Variables", "Licence"]
    sections = dict(re.findall(r"^## (.+)\n\n((?:(?!## ).*\n)*)", prose, re.MULTILINE))
    assert "CODE" in sections["Example"]
    assert sections["What it never does"].startswith("* ")
    assert sections["Licence"].strip() == "GPL-3.0-or-later"


@pytest.mark.parametrize("role", ROLES)
def test_every_role_has_a_scenario(role: str) -> None:
    assert (ROOT / "molecule" / role / "molecule.yml").is_file(), f"add molecule/{role}"


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


# Roles that leave nothing behind which another run could take back: they decide, measure, or fetch once.
WITHOUT_STATE = {"stack_plan", "gpu_benchmark", "bundle"}


@pytest.mark.parametrize("role", ROLES)
def test_state_is_one_include(role: str) -> None:
    """What a role brings and how it is taken back are files below tasks/state, chosen in one place and in one way."""
    folder, option = ROOT / "roles" / role / "tasks", options(role).get(f"{role}_state")
    files = {path.stem for path in (folder / "state").glob("*.yml")}
    if role in WITHOUT_STATE:
        assert (option, files) == (None, set())
        return
    assert option is not None
    assert set(option["choices"]) == files >= {"present", "absent"}
    assert f"{role}_state" == next(iter(options(role))) or "required" in next(iter(options(role).values()))
    tasks = list(tasks_in(load(folder / "main.yml")))
    chosen = [task for task in tasks if "/" in str(task.get("ansible.builtin.include_tasks"))]
    wanted = f"state/{{{{ {role}_state }}}}.yml"
    assert [task["ansible.builtin.include_tasks"] for task in chosen] == [wanted]
    assert all(("when" not in task and "ansible.builtin.include_tasks" in task) or "block" in task for task in tasks)
    conditions = [
        str(task["when"]) for path in folder.rglob("*.yml") for task in tasks_in(load(path)) if task.get("when")
    ]
    assert [condition for condition in conditions if f"{role}_state" in condition] == []


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


@pytest.mark.parametrize("path", [path for path in UTILS if "_plan" in path.parts], ids=str)
def test_no_function_of_the_planner_has_more_than_five_parameters(path: pathlib.Path) -> None:
    """What is threaded through everything is a Case, a Stack or a record of its own."""
    tree = ast.parse((ROOT / "plugins" / path).read_text(encoding="utf-8"))
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    counts = {
        node.name: len([*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs])
        - (node.args.args[:1] == ["self"])
        for node in functions
    }
    assert {name: count for name, count in counts.items() if count > 5} == {}


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
    found: set[pathlib.Path] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(PLACE):
            place = pathlib.Path(*(node.module or "").removeprefix(PLACE).split("."))
            found |= {place.with_suffix(".py"), *(place / f"{alias.name}.py" for alias in node.names)}
    return found & set(UTILS)


def test_every_util_is_reached_by_a_test() -> None:
    """A util that no test imports, itself or through what it imports, can break in silence."""
    reached: set[pathlib.Path] = set()
    found = {util for test in (ROOT / "tests" / "unit").rglob("*.py") for util in imported(test)}
    while found - reached:
        reached |= found
        found = {util for path in reached for util in imported(ROOT / "plugins" / path)}
    assert sorted(map(str, set(UTILS) - reached)) == []


def test_tests_stand_in_the_tree_of_the_code() -> None:
    """Who knows where a function is knows where its test is."""
    top = ROOT / "tests" / "unit" / "plugins"
    folders = {path.parent.relative_to(top) for path in top.glob("*_utils/**/test_*.py")}
    assert {str(folder) for folder in folders if not (ROOT / "plugins" / folder).is_dir()} == set()
    assert {util.parent for util in UTILS if util.parent not in folders} == set()


HARNESS = re.compile(
    r"patch_module_args|ANSIBLE_MODULE_ARGS|_ANSIBLE_ARGS|[\"']AnsibleModule[\"']|ansiballz"
    r"|plugins[./]modules[./][\w.]+ import main\b|\bmodule\.main\(",
    re.IGNORECASE,
)


def test_modules_are_run_by_one_fixture() -> None:
    """A harness of a test's own costs a fresh process a call, and decides for itself what a result is."""
    fixture = ROOT / "tests/unit/plugins/modules/conftest.py"
    files = [path for path in (ROOT / "tests" / "unit").rglob("*.py") if path != ROOT / "tests/unit/test_promises.py"]
    found = {path.relative_to(ROOT): HARNESS.findall(path.read_text(encoding="utf-8")) for path in files}
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
    assert recording["schema"] in {1, 2}
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


# --- the shape of the code ---


def draw_arrows(files: Iterable[pathlib.Path]) -> dict[str, set[str]]:
    """Folder of utils → the others that its files import from, as ``module_utils/_host``."""
    arrows: dict[str, set[str]] = {}
    for path in files:
        folder = path.parts[:2]
        for util in imported(ROOT / "plugins" / path):
            if util.parts[:2] != folder:
                arrows.setdefault("/".join(folder), set()).add("/".join(util.parts[:2]))
    return arrows


def find_cycle(arrows: Mapping[str, set[str]]) -> list[str]:
    """Folders that import each other, in a circle or through one; none where the graph is a staircase."""
    left = {folder: set(targets) for folder, targets in arrows.items()}
    while ends := {target for targets in left.values() for target in targets} - set(left):
        left = {folder: targets - ends for folder, targets in left.items()}
        left = {folder: targets for folder, targets in left.items() if targets}
    return sorted(left)


def test_imports_between_folders_run_one_way() -> None:
    drawn = draw_arrows(UTILS)
    assert drawn, "no util imports another: the folders have moved, correct UTILS"
    new = {
        f"{folder} → {target}" for folder, targets in drawn.items() for target in targets - ARROWS.get(folder, set())
    }
    assert new == set(), "add the arrow to ARROWS if the design allows it, else import it another way"
    unused = {
        f"{folder} → {target}" for folder, targets in ARROWS.items() for target in targets - drawn.get(folder, set())
    }
    assert unused == set(), "remove the arrow from ARROWS: nothing needs it any more"
    assert find_cycle(drawn) == [], "these folders import each other"
    assert {
        folder
        for folder, targets in drawn.items()
        if folder.startswith("module_utils") and any(target.startswith("plugin_utils") for target in targets)
    } == set(), "what runs on hosts imports nothing of the controller"


@pytest.mark.parametrize(
    ("arrows", "cycle"),
    [
        ({"a": {"b"}, "b": {"c"}, "d": {"a", "c"}}, []),
        ({"a": {"b"}, "b": {"a", "c"}}, ["a", "b"]),
        ({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}, ["a", "b", "c", "d"]),
        ({}, []),
    ],
)
def test_a_cycle_is_found(arrows: dict[str, set[str]], cycle: list[str]) -> None:
    assert find_cycle(arrows) == cycle


def test_no_file_of_product_code_is_longer_than_450_lines() -> None:
    lengths = {
        str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines())
        for pattern in ("plugins/**/*.py", "roles/*/files/*.py", "scripts/*.py")
        for path in ROOT.glob(pattern)
    }
    longer = {name for name, lines in lengths.items() if lines > LONGEST}
    assert longer - LONGER == set(), f"split them along what they do: a file has at most {LONGEST} lines"
    assert LONGER - longer == set(), "remove them from LONGER: they are short enough"


def test_gpu_facts_takes_no_more_along_than_it_needs() -> None:
    """Ansible packs what a module imports into each call of it; what other modules need stays out of this one."""
    packed: set[pathlib.Path] = set()
    found = imported(ROOT / "plugins/modules/gpu_facts.py")
    while found - packed:
        packed |= found
        found = {util for path in packed for util in imported(ROOT / "plugins" / path)}
    assert len(packed) <= OBSERVED_WITH, sorted(map(str, packed))


# --- pages and pins ---

WALKS = re.findall(
    r"^\*\*(.+?)\*\*.*?\n\n\|.+\n\|[-|]+\n((?:\|.+\n)+)",
    (ROOT / "docs/design.md").read_text(encoding="utf-8").partition("## Three walks through the code")[2],
    re.MULTILINE,
)


@pytest.mark.parametrize(
    ("title", "rows", "most"), [(*walk, most) for walk, most in zip(WALKS, (8, 6, 4), strict=True)], ids=str
)
def test_a_walk_is_as_short_as_it_is_told(title: str, rows: str, most: int) -> None:
    """A driver version reaches the act in at most eight files, `extensions` the decision in at most six."""
    steps = re.findall(r"^\| `(.+?)` \| `(.+?)` \|", rows, re.MULTILINE)
    assert 0 < len(steps) == len(rows.splitlines()) <= most
    assert [(file, by) for file, by in steps if by not in (ROOT / file).read_text(encoding="utf-8")] == []


@pytest.mark.parametrize("file", sorted(path.name for path in (ROOT / "catalogue").glob("*.yml")))
def test_the_design_names_every_section_of_the_catalogue(file: str) -> None:
    page = (ROOT / "docs/design.md").read_text(encoding="utf-8").partition("## Known")[2].partition("\n## ")[0]
    part = page.partition(f"\n# {file}")[2].partition("\n# ")[0]
    assert set(load(ROOT / "catalogue" / file)) - set(re.findall(r"^(\w+):", part, re.MULTILINE)) == set()


def test_the_page_on_roles_has_the_fields_of_a_row() -> None:
    page = (ROOT / "docs/adding-a-role.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE) == list(Part.__dataclass_fields__)


PLACES = re.findall(
    r"^\| (.+?) \| `(.+?)` \| `(.+?)` \|$",
    (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").partition("## Where is …")[2].partition("\n## ")[0],
    re.MULTILINE,
)


def test_the_table_of_places_is_read() -> None:
    section = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").partition("## Where is …")[2].partition("\n## ")[0]
    assert len(PLACES) == section.count("\n|") - 2 >= 10


@pytest.mark.parametrize(("what", "file", "name"), PLACES)
def test_what_contributing_says_is_where_it_says(what: str, file: str, name: str) -> None:
    assert (ROOT / file).is_file(), f"{what}: {file} is not there"
    assert name in (ROOT / file).read_text(encoding="utf-8"), f"{what}: {file} has no {name}"


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


def test_the_table_of_findings_names_every_script() -> None:
    page = (ROOT / "findings" / "README.md").read_text(encoding="utf-8")
    table = re.findall(r"^\| \[([\w-]+)\]\(\1\.sh\) \|", page, re.MULTILINE)
    assert table == sorted(path.stem for path in (ROOT / "findings").glob("*.sh"))


@pytest.mark.parametrize("path", sorted((ROOT / "findings").glob("*.sh")), ids=lambda path: path.stem)
def test_a_finding_says_what_was_seen_and_when(path: pathlib.Path) -> None:
    head = path.read_text(encoding="utf-8").partition("\nset -euo pipefail\n")[0]
    assert re.search(r"^# Seen: \d{4}-\d\d-\d\d, .*\d", head, re.MULTILINE)
    assert {f"# {word}:" for word in ("Matters", "Instead")} <= set(re.findall(r"^# \w+:", head, re.MULTILINE))
    assert path.stat().st_mode & 0o111 == 0o111, "a finding is run by its name"


@pytest.mark.parametrize("name", ["requirements", "requirements-dev"])
def test_lock_holds_the_pinned_versions(name: str) -> None:
    """`make lock` was run after the last edit of the pins."""
    pins = re.findall(r"^([\w.-]+==[\w.]+)", (ROOT / f"{name}.in").read_text(encoding="utf-8"), re.MULTILINE)
    locked = re.findall(r"^([\w.-]+==[\w.]+)", (ROOT / f"{name}.txt").read_text(encoding="utf-8").lower(), re.MULTILINE)
    assert {pin.lower() for pin in pins} - set(locked) == set()


# --- no test depends on how fast the machine is ---

SLOW_SECONDS = 60  # a limit below that a slow machine meets, not a hang alone
CLOCKS = {"monotonic", "perf_counter", "process_time", "time", "getrusage"}
CLOCKS |= {f"{clock}_ns" for clock in CLOCKS}
MEASURES = {"seconds", "elapsed", "duration", "wall", "timings", "ru_utime", "ru_stime"}  # names of what was measured
WAITING = {"run", "wait", "join", "communicate", "call", "check_call", "check_output"}


class Clocks:
    """What of a Python file is a number, and what was measured with a clock."""

    def __init__(self, tree: ast.Module) -> None:
        assigns = [node for node in ast.walk(tree) if isinstance(node, ast.Assign) and len(node.targets) == 1]
        self.numbers: dict[str, float] = {}
        for node in tree.body:
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                number = self.number(node.value)
                self.numbers |= {node.targets[0].id: number} if number is not None else {}
        self.taken = set(MEASURES)
        before = -1
        while before < len(self.taken):  # what is made of a measure is one, and so is what a function returns of it
            before = len(self.taken)
            self.taken |= {
                target.id
                for node in assigns
                for target in node.targets
                if isinstance(target, ast.Name) and self.is_measured(node.value)
            }
            self.taken |= {
                node.name
                for node in ast.walk(tree)
                if isinstance(node, ast.FunctionDef)
                and any(isinstance(line, ast.Return) and self.is_measured(line.value) for line in ast.walk(node))
            }

    def number(self, node: ast.AST) -> float | None:
        """The value of an expression of numbers and of the file's constants."""
        if isinstance(node, ast.Constant) and type(node.value) in (int, float):
            return float(node.value)
        if isinstance(node, ast.Name):
            return self.numbers.get(node.id)
        if isinstance(node, ast.BinOp):
            left, right = self.number(node.left), self.number(node.right)
            if left is not None and right is not None:
                ways = {ast.Add: left + right, ast.Sub: left - right, ast.Mult: left * right}
                return ways.get(type(node.op))
        return None

    def is_call_of_a_clock(self, node: ast.AST) -> bool:
        """``time.monotonic()``, ``perf_counter()`` and their kin."""
        if not isinstance(node, ast.Call):
            return False
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        return name in CLOCKS

    def is_measured(self, node: ast.AST | None) -> bool:
        """Whether a value was measured; the ratio of two such values is a number on every machine."""
        if node is None:
            return False
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div) and self.is_measured(node.right):
            return False
        name = getattr(node, "id", None) or getattr(node, "attr", None) or getattr(node, "value", None)
        is_named = isinstance(node, (ast.Name, ast.Attribute, ast.Constant)) and name in self.taken
        return is_named or self.is_call_of_a_clock(node) or any(map(self.is_measured, ast.iter_child_nodes(node)))

    def is_short(self, node: ast.AST) -> bool:
        """Whether this is a number of seconds that a slow machine exceeds."""
        number = self.number(node)
        return number is not None and number < SLOW_SECONDS

    def names_seconds(self, node: ast.AST) -> bool:
        """Whether a constant says that it is a time."""
        return any(isinstance(part, ast.Name) and "SECONDS" in part.id for part in ast.walk(node))

    def is_limit(self, node: ast.AST) -> bool:
        """``measured < 5``, also within a chain and turned round."""
        if not isinstance(node, ast.Compare):
            return False
        for left, way, right in zip([node.left, *node.comparators], node.ops, node.comparators, strict=False):
            less, more = (left, right) if isinstance(way, (ast.Lt, ast.LtE)) else (right, left)
            if isinstance(way, (ast.Lt, ast.LtE, ast.Gt, ast.GtE)) and self.is_short(more):
                return self.is_measured(less) or self.names_seconds(more)
        return False

    def is_deadline(self, node: ast.AST) -> bool:
        """``time.monotonic() + 20``."""
        if not (isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add)):
            return False
        sides = ((node.left, node.right), (node.right, node.left))
        return any(self.is_call_of_a_clock(clock) and self.is_short(limit) for clock, limit in sides)

    def is_short_wait(self, node: ast.AST) -> bool:
        """``process.wait(timeout=5)``, ``thread.join(5)``, ``subprocess.run(…, timeout=5)``."""
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in WAITING):
            return False
        named = [keyword.value for keyword in node.keywords if keyword.arg == "timeout"]
        return any(map(self.is_short, named)) or (node.func.attr == "join" and any(map(self.is_short, node.args)))


def hurried_lines(text: str) -> list[int]:
    """The lines of a test file that fail where the machine is slow: limits, deadlines and waits below a minute.

    Not a wait of which is asserted that it comes to nothing, by ``pytest.raises``.
    """
    tree = ast.parse(text)
    clocks, found = Clocks(tree), set()
    expected = {
        part
        for node in ast.walk(tree)
        if isinstance(node, ast.With) and any("pytest.raises" in ast.unparse(item) for item in node.items)
        for part in ast.walk(node)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Assert):
            parts = list(ast.walk(node.test))
            found |= {part.lineno for part in parts if isinstance(part, ast.Compare) and clocks.is_limit(part)}
            waits = [part for part in parts if isinstance(part, ast.Call) and isinstance(part.func, ast.Attribute)]
            found |= {
                part.lineno for part in waits if part.func.attr == "wait" and any(map(clocks.is_short, part.args))
            }
        if clocks.is_deadline(node) or (clocks.is_short_wait(node) and node not in expected):
            found.add(node.lineno)
    return sorted(found)


@pytest.mark.parametrize("path", TESTS, ids=str)
def test_no_test_depends_on_the_speed_of_the_machine(path: pathlib.Path) -> None:
    """Let it ask for the order of events, a count, a control in the same run, or a limit that only a hang meets."""
    assert hurried_lines((ROOT / path).read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("code", "lines"),
    [
        pytest.param("begin = time.monotonic()\nassert time.monotonic() - begin < 5", [2], id="difference"),
        pytest.param("begin = time.time()\nassert 0.2 < time.time() - begin < 3", [2], id="chain"),
        pytest.param("begin = time.time()\nassert 3 >= time.time() - begin", [2], id="turned-round"),
        pytest.param("begin = time.time()\nassert time.time() - begin > 3", [], id="least"),
        pytest.param("begin = time.time()\nassert time.time() - begin < 120", [], id="a-hang"),
        pytest.param("assert done.seconds < 5", [1], id="attribute"),
        pytest.param('assert facts["timings"]["total"] < 2 * 5', [1], id="key"),
        pytest.param("taken = [perf_counter() - start]\nassert min(taken) < 0.05", [2], id="list"),
        pytest.param("A_SECONDS = 15\nassert run.when('x') < A_SECONDS + 20", [2], id="constants"),
        pytest.param("assert after.ru_utime - before.ru_utime < 1.0", [1], id="cpu"),
        pytest.param("assert quick.wall < slow.wall / 4", [], id="control"),
        pytest.param("def f():\n return time.time() - start\nassert f() < 5", [3], id="function"),
        pytest.param("def f():\n return time.time() - start\nassert f() / f() < 5", [], id="ratio"),
        pytest.param("end = time.monotonic() + 20", [1], id="deadline"),
        pytest.param("end = time.monotonic() + 120", [], id="wide-deadline"),
        pytest.param("thread.join(10)\nassert event.wait(10)", [1, 2], id="threads"),
        pytest.param("event.wait(0.01)", [], id="a-look"),
        pytest.param("subprocess.run(argv, timeout=30)", [1], id="child"),
        pytest.param("with pytest.raises(TimeoutExpired):\n child.wait(timeout=0.5)", [], id="expected"),
        pytest.param("assert len(seen) < 5\nassert run(timeout=1) == {}", [], id="no-time"),
    ],
)
def test_a_hurried_line_is_found(code: str, lines: list[int]) -> None:
    assert hurried_lines(code) == lines
