from __future__ import annotations

import pathlib
import shutil
import subprocess
from collections.abc import Callable

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[3]

# A Python that claims to be the newest, makes environments of shell scripts, and notes what it and its uv are asked.
PYTHON = r"""#!/bin/sh
echo "python $*" >>"$HOME/log"
case "$*" in
*sys.version_info*) echo 3.14 ;;
"-m venv "*)
  mkdir -p "$3/bin" && touch "$3/pyvenv.cfg" && cp "$0" "$3/bin/python"
  echo "VIRTUAL_ENV=$3" >"$3/bin/activate" ;;
"-m pip install"*) cp "$HOME/uv" "$(dirname "$0")/uv" ;;
"-m pip config list")
  echo "global.index-url='https://mirror.example/simple'"
  printf '%s\n' "install.extra-index-url='https://a.example\nhttps://b.example'" ;;
esac
"""
UV = """#!/bin/sh
echo "uv $* index=$UV_DEFAULT_INDEX more=$UV_INDEX" >>"$HOME/log"
[ ! -e "$HOME/offline" ]
"""
SHIM = "#!/bin/sh\necho 'python3.14: command not found' >&2\nexit 127\n"


class Checkout:
    """A checkout with the real script, in a home with pretended tools."""

    def __init__(self, home: pathlib.Path) -> None:
        self.home, self.path = home, home / "checkout"
        (self.path / "scripts").mkdir(parents=True)
        for name in ("scripts/prepare.sh", "scripts/link.sh", "galaxy.yml"):
            shutil.copy(ROOT / name, self.path / name)
        for name in ("requirements.txt", "requirements-acceptance.txt", "requirements-dev.txt"):
            (self.path / name).write_text("uv==1.2.3 \\\n    --hash=sha256:0\n", encoding="utf-8")
        for folder, name, text in (("shims", "python3.14", SHIM), ("bin", "python3.14", PYTHON), (".", "uv", UV)):
            (home / folder).mkdir(exist_ok=True)
            (home / folder / name).write_text(text, encoding="utf-8")
            (home / folder / name).chmod(0o755)

    def prepare(self, *args: str, **variables: str) -> subprocess.CompletedProcess[str]:
        env = {
            "HOME": str(self.home),
            "PATH": f"{self.home}/shims:{self.home}/bin:/usr/bin:/bin",
            "PYENV_ROOT": f"{self.home}/none",
            **variables,
        }
        (self.home / "log").write_text("", encoding="utf-8")
        return subprocess.run(
            [self.path / "scripts/prepare.sh", *args], env=env, capture_output=True, text=True, timeout=300, check=False
        )

    @property
    def installed(self) -> list[str]:
        """What uv was asked to install."""
        return [
            line
            for line in (self.home / "log").read_text(encoding="utf-8").splitlines()
            if line.startswith("uv pip install")
        ]


@pytest.fixture
def checkout(tmp_path: pathlib.Path) -> Checkout:
    return Checkout(tmp_path)


def test_a_shim_that_does_not_run_is_passed_over(checkout: Checkout) -> None:
    done = checkout.prepare()
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"Preparing {checkout.path}/.venv with {checkout.home}/bin/python3.14")
    assert (checkout.path / ".ansible/collections/ansible_collections/podsmith/gpu").resolve() == checkout.path


def test_the_lock_is_installed_from_the_mirrors_that_pip_was_told(checkout: Checkout) -> None:
    checkout.prepare("dev")
    assert len(checkout.installed) == 1
    assert checkout.installed[0].endswith(
        "--compile-bytecode -r requirements-dev.txt index=https://mirror.example/simple more=https://a.example https://b.example"
    )


def test_a_folder_of_wheels_stands_in_for_every_index(checkout: Checkout) -> None:
    """As `make bootstrap BUNDLE=…` says it, where the environment has no pip to ask."""
    (checkout.home / "uv").write_text('#!/bin/sh\necho "uv $* links=$UV_FIND_LINKS" >>"$HOME/log"\n', encoding="utf-8")
    (checkout.home / "uv").chmod(0o755)
    python = checkout.home / "bin/python3.14"
    python.write_text(
        PYTHON.replace('"-m pip config list")', '"-m pip config list") exit 1 ;;\n"never")'), encoding="utf-8"
    )
    done = checkout.prepare("acceptance", PIP_NO_INDEX="1", PIP_FIND_LINKS="/srv/A_b/wheels")
    assert done.returncode == 0, done.stderr
    assert checkout.installed[-1].startswith("uv pip install --quiet --no-index --python ")
    assert checkout.installed[-1].endswith("-r requirements-acceptance.txt links=/srv/A_b/wheels")


def test_pips_variables_win_over_its_files(checkout: Checkout) -> None:
    python = checkout.home / "bin/python3.14"
    listed = 'echo ":env:.index-url=\'https://variable.example/simple\'"\n  echo "global.index-url'
    python.write_text(PYTHON.replace('echo "global.index-url', listed), encoding="utf-8")
    checkout.prepare()
    assert "index=https://variable.example/simple" in checkout.installed[-1]


def test_the_second_call_asks_nothing(checkout: Checkout) -> None:
    checkout.prepare()
    done = checkout.prepare()
    assert (done.returncode, done.stdout, checkout.installed) == (0, "", [])


def new_lock(checkout: Checkout) -> None:
    (checkout.path / "requirements.txt").write_text("uv==1.2.4\n", encoding="utf-8")


def python_gone(checkout: Checkout) -> None:
    (checkout.path / ".venv/bin/python").unlink()


def moved(checkout: Checkout) -> None:
    checkout.path = checkout.path.rename(checkout.home / "elsewhere")


@pytest.mark.parametrize(
    ("change", "rebuilt"), [pytest.param(new_lock, False), pytest.param(python_gone, True), pytest.param(moved, True)]
)
def test_what_changed_is_prepared_again(checkout: Checkout, change: Callable[[Checkout], None], rebuilt: bool) -> None:
    checkout.prepare()
    change(checkout)
    done = checkout.prepare()
    assert done.returncode == 0, done.stderr
    assert len(checkout.installed) == 1
    assert done.stdout.startswith("Preparing ") is rebuilt


def test_a_folder_that_is_no_environment_is_left_alone(checkout: Checkout) -> None:
    (checkout.path / ".venv").mkdir()
    (checkout.path / ".venv" / "thesis.txt").touch()
    done = checkout.prepare()
    assert done.returncode == 1
    assert f"{checkout.path}/.venv exists and is not a virtual environment; move it away" in done.stderr
    assert (checkout.path / ".venv" / "thesis.txt").exists()


def test_an_index_out_of_reach_names_the_variable_that_sets_a_mirror(checkout: Checkout) -> None:
    (checkout.home / "offline").touch()
    done = checkout.prepare()
    assert done.returncode == 1
    assert "could not install requirements.txt" in done.stderr
    assert "set PIP_INDEX_URL or UV_DEFAULT_INDEX to a mirror" in done.stderr
    assert checkout.prepare().returncode == 1, "a failed call leaves no stamp"


def test_an_unknown_argument_is_refused(checkout: Checkout) -> None:
    done = checkout.prepare("all")
    assert done.returncode == 2
    assert "unknown argument 'all'; expected 'run', 'report', 'acceptance' or 'dev'" in done.stderr
