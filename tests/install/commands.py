"""Every command that documents, page and messages tell a person to type, and where it is tried."""

import ast
import re
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")),
    ROOT / "helm/scaling-operator/README.md",
    *sorted(set((ROOT / "docs").glob("*.md")) - {ROOT / "docs/reasons.md"}),  # its commands are the messages'
]
TOOLS = "kubectl|helm|nats|natsscaler|make|kind|docker|curl|pip|git|kustomize|cd"
LINE = re.compile(rf"(?:[A-Z_]+=\S+ )*(?:{TOOLS}) \S")
TOLD = re.compile(
    r"\b((?:kubectl (?:-\w|[a-z-]+) |helm (?:install|upgrade|rollback|uninstall)|nats (?:stream|consumer) "
    r"|natsscaler (?:run|explain|check)\b|make (?:install|deploy|demo|up|run)\b).*?)"
    r"(?=[;,.)](?: |$)|: |, and| \(|$)"
)

PROSE = {
    "helm install",
    "helm upgrade",
    "kubectl logs",
    "kubectl scale",
    "kubectl scale --replicas=0",
    "kubectl and the page",
    "kubectl does now",
    "kubectl apply -f sends it",
    "natsscaler explain",
    "natsscaler simulate",
    "natsscaler record",
    "natsscaler check",
    "natsscaler convert",
    "natsscaler top",
    "natsscaler events",
    "natsscaler explain NAMESPACE/NAME",
    "natsscaler run [--FLAG VALUE ...]",
    "natsscaler run with --allow-cross-namespace",
    "natsscaler run with --namespace {target_namespace} too",
    "nats stream view",
}
"""What names a command in a sentence, and is not a line to type."""

NOT_HERE = {
    "kind *": "needs kind",
    "natsscaler simulate docs/traces/*": "tests/unit/test_traces.py reads these traces",
    "natsscaler simulate my-rule.yaml *": "speaks of a file that is the reader's own",
    "natsscaler record *": "tests/integration/test_simulate_command.py records",
    "cd config/manager && kustomize edit *": "needs kustomize itself, of which kubectl has only a part",
    "docker *": "needs a container engine, and a registry",
    "*docker compose up": "needs a container engine",
    "*make up": "needs kind and a container engine: tests/containers",
    "make down": "needs kind and a container engine: tests/containers",
    "make burst": "needs kind and a container engine: tests/containers",
    "*make docker-build*": "needs a container engine: tests/containers",
    "make install docker-build *": "needs a container engine: tests/containers",
    "make unit": "runs the tests themselves",
    "make test-*": "runs the tests themselves",
    "make test": "runs the tests themselves",
    "make test *": "runs the tests themselves",
    "make check": "the first step of the tests",
    "make generate": "make check compares what it writes",
    "make bench*": "takes many minutes",
    "make demo*": "takes a minute: tests/integration/test_demo.py",
    "make run": "runs until it is stopped: tests/end_to_end run natsscaler run",
    "make build": "tests/integration/test_packaging.py builds and installs it",
    "pip install *": "tests/integration/test_packaging.py builds and installs it",
    "git tag *": "makes a release",
    "helm repo add *": "needs the internet",
    "helm install nats *": "needs the internet",
    "helm uninstall nats *": "needs the internet",
    "* port-forward *": "the pods of the tests' cluster are fake, so nothing can be forwarded to them",
    "kubectl port-forward*": "the pods of the tests' cluster are fake, so nothing can be forwarded to them",
    "kubectl exec *": "the pods of the tests' cluster are fake, so nothing runs in them",
    "kubectl run *": "the pods of the tests' cluster are fake, so nothing runs in them",
    "* logs *": "the pods of the tests' cluster are fake and have no logs",
    "kubectl logs *": "the pods of the tests' cluster are fake and have no logs",
    "kubectl * scaledobject *": "needs KEDA",
    "kubectl get scaledobjects *": "needs KEDA",
    "natsscaler top *": "tests/integration/test_overview.py",
    "natsscaler events *": "tests/integration/test_overview.py",
    "natsscaler completion *": "tests/unit/test_cli.py",
    "natsscaler convert *": "speaks of a file that is the reader's own: tests/unit/test_convert.py",
    "natsscaler explain shop/workers": "speaks of a rule that is the reader's own",
    "kubectl patch scalingrule workers *": "speaks of a rule that is the reader's own",
    "kubectl apply -f rules.yaml": "speaks of a file that is the reader's own",
    "* -n natsscaler-demo*": "speaks of make demo: tests/integration/test_demo.py",
    "kubectl delete namespace {NAMESPACE}": "speaks of make demo: tests/integration/test_demo.py",
    "kubectl --kubeconfig {kubeconfig}*": "speaks of make demo: tests/integration/test_demo.py",
    "ADMIN_KUBECONFIG=*": "needs kind and a container engine",
    "curl -s localhost:8082/*": "needs a port that is forwarded: tests/integration/test_api.py asks there",
    "kubectl config view * >.local-stack/kubeconfig": "writes into the local stack's folder",
    "kubectl get scalingrules,deployments --watch": "goes on until it is stopped",
    "kubectl apply -f my-rule.yaml": "speaks of a file that is the reader's own",
    "kubectl apply * -k DIRECTORY *": "speaks of a folder that is the reader's own",
    "nats consumer cluster step-down STREAM CONSUMER": "needs a cluster of NATS servers",
}
"""Why a command is not tried, by pattern."""

ELSEWHERE = {
    "helm upgrade {self.release} *": "test_a_release_of_another_name_and_namespace_is_found_and_fixed",
    "kubectl apply --server-side -k {overlay} -l *": (
        "test_the_line_for_missing_permissions_grants_them_and_leaves_nothing_else"
    ),
    "kubectl * {{*": "test_install_upgrade_and_uninstall",
}
"""The test that types it, by pattern."""


def untried(tried: set[str]) -> dict[str, str]:
    """Give every command that nobody tries and nobody excuses, with the place that tells it."""
    excused = (*NOT_HERE, *ELSEWHERE)
    return {
        line: place
        for line, place in told().items()
        if line not in PROSE
        and not any(one == line or one.startswith(f"{line} ") for one in tried)
        and not any(fnmatch(line, pattern) for pattern in excused)
    }


def told() -> dict[str, str]:
    """Give every command, with one place that tells it."""
    found: dict[str, str] = {}
    for page in PAGES:
        for line in _of_page(page.read_text()):
            found.setdefault(line, str(page.relative_to(ROOT)))
    for path in sorted((ROOT / "natsscaler").rglob("*.py")):
        for text in _strings(ast.parse(path.read_text())):
            for line in TOLD.findall(text.replace("{{", "{").replace("}}", "}")):
                found.setdefault(line.strip(), str(path.relative_to(ROOT)))
    for path in sorted((ROOT / "natsscaler/web/assets").glob("*.js")):
        for line in re.findall(r"(kubectl [^\"`]+)[\"`]", path.read_text()):
            found.setdefault(line, str(path.relative_to(ROOT)))
    notes = ROOT / "helm/scaling-operator/templates/NOTES.txt"
    for line in re.findall(r"^  (kubectl .*)$", notes.read_text(), re.MULTILINE):
        found.setdefault(line, str(notes.relative_to(ROOT)))
    return found


def _of_page(text: str) -> Iterator[str]:
    """Give what is in a block, and what stands between backticks."""
    text = re.sub(r"\\\n\s*", " ", text)
    fences = re.findall(r"^```(\w*)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    rest = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    lines = [line for kind, block in fences if not kind for line in block.splitlines()]
    lines += re.findall(r"^    (\S.*)$", rest, re.MULTILINE)
    lines += re.findall(r"`([^`]+)`", re.sub(r"^    .*$", "", rest, flags=re.MULTILINE))
    for line in lines:
        typed = re.sub(r"\s+", " ", re.sub(r"\s+#\s.*$", "", line)).removeprefix("$ ").rstrip(" …")
        if LINE.match(typed):
            yield typed


def _strings(tree: ast.Module) -> Iterator[str]:
    """Give all strings but docstrings, with {…} for what is put into them."""
    documentation = {node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    joined = [node for node in ast.walk(tree) if isinstance(node, ast.JoinedStr)]
    parts = {part for node in joined for part in ast.walk(node) if part is not node}
    for node in ast.walk(tree):
        if node in documentation or node in parts:
            continue
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        elif isinstance(node, ast.JoinedStr):
            yield "".join(
                f"{{{ast.unparse(part.value)}}}"
                if isinstance(part, ast.FormattedValue)
                else str(getattr(part, "value", ""))
                for part in node.values
            )
