#!/usr/bin/env python3
"""Compiles the CUDA kernels with CUDA 12, for drivers from 535 on: only those from 580 on load what CUDA 13 compiled.

usage: benches/cuda12-image.py FILE

CUDA 12 comes as NVRTC, the compiler as a library, in pinned Python packages: 12.2 for the architectures that it knows, and
12.8 for Blackwell, whose drivers are 570 or later. They are kept in $ROLLMILL_CACHE/cuda12 (about 600 MB); neither root
nor a driver nor a C++ compiler is needed. The image is not committed. kernels.json does not describe it, so it is not
compared with the declared kernels when it is opened: the laws on the card are what tests it.
"""

import ctypes
import glob
import os
import subprocess
import sys
import tempfile
from pathlib import Path

NVRTC = "nvidia-cuda-nvrtc-cu12"
# Package version and the architectures that it compiles for.
COMPILERS = [("12.2.140", ["80", "86", "89", "90"]), ("12.8.93", ["100", "120"])]
# What later cards compile when the kernels are loaded: of the oldest, since PTX only goes upwards.
PTX = ("12.2.140", "80")
# Only to pack what was compiled.
PACKER = ("nvidia-cuda-nvcc", "13.0.88")
FLAGS = ["--std=c++17"]
SOURCES = Path(__file__).resolve().parent.parent / "kernels" / "cuda"


def fail(text):
    sys.exit(f"cuda12-image: {text}")


def cache():
    folder = os.environ.get("ROLLMILL_CACHE")
    return (Path(folder) if folder else Path.home() / ".cache" / "rollmill") / "cuda12"


def package(name, version):
    """The folder of a package, which is installed if it is missing."""
    folder = cache() / f"{name}-{version}"
    if not (folder / "complete").is_file():
        print(f"cuda12-image: installing {name}=={version}", file=sys.stderr)
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder)]
        if subprocess.run(pip + [f"{name}=={version}"]).returncode != 0:
            fail(f"cannot install {name}=={version}; is there a network, and pip?")
        (folder / "complete").touch()
    return folder


def only(folder, pattern):
    found = sorted(glob.glob(str(folder / "**" / pattern), recursive=True))
    if not found:
        fail(f"{folder} has no {pattern}; remove it and try again")
    return found[0]


def compile_one(version, arch, kind, out):
    """Compiles in this process, which loads one version of the library."""
    folder = package(NVRTC, version)
    # The library looks for its second part by name, and finds one that is loaded.
    ctypes.CDLL(only(folder, "libnvrtc-builtins.so.12*"), mode=ctypes.RTLD_GLOBAL)
    nvrtc = ctypes.CDLL(only(folder, "libnvrtc.so.12"))
    nvrtc.nvrtcGetErrorString.restype = ctypes.c_char_p

    def checked(code, call):
        if code != 0:
            fail(f"{call}: {nvrtc.nvrtcGetErrorString(code).decode()}")

    def text(size_of, read):
        size = ctypes.c_size_t()
        checked(size_of(program, ctypes.byref(size)), size_of.__name__)
        buffer = ctypes.create_string_buffer(size.value)
        checked(read(program, buffer), read.__name__)
        return buffer.raw

    program = ctypes.c_void_p()
    source = (SOURCES / "kernels.cu").read_bytes()
    created = nvrtc.nvrtcCreateProgram(ctypes.byref(program), source, b"kernels.cu", 0, None, None)
    checked(created, "nvrtcCreateProgram")
    target = f"--gpu-architecture={'compute' if kind == 'ptx' else 'sm'}_{arch}"
    options = [option.encode() for option in FLAGS + [f"-I{SOURCES}", target]]
    list_of = (ctypes.c_char_p * len(options))(*options)
    code = nvrtc.nvrtcCompileProgram(program, len(options), list_of)
    if code != 0:
        log = text(nvrtc.nvrtcGetProgramLogSize, nvrtc.nvrtcGetProgramLog)
        fail(f"sm_{arch} by {version}:\n{log.decode(errors='replace')}")
    if kind == "ptx":
        # It ends with a zero, which belongs to the text for whoever loads it.
        made = text(nvrtc.nvrtcGetPTXSize, nvrtc.nvrtcGetPTX).rstrip(b"\0")
    else:
        made = text(nvrtc.nvrtcGetCUBINSize, nvrtc.nvrtcGetCUBIN)
    Path(out).write_bytes(made)


def main(file):
    packer = only(package(*PACKER), "bin/fatbinary")
    os.chmod(packer, 0o755)
    with tempfile.TemporaryDirectory() as work:
        images = []
        parts = [(version, arch, "elf") for version, archs in COMPILERS for arch in archs]
        for version, arch, kind in parts + [PTX + ("ptx",)]:
            # Installed here, so that no two processes do.
            package(NVRTC, version)
            out = f"{work}/{kind}_{arch}"
            print(f"cuda12-image: {kind} for sm_{arch} by {version}", file=sys.stderr)
            one = [sys.executable, __file__, "--compile", version, arch, kind, out]
            if subprocess.run(one).returncode != 0:
                fail(f"{kind} for sm_{arch} was not compiled")
            images.append(f"--image3=kind={kind},sm={arch},file={out}")
        # Older drivers do not know the newer ways to compress.
        command = [packer, "-64", "--compress-mode=none", *images, f"--create={file}"]
        if subprocess.run(command).returncode != 0:
            fail("the image was not packed")
    print(f"{file}: {Path(file).stat().st_size} B", file=sys.stderr)


if __name__ == "__main__":
    if len(sys.argv) == 6 and sys.argv[1] == "--compile":
        compile_one(*sys.argv[2:])
    elif len(sys.argv) == 2 and not sys.argv[1].startswith("-"):
        main(sys.argv[1])
    else:
        fail("usage: benches/cuda12-image.py FILE")
