#!/bin/sh
# Gathers real messages that mail software ships as its test mail, one message a file with CRLF line ends, into a directory.
# Exits with 1 if they are fewer than 1,000. Nothing of it is committed: it has many owners and licences. Sources come through their own clients (apt-get, pip, cargo).
#
#   tests/corpus/fetch.sh DIRECTORY
#
# Needs: apt-get (as root or not), pip, cargo, python3, tar. What one of them can't give is said and left out.
set -eu

[ $# -eq 1 ] || { echo "usage: $0 DIRECTORY" >&2; exit 64; }
mkdir -p "$1"
target=$(cd "$1" && pwd)
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/sources" "$work/apt/lists/partial" "$work/apt/cache/archives/partial"

missing() { echo "$0: left out: $1" >&2; }

# Debian: source packages of the machine's own mirrors, with package lists of our own so that its configuration stays as it is.
mkdir -p "$work/apt/parts"
for file in /etc/apt/sources.list /etc/apt/sources.list.d/debian.sources; do
  [ -f "$file" ] || continue
  sed -n -e 's/^Types:.*/Types: deb-src/p;t' -e 's/^deb /deb-src /p;t' -e '/^\(#\|deb-src \)/!p' "$file" \
    > "$work/apt/parts/$(basename "$file")"
done
apt() {
  apt-get -qq -o Dir::Etc::SourceList=- -o Dir::Etc::SourceParts="$work/apt/parts" -o Dir::State::Lists="$work/apt/lists" \
    -o Dir::Cache="$work/apt/cache" -o APT::Sandbox::User=root "$@"
}
if apt update > "$work/log" 2>&1; then
  for package in notmuch rspamd gmime kmime kf5-messagelib bogofilter cyrus-imapd php-horde-mime \
    libmail-deliverystatus-bounceparser-perl spamassassin libmime-tools-perl ruby-mail apache-mime4j; do
    mkdir -p "$work/sources/debian-$package"
    (cd "$work/sources/debian-$package" && apt source --download-only "$package" > "$work/log" 2>&1) \
      || missing "Debian source $package, or a part of it"
  done
else
  missing "Debian sources: $(tail -n 1 "$work/log")"
fi

# PyPI: source distributions.
for package in mail-parser flufl.bounce hyperkitty talon; do
  python3 -m pip download --quiet --disable-pip-version-check --no-deps --no-binary :all: --dest "$work/sources/pypi-$package" "$package" \
    > "$work/log" 2>&1 || missing "PyPI $package"
done

# Sources of crates.
mkdir -p "$work/crates/src"
touch "$work/crates/src/lib.rs"
cat > "$work/crates/Cargo.toml" <<END
[package]
name = "corpus"
version = "0.0.0"
edition = "2021"
[dependencies]
mail-parser = "0.11"
mailparse = "0.16"
maildir = "0.6"
[workspace]
END
(cd "$work/crates" && cargo vendor --quiet "$work/sources/crates" > "$work/log" 2>&1) || missing "crates"

# The test mail of the Python that runs this.
python=$(python3 -c 'import os, test; print(os.path.join(os.path.dirname(test.__file__), "test_email", "data"))' 2> /dev/null || true)
if [ -d "$python" ]; then cp -r "$python" "$work/sources/python"; else missing "Python's own test mail"; fi

python3 "$here/gather.py" "$work/sources" "$target"
