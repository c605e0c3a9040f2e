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

# Debian: source packages of the machine's own mirrors and of two younger releases (mirrors have gaps: what one lacks another may have), with package lists of
# our own so that the machine's configuration stays as it is.
mkdir -p "$work/apt/parts"
for file in /etc/apt/sources.list /etc/apt/sources.list.d/*; do
  grep -qsE '(debian|ubuntu)[^ ]*(/|$)' "$file" || continue
  sed -n -e 's/^Types:.*/Types: deb-src/p;t' -e 's/^deb /deb-src /p;t' -e '/^\(#\|deb-src \)/!p' "$file" \
    > "$work/apt/parts/$(basename "$file")"
done
if [ -f /usr/share/keyrings/debian-archive-keyring.gpg ]; then
  printf '%s\n' 'Types: deb-src' 'URIs: http://deb.debian.org/debian' 'Suites: trixie sid' 'Components: main' \
    'Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg' > "$work/apt/parts/younger.sources"
fi
cat > "$work/apt.conf" <<END
quiet "2";
Dir::Etc::SourceList "-";
Dir::Etc::SourceParts "$work/apt/parts";
Dir::State::Lists "$work/apt/lists";
Dir::Cache "$work/apt/cache";
APT::Sandbox::User "root";
Acquire::http::Timeout "20";
END
# Several at a time; what is downloaded of a package that is not whole is used all the same.
debian() {
  mkdir -p "$work/sources/debian-$1"
  cd "$work/sources/debian-$1"
  for suite in "" /trixie /sid; do
    timeout 120 apt-get -c "$work/apt.conf" source --download-only "$1$suite" > "$work/log-$1" 2>&1 && return
  done
  missing "Debian source $1, or a part of it"
}
if apt-get -c "$work/apt.conf" update > "$work/log" 2>&1 || [ -n "$(ls "$work/apt/lists" | grep Sources)" ]; then
  for package in notmuch mailutils libmail-deliverystatus-bounceparser-perl kf5-messagelib libmail-box-perl libmail-dkim-perl bogofilter apache-mime4j \
    rspamd grepmail cyrus-imapd libemail-folder-perl procmail libmail-mbox-messageparser-perl libmail-message-perl public-inbox php-horde-mime sympa \
    libmime-tools-perl courier mailman3 dkimpy kmime gmime libemail-simple-perl php-horde-imap-client php-horde-imp mutt nmh spamassassin ruby-mail \
    libetpan maildir-utils maildrop mhonarc libemail-mime-perl libmail-listdetector-perl evolution-data-server; do
    debian "$package" &
    running=$((${running:-0} + 1))
    [ $((running % 6)) -ne 0 ] || wait
  done
  wait
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
