#!/bin/sh
# Makes the clients of other languages ready in the directory given: Python with boto3 and the AWS command line, JavaScript and Java with their
# SDKs. It needs python3 with venv, npm and mvn.
set -eu
dir=${1:?a directory}
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$dir"
python3 -m venv "$dir/python"
"$dir/python/bin/pip" install --quiet --requirement "$here/python/requirements.txt"
rm -rf "$dir/js" "$dir/java"
cp -r "$here/js" "$dir/js"
(cd "$dir/js" && npm install --silent --no-audit --no-fund)
cp -r "$here/java" "$dir/java"
(cd "$dir/java" && mvn --quiet --batch-mode compile dependency:copy-dependencies)
