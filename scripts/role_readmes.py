"""Write the option tables of the role READMEs from the argument specs.

The table goes between ``<!-- BEGIN_ANSIBLE_DOCS -->`` and ``<!-- END_ANSIBLE_DOCS -->`` of ``roles/<role>/README.md``;
the words around it are the author's. ``--check`` writes nothing and fails where a table is not current.
"""

from __future__ import annotations

import argparse
import pathlib
import re
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

BEGIN, END = "<!-- BEGIN_ANSIBLE_DOCS -->", "<!-- END_ANSIBLE_DOCS -->"
ROLES = pathlib.Path(__file__).resolve().parents[1] / "roles"

# Ansible's markup: C(code), V(value), O(option) and the like, L(text, address), B(bold) and I(italic).
CODE = re.compile(r"\b(?:RV|[CEMOV])\((?P<text>(?:[^()\\]|\\.|\([^()]*\))+)\)")
LINK = re.compile(r"\bL\((?P<text>[^,()]+), *(?P<url>[^()]+)\)")
PLAIN = re.compile(r"\b[BIU]\((?P<text>[^()]+)\)")


def markdown(text: str | list[str]) -> str:
    """Turn a description with Ansible's markup into one line of Markdown that a table cell can hold."""
    line = " ".join([text] if isinstance(text, str) else text)
    line = CODE.sub(lambda found: "`" + found["text"].replace("\\", "") + "`", line)
    line = PLAIN.sub(r"\g<text>", LINK.sub(r"[\g<text>](\g<url>)", line))
    return " ".join(line.split()).replace("|", "\\|")


def value(default: object) -> str:
    """Write a default as a reader would type it in YAML, on one line."""
    if isinstance(default, str) and "{{" in default:
        text = default
    else:
        text = (
            yaml.safe_dump(default, default_flow_style=True, width=10**6, sort_keys=False).strip().removesuffix("\n...")
        )
    return "`" + text.replace("|", "\\|") + "`"


def rows(options: Mapping[str, Any], defaults: Mapping[str, Any], parent: str = "") -> Iterator[str]:
    """Yield one table row for each option, the options inside a dictionary right after it as ``parent.option``.

    ``defaults`` are the role's: an argument spec can't hold an expression that gives a bool or a dictionary.
    """
    for name, option in options.items():
        kind = option.get("type", "str") + (f" of {option['elements']}" if "elements" in option else "")
        if "default" in option:
            default = value(option["default"])
        elif name in defaults:
            default = value(defaults[name])
        else:
            default = "required" if option.get("required") else ""
        text = markdown(option["description"])
        if "choices" in option:
            text += " One of " + ", ".join(value(choice) for choice in option["choices"]) + "."
        yield f"| `{parent}{name}` | {kind} | {default} | {text} |"
        yield from rows(option.get("options", {}), {}, f"{parent}{name}.")


def table(specs: Mapping[str, Any], defaults: Mapping[str, Any]) -> str:
    """Return what belongs between the two markers for a role with these ``argument_specs`` and defaults."""
    parts = []
    for entry, spec in specs.items():
        if entry != "main":
            parts.append(f"### Entry point `{entry}`\n\n{markdown(spec['short_description'])}.")
        body = list(rows(spec.get("options", {}), defaults))
        head = ["| Variable | Type | Default | Meaning |", "| --- | --- | --- | --- |"]
        parts.append("\n".join(head + body) if body else "No variables.")
    return "\n\n".join(parts)


def rendered(readme: str, specs: Mapping[str, Any], defaults: Mapping[str, Any]) -> str:
    """Return the README with its table made anew; ValueError where the two markers are not there."""
    before, begin, rest = readme.partition(BEGIN)
    _old, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"'{BEGIN}' or '{END}' is missing; add both where the table belongs.")
    return f"{before}{BEGIN}\n\n{table(specs, defaults)}\n\n{END}{after}"


def main() -> int:
    """Go through all roles; return 1 where one is not as it must be."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a table is out of date")
    only_check = parser.parse_args().check
    problems = []
    for role in sorted(path for path in ROLES.iterdir() if path.is_dir()):
        readme = role / "README.md"
        try:
            specs = yaml.safe_load((role / "meta/argument_specs.yml").read_text(encoding="utf-8"))["argument_specs"]
            defaults = yaml.safe_load((role / "defaults/main.yml").read_text(encoding="utf-8"))
            old = readme.read_text(encoding="utf-8")
            new = rendered(old, specs, defaults or {})
        except (OSError, ValueError) as problem:
            problems.append(f"{role.name}: {problem}")
            continue
        if new != old and only_check:
            problems.append(f"{role.name}: README.md differs from meta/argument_specs.yml; run `make readmes`.")
        elif new != old:
            readme.write_text(new, encoding="utf-8")
    for line in problems:
        print(line, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
