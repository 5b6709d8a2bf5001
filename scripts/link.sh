#!/bin/sh
# Makes the checkout importable as ansible_collections.podsmith.gpu, so that everything runs from the checkout.
set -eu
cd "$(dirname "$0")/.."
field() { sed -n "s/^$1: *//p" galaxy.yml; }
home=.ansible/collections/ansible_collections/$(field namespace)
mkdir -p "$home"
ln -sfn ../../../.. "$home/$(field name)"
