#!/bin/sh
# Makes worker/web/static/vendor anew, from npm packages of fixed versions and contents. Needs npm.
set -eu
cd "$(dirname "$0")/.."
vendor=$PWD/worker/web/static/vendor
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# fetch PACKAGE VERSION SHA256 FOLDER FILE...: these files of the package, and nothing else of it.
fetch() {
    package=$1 version=$2 sha256=$3 folder=$vendor/$4
    shift 4
    (
        cd "$work"
        npm pack --silent "$package@$version" >/dev/null
        echo "$sha256  $package-$version.tgz" | sha256sum --check --quiet
        tar -xzf "$package-$version.tgz"
    )
    rm -rf "$folder"
    mkdir -p "$folder"
    for file in LICENSE "$@"; do
        cp "$work/package/$file" "$folder/"
    done
    chmod 644 "$folder"/*
    rm -r "$work/package"
}

fetch htmx.org 2.0.11 165a2655073e9e6e55e307a7c74e8ebcdb76afb7701f9c16cfd106a13add408e htmx \
    dist/htmx.min.js
fetch uplot 1.6.32 4b8a8191e425658e3ea8c8c1314b0fc679c861ee3a1af2b20c7b16ba50b5133d uplot \
    dist/uPlot.iife.min.js dist/uPlot.min.css
fetch swagger-ui-dist 5.35.0 1b8e891893404ea4c3558b6a87e2a3e494e7eedba41168c2ece5800a391a6ea6 swagger-ui \
    NOTICE swagger-ui-bundle.js swagger-ui-bundle.js.LICENSE.txt swagger-ui.css
