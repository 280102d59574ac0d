#!/bin/sh
# Makes the clients of other languages ready in the directory given: boto3 and the AWS command line, the AWS SDK for JavaScript, the AWS SDK for Java.
# Further arguments name the ones wanted: python, js, java. What is there already, in the versions written beside this script, is left as it is.
set -eu
dir=${1:?a directory}
shift
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$dir"
dir=$(cd "$dir" && pwd)
# Go files that a package may bring are no part of the module around the directory.
[ -f "$dir/go.mod" ] || echo "module clients" >"$dir/go.mod"

# need ends the script unless a command works, saying what is missing.
need() {
	missing=$1
	shift
	"$@" >/dev/null 2>&1 || {
		echo "setup.sh: $missing is needed" >&2
		exit 1
	}
}

# current says whether the versions in a file are those that were made ready last.
current() { cmp -s "$here/$1/$2" "$dir/$1/ready"; }

python() {
	need "Python 3 with venv (Debian: python3-venv)" python3 -c 'import venv, ensurepip'
	if current python requirements.txt && "$dir/python/bin/python" -c 'import boto3, awscli' 2>/dev/null; then
		return
	fi
	echo "setup.sh: boto3 and the AWS command line into $dir/python"
	rm -rf "$dir/python"
	python3 -m venv "$dir/python"
	"$dir/python/bin/pip" install --quiet --disable-pip-version-check --requirement "$here/python/requirements.txt"
	cp "$here/python/requirements.txt" "$dir/python/ready"
}

js() {
	need "Node.js 20 or newer (Debian: nodejs)" node -e 'process.exit(parseInt(process.versions.node) >= 20 ? 0 : 1)'
	if current js package-lock.json; then
		return
	fi
	need "npm" npm --version
	echo "setup.sh: the AWS SDK for JavaScript into $dir/js"
	rm -rf "$dir/js"
	mkdir "$dir/js"
	cp "$here/js/package.json" "$here/js/package-lock.json" "$dir/js"
	(cd "$dir/js" && npm ci --loglevel=error --no-audit --no-fund)
	cp "$here/js/package-lock.json" "$dir/js/ready"
}

java() {
	need "a JDK, 17 or newer (Debian: default-jdk-headless)" javac --release 17 --version
	if current java pom.xml; then
		return
	fi
	need "Maven (Debian: maven)" mvn --version
	echo "setup.sh: the AWS SDK for Java into $dir/java"
	rm -rf "$dir/java"
	mkdir "$dir/java"
	mvn --quiet --batch-mode -Dstyle.color=never --file "$here/java/pom.xml" dependency:copy-dependencies -DoutputDirectory="$dir/java/jars"
	cp "$here/java/pom.xml" "$dir/java/ready"
}

[ $# -gt 0 ] || set -- python js java
for client; do
	case $client in
	python | js | java) "$client" ;;
	*)
		echo "setup.sh: $client is none of python, js, java" >&2
		exit 1
		;;
	esac
done
