#!/usr/bin/env python3
"""Packs a release as the Terraform registry wants it: one zip for each program and system, the registry's manifest, checksums.

    package.py zip --binary FILE --program NAME --version 1.2.3 --os linux --arch amd64 --out dist
    package.py sums --version 1.2.3 --out dist

The same bytes in give the same bytes out: no times, no owners, a fixed order.
"""
import argparse
import hashlib
import pathlib
import sys
import zipfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
PROVIDER = "terraform-provider-myelin"
AGENT = "myelin-agent"
# Where the README of a program lies.
FOLDERS = {PROVIDER: ".", "myelin": ".", AGENT: "agent"}


def pack(arguments):
    windows = ".exe" if arguments.os == "windows" else ""
    # Terraform looks for the version in the provider's file name.
    version = f"_v{arguments.version}" if arguments.program == PROVIDER else ""
    members = [
        ("LICENSE", ROOT / "LICENSE", 0o644),
        ("README.md", ROOT / FOLDERS[arguments.program] / "README.md", 0o644),
        *([("myelin-agent.service", ROOT / "agent/systemd/myelin-agent.service", 0o644)] if arguments.program == AGENT else []),
        (f"{arguments.program}{version}{windows}", arguments.binary, 0o755),
    ]
    name = f"{arguments.program}_{arguments.version}_{arguments.os}_{arguments.arch}.zip"
    arguments.out.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(arguments.out / name, "w") as archive:
        for inside, source, mode in members:
            entry = zipfile.ZipInfo(inside, date_time=(1980, 1, 1, 0, 0, 0))
            entry.create_system = 3  # Unix, so that the mode counts
            entry.external_attr = (0o100000 | mode) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, source.read_bytes(), compresslevel=arguments.level)
    print(arguments.out / name)


def sums(arguments):
    manifest = arguments.out / f"{PROVIDER}_{arguments.version}_manifest.json"
    manifest.write_bytes((ROOT / "terraform-registry-manifest.json").read_bytes())
    files = sorted(path for path in arguments.out.iterdir() if path.suffix in (".zip", ".json"))
    # The registry wants one file with exactly the provider's archives and its manifest.
    of_registry = [f for f in files if f.name.startswith(PROVIDER) and not f.name.endswith(".cdx.json")]
    others = [f for f in files if f not in of_registry]
    if not any(f.suffix == ".zip" for f in of_registry):
        sys.exit(f"package.py: no archive of {PROVIDER} {arguments.version} lies in {arguments.out}")
    for name, group in ((PROVIDER, of_registry), ("myelin", others)):
        wrong = [f.name for f in group if f"_{arguments.version}_" not in f.name]
        if wrong:
            sys.exit(f"package.py: not of version {arguments.version}: {', '.join(wrong)}")
        if group:
            lines = [f"{hashlib.sha256(f.read_bytes()).hexdigest()}  {f.name}\n" for f in group]
            (arguments.out / f"{name}_{arguments.version}_SHA256SUMS").write_text("".join(lines), newline="\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(required=True)
    one = verbs.add_parser("zip", help="one program for one system")
    one.set_defaults(run=pack)
    one.add_argument("--binary", type=pathlib.Path, required=True)
    one.add_argument("--program", choices=sorted(FOLDERS), required=True)
    one.add_argument("--os", choices=["linux", "darwin", "windows"], required=True)
    one.add_argument("--arch", choices=["amd64", "arm64"], required=True)
    one.add_argument("--level", type=int, default=9, help="how hard it is compressed, 0 to 9")
    all_of_it = verbs.add_parser("sums", help="the manifest, and checksums of all that lies there")
    all_of_it.set_defaults(run=sums)
    for verb in (one, all_of_it):
        verb.add_argument("--version", required=True)
        verb.add_argument("--out", type=pathlib.Path, default=pathlib.Path("dist"))
    arguments = parser.parse_args()
    arguments.run(arguments)


if __name__ == "__main__":
    main()
