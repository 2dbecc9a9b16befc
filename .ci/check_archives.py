"""Check the contents of the wheel and the source archive: check_archives.py FOLDER."""

import re
import sys
import tarfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ROOT / "src"
PACKAGE = {
    path.relative_to(PACKAGES).as_posix()
    for path in (PACKAGES / "Socket_Singleton").rglob("*")
    if path.is_file() and "__pycache__" not in path.parts
}
SOURCE = [
    "LICENSE.txt",
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "PKG-INFO",
    "pyproject.toml",
    "test_app.py",
]

(wheel,) = Path(sys.argv[1]).glob("*.whl")
(sdist,) = Path(sys.argv[1]).glob("*.tar.gz")

with zipfile.ZipFile(wheel) as archive:
    names = archive.namelist()
    (info,) = {name.split("/")[0] for name in names if ".dist-info/" in name}
    packaged = {name for name in names if not name.startswith(info)}
    assert packaged == PACKAGE, packaged ^ PACKAGE
    assert "Socket_Singleton/py.typed" in names
    assert f"{info}/licenses/LICENSE.txt" in names, names
    metadata = archive.read(f"{info}/METADATA").decode()
    headers = metadata.partition("\n\n")[0].splitlines()
    # Relative links do not work on the page of a package index.
    relative = re.findall(r"\]\((?!https:|#).*?\)", metadata)
    assert not relative, relative
    assert not [line for line in headers if line.startswith("Requires-Dist")], headers
    for header in ("Name: Socket_Singleton", "Requires-Python: >=3.7", "License-Expression: MIT"):
        assert header in headers, (header, headers)

with tarfile.open(sdist) as tar:
    inside = {name.partition("/")[2] for name in tar.getnames()}
tracked = {
    path.relative_to(ROOT).as_posix()
    for folder in ("src", "tests", "examples", "benchmarks", "verification", "docs")
    for path in (ROOT / folder).rglob("*")
    if path.is_file() and "__pycache__" not in path.parts
}
missing = (tracked | set(SOURCE)) - inside
assert not missing, missing
foreign = {name for name in inside - tracked - set(SOURCE) if (ROOT / name).is_file()} - {".gitignore"}
assert not foreign, foreign

print(f"{wheel.name}: {len(names)} files; {sdist.name}: {len(inside)} files")
