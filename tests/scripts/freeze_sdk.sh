#!/bin/sh
# Keeps the source of the SDK as it is on the day a version of the interface is declared: tests/fixtures/sdk-VERSION.tar.gz,
# from which `--test versions` builds a plugin for ever after. Run from the repository's root; never again for the same version.
set -eu
version=$(sed -n 's/^version = "\(.*\)"/\1/p' sdk/Cargo.toml)
archive="$PWD/tests/fixtures/sdk-$version.tar.gz"
if [ -e "$archive" ]; then
    echo "$archive is there: what was declared does not change" >&2
    exit 1
fi
folder=$(mktemp -d)
trap 'rm -r "$folder"' EXIT
cargo run --quiet --locked --package espalier-host -- plugin new frozen --out "$folder/frozen"
tar --create --directory "$folder/frozen" --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner sdk |
    gzip --no-name -9 > "$archive"
