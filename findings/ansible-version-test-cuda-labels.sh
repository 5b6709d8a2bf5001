#!/usr/bin/env bash
# Ansible's version test with version_type=pep440 does not compare as PEP 440's specifiers do: 2.13.0+cu130 is not <= 2.13.0.
#
# PEP 440 says that a specifier without a local label ignores the candidate's: 2.13.0+cu130 satisfies ==2.13.0 and <=2.13.0, and does
# not satisfy >2.13.0. pip and uv do so. The test takes the order of versions instead, in which a label makes a release newer, so all
# three answers are the opposite; the default, loose, agrees with pep440. Only semver drops what follows the plus sign, and it refuses
# much else that this field has: 2.13.0.post1, the driver 580.95.05.
#
# Seen: 2026-12-01, ansible-core 2.21.5 (Python 3.12 or newer) and 2.19.14 (Python 3.11), packaging 26.2, Linux x86_64.
# Matters: every wheel of PyTorch's own index carries a label, PyPI's do not: `when: torch is version('2.13.0', '<=', …)` holds on one
# host and not on the next, with the same release on both.
# Instead: cut the label, `(torch | split('+'))[0] is version('2.13.0', '<=', version_type='pep440')`, or ask packaging's SpecifierSet.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

expect() { # WHAT SEEN EXPECTED
  echo "$1: $2"
  [ "$2" = "$3" ] || { echo "changed: $1: \"$2\"; expected \"$3\" as seen on 2026-12-01" >&2 && exit 1; }
}

"${PYTHON:-python3}" -m venv "$work/venv"
bin=$work/venv/bin
"$bin/python" -m pip --disable-pip-version-check install --quiet packaging==26.2 \
  'ansible-core==2.21.5; python_version >= "3.12"' 'ansible-core==2.19.14; python_version < "3.12"'

touch "$work/ansible.cfg" # whoever runs this may have settings of their own
answers() { # FILTER TYPE: whether torch is == 2.13.0, <= 2.13.0, > 2.13.0
  local each="'2.13.0', item, version_type='$2'" asked=
  for operator in == '<=' '>'; do asked+="('2.13.0+cu130'$1) is version(${each/item/"'$operator'"}), "; done
  ANSIBLE_HOME=$work/ansible ANSIBLE_CONFIG=$work/ansible.cfg ANSIBLE_NOCOLOR=1 "$bin/ansible" localhost --inventory localhost, --connection local \
    --extra-vars "ansible_python_interpreter=$bin/python" --module-name ansible.builtin.debug \
    --args "msg={{ [$asked] | join(' ') }}" | sed -n 's/.*"msg": "\(.*\)".*/\1/p'
}

by_specifier=$("$bin/python" -c 'from packaging.specifiers import SpecifierSet
print(*["2.13.0+cu130" in SpecifierSet(operator + "2.13.0") for operator in ("==", "<=", ">")])')
expect "2.13.0+cu130 ==, <=, > 2.13.0 as a specifier" "$by_specifier" "True True False"
expect "the same by Ansible's test, pep440" "$(answers "" pep440)" "False False True"
expect "the same by Ansible's test, loose" "$(answers "" loose)" "False False True"
expect "the same by Ansible's test, semver" "$(answers "" semver)" "True True False"
expect "the same by Ansible's test, pep440, without the label" "$(answers " | split('+') | first" pep440)" "True True False"
