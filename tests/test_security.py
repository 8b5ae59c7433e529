"""What must not be in the packages: anything that turns bytes from elsewhere into code."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted(path for package in ("topologies", "peers", "coordinator") for path in (ROOT / package).rglob("*.py"))
MODULES = {"pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}


def dangers(source: str) -> set[str]:
    """Imports of picklers, and calls that unpickle, evaluate or run a shell."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.split(".")[0] in MODULES}
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] in MODULES:
            found.add(node.module)
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            keywords = {each.arg: ast.unparse(each.value) for each in node.keywords}
            runs_no_code = called == "torch.load" and keywords.get("weights_only") == "True"
            if called in ("eval", "exec", "torch.load", "torch.save", "yaml.load", "os.system") and not runs_no_code:
                found.add(called)
            if keywords.get("allow_pickle") == "True" or keywords.get("shell") == "True":
                found.add(called)
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_security__nothing_is_unpickled_or_evaluated(path: Path) -> None:
    assert dangers(path.read_text()) == set()


def test_dangers__are_seen() -> None:
    source = (
        "import pickle\nfrom dill import load\ntorch.load(x)\nnp.load(x, allow_pickle=True)\nrun('x', shell=True)\n"
    )
    assert dangers(source + "np.load(x)\n") == {"pickle", "dill", "torch.load", "np.load", "run"}
