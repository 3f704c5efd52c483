"""Generates the Python code of the contract in ../../proto into the directory `generated`."""

import importlib.resources
import pathlib
import shutil
import sys

from grpc_tools import protoc

HERE = pathlib.Path(__file__).resolve().parent
PROTO = HERE.parent.parent / "proto"
WELL_KNOWN = importlib.resources.files("grpc_tools") / "_proto"
GENERATED = HERE / "generated"


def main() -> int:
    shutil.rmtree(GENERATED, ignore_errors=True)
    GENERATED.mkdir()
    arguments = ["protoc", f"--proto_path={PROTO}", f"--proto_path={WELL_KNOWN}"]
    arguments += [f"--{kind}_out={GENERATED}" for kind in ("python", "pyi", "grpc_python")]
    arguments += sorted(str(path) for path in PROTO.rglob("*.proto"))
    return protoc.main(arguments)


if __name__ == "__main__":
    sys.exit(main())
