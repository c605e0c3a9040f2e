"""Finds messages in unpacked and packed sources and writes each distinct one, with CRLF line ends, into a directory. Exits with 1 if they are too few.

    gather.py SOURCES TARGET
"""

import hashlib
import pathlib
import re
import sys
import tarfile
import zipfile

# A file is a message if it begins with a header that holds one of these fields; the line that mbox puts before it is dropped.
FIELD = re.compile(rb"^[!-9;-~]+[ \t]*:", re.M)
TYPICAL = re.compile(rb"^(from|to|subject|date|received|message-id|mime-version|content-type|return-path|delivered-to):", re.I | re.M)
ENVELOPE_LINE = re.compile(rb"^From \S+.*\d\d:\d\d.*$", re.M)
CODE = {".py", ".rb", ".rs", ".pl", ".pm", ".t", ".c", ".h", ".cc", ".cpp", ".java", ".lua", ".sh", ".json", ".xml", ".html", ".md", ".js",
        ".robot", ".conf", ".cf", ".toml", ".yml", ".yaml", ".po", ".pot", ".dsc", ".patch", ".diff", ".css", ".pod", ".rst", ".map", ".out"}
LARGEST = 5_000_000
FEWEST = 1000


def archives(path):
    """The files of an archive, or the file itself: (name, bytes)."""
    name = path.name
    if re.search(r"\.tar(\.\w+)?$|\.tgz$", name):
        with tarfile.open(path) as tar:
            for member in tar:
                if member.isfile() and member.size <= LARGEST:
                    yield member.name, tar.extractfile(member).read()
    elif name.endswith(".zip"):
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                if not member.is_dir() and member.file_size <= LARGEST:
                    yield member.filename, archive.read(member)
    elif path.stat().st_size <= LARGEST:
        yield str(path), path.read_bytes()


def is_message(text):
    header = re.split(rb"\r?\n\r?\n", text[:100_000], maxsplit=1)[0]
    first = header.split(b"\n", 1)[0]
    return bool(FIELD.match(first)) and len(TYPICAL.findall(header)) >= 2


def messages(text):
    """One message, or those of an mbox."""
    starts = [match.start() for match in ENVELOPE_LINE.finditer(text) if match.start() == 0 or text[:match.start()].endswith((b"\n\n", b"\r\n\r\n"))]
    if not starts or starts[0] != 0:
        yield text
        return
    for start, end in zip(starts, starts[1:] + [len(text)]):
        yield text[start:end].split(b"\n", 1)[-1]


def main():
    sources, target = map(pathlib.Path, sys.argv[1:])
    seen, counts = set(), {}
    for path in sorted(path for path in sources.rglob("*") if path.is_file() and not path.is_symlink()):
        origin = path.relative_to(sources).parts[0]
        try:
            for name, text in archives(path):
                if pathlib.Path(name).suffix.lower() in CODE:
                    continue
                for message in filter(is_message, messages(text)):
                    message = re.sub(rb"\r?\n", b"\r\n", message)
                    digest = hashlib.sha256(message).hexdigest()
                    if digest not in seen:
                        seen.add(digest)
                        counts[origin] = counts.get(origin, 0) + 1
                        (target / f"{origin}-{digest[:16]}.eml").write_bytes(message)
        except (tarfile.TarError, zipfile.BadZipFile, OSError, EOFError) as error:
            print(f"{path.name}: {error}", file=sys.stderr)
    for origin, count in sorted(counts.items()):
        print(f"{count:5} {origin}")
    print(f"{len(seen):5} distinct messages")
    sys.exit(len(seen) < FEWEST)


if __name__ == "__main__":
    main()
