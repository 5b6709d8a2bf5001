"""Write what docs/troubleshooting.md says of CUDA's errors from the rows of catalogue/drivers.yml.

It goes between ``<!-- BEGIN_ERRORS -->`` and ``<!-- END_ERRORS -->``; the words around it are the author's. ``--check``
writes nothing and fails where the page is not current.
"""

from __future__ import annotations

import argparse
import pathlib
import re
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

BEGIN, END = "<!-- BEGIN_ERRORS -->", "<!-- END_ERRORS -->"
ROOT = pathlib.Path(__file__).resolve().parents[1]
PAGE, CATALOGUE = ROOT / "docs" / "troubleshooting.md", ROOT / "catalogue" / "drivers.yml"

Row = Mapping[str, Any]

# Words that begin a sentence. What else a cause's `tell` may begin with, a command or a file, keeps its case.
WORDS = {"a", "all", "an", "another", "each", "it", "its", "no", "one", "some", "that", "the", "this"}


def cite(source: str) -> str:
    """A citation with its addresses as links: ``https://x/issues/1, 2; measured on H200`` names both issues."""
    parts = []
    for part in source.split("; "):
        first, *others = part.split(", ") if re.fullmatch(r"https://\S+(, \d+)+", part) else [part]
        base = first.rpartition("/")[0]
        urls = (first, *(f"{base}/{other}" for other in others))
        parts += [f"[{_name(url)}]({url})" if url.startswith("https://") else url for url in urls]
    return ", ".join(parts)


def _name(url: str) -> str:
    """What a link is called: the repository and number of an issue, else the site."""
    issue = re.fullmatch(r"https://github\.com/[^/]+/([^/]+)/(?:issues|pull)/(\d+)", url)
    return f"{issue[1]}#{issue[2]}" if issue else url.split("/")[2]


def heading(code: str, row: Row) -> str:
    """The heading of an error's part."""
    return f"{code}: {row['name']}"


def anchor(title: str) -> str:
    """The name that a renderer of Markdown gives to a heading."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def printed(row: Row) -> list[str]:
    """What is printed for an error, its names aside."""
    causes = [words for cause in row.get("causes", ()) for words in cause.get("words", ())]
    return [*row.get("words", ()), *row.get("vague", ()), *causes]


def index(rows: Mapping[str, Row]) -> Iterator[str]:
    """The lines of the table that leads from the words to the part."""
    yield from ("| you see | read |", "|---|---|")
    for code, row in rows.items():
        words = ", ".join(f"`{_cell(one)}`" for one in printed(row))
        yield f"| {words} | [{code}](#{anchor(heading(code, row))}) |"


def part(code: str, row: Row) -> Iterator[str]:
    """The lines of an error's part."""
    yield from (f"### {heading(code, row)}", "")
    if row.get("also"):
        yield from (f"Also `{'`, `'.join(row['also'])}`.", "")
    yield from (row["cause"], "")
    if row.get("causes"):
        yield from (
            "| possible cause, the most frequent first | how it shows | what to do | sure |",
            "|---|---|---|---|",
        )
        for one in row["causes"]:
            shown = " ".join([show(one["tell"]), *(f"It prints `{words}`." for words in one.get("words", ()))])
            cells = (one["cause"], shown, one["remedy"], f"{one['sure']}: {cite(one['source'])}")
            yield f"| {' | '.join(map(_cell, cells))} |"
        yield from ("", f"If it is none of these: {row['remedy']} (Of the code itself: {cite(row['source'])}.)", "")
    else:
        yield from (f"{row['remedy']} ({row['sure']}: {cite(row['source'])}.)", "")


def show(tell: str) -> str:
    """How a cause shows, as a sentence of its own: without Then, and a command or a name as it is typed."""
    sentence = tell.removeprefix("Then ")
    return sentence[0].upper() + sentence[1:] if sentence.partition(" ")[0] in WORDS else sentence


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def render(rows: Mapping[str, Row]) -> str:
    """What belongs between the markers."""
    lines = [*index(rows), ""]
    for code, row in rows.items():
        lines += part(code, row)
    return "\n".join(lines).strip()


def rendered(page: str, rows: Mapping[str, Row]) -> str:
    """The page with its part made anew; ValueError where the two markers are not there."""
    before, begin, rest = page.partition(BEGIN)
    _old, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"'{BEGIN}' or '{END}' is missing; add both where the errors belong.")
    return f"{before}{BEGIN}\n\n{render(rows)}\n\n{END}{after}"


def main() -> int:
    """Write the page; return 1 where it is not as it must be."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing; fail if the page is out of date")
    only_check = parser.parse_args().check
    rows = yaml.safe_load(CATALOGUE.read_text(encoding="utf-8"))["errors"]
    old = PAGE.read_text(encoding="utf-8")
    try:
        new = rendered(old, rows)
    except ValueError as problem:
        print(f"{PAGE.name}: {problem}", file=sys.stderr)
        return 1
    if new != old and only_check:
        print(f"{PAGE.name} differs from {CATALOGUE.name}; run `make readmes`.", file=sys.stderr)
        return 1
    if new != old:
        PAGE.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
