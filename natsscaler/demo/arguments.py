"""The command line of `natsscaler demo`, apart from what it works with: help comes at once."""

import argparse
from pathlib import Path


def demo_parser(program: str) -> argparse.ArgumentParser:
    """Read the arguments of `natsscaler demo`."""
    parser = argparse.ArgumentParser(
        prog=f"{program} demo",
        description="Show two bursts on a real nats-server scale a Deployment, and a message wake another,"
        " in about 45 seconds.",
    )
    parser.add_argument(
        "--keep-running", action="store_true", help="Keep running after the scenario, until Ctrl+C."
    )
    parser.add_argument(
        "--kubeconfig",
        type=_file,
        help="Use this cluster, in namespace natsscaler-demo, instead of an embedded Kubernetes API.",
    )
    return parser


def _file(path: str) -> Path:
    if not Path(path).is_file():
        raise argparse.ArgumentTypeError(f"There is no file {path}")
    return Path(path).absolute()
