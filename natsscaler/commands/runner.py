"""One run of `natsscaler explain` or `check`: builds the parts, looks, and returns what to print."""

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import NamedTuple

from natsscaler import __version__
from natsscaler.commands.check import check
from natsscaler.commands.explain import Explainer, NoSuchRule, find
from natsscaler.commands.options import Options, split
from natsscaler.core.errors import InvalidRule, KubernetesError
from natsscaler.core.explain.steps import Step
from natsscaler.core.explain.text import Sections, Style, document, explanation, summary, worst
from natsscaler.core.installation import Installation, choose
from natsscaler.core.reasons import Reason, State
from natsscaler.core.rule import RuleKey, parse
from natsscaler.kube.connection import connect, namespace_of
from natsscaler.kube.reader import ClusterReader
from natsscaler.nats.credential_store import Keyring
from natsscaler.net.allowlist import AllowList


class Terminal(NamedTuple):
    """How to write for the reader."""

    colour: bool
    width: int | None
    """None: no terminal, so lines of any length."""


class Answer(NamedTuple):
    """What a command says."""

    status: int
    """Exit status: 0 all is as it should be, 1 something is wrong."""
    told: str
    failure: str = ""
    """Why nothing could be told; for stderr."""


async def inquire(options: Options, terminal: Terminal) -> Answer:
    """Explain the rule that the options name, or without one check everything. Raises SettingsError."""
    key = _key(options) if options.rule else None
    settings = options.settings
    async with await connect(options.kubeconfig, settings.in_cluster, options.context) as api:
        api.user_agent = f"natsscaler/{__version__}"
        allow = AllowList.of(settings, api.host)
        cluster = ClusterReader(api)
        options = replace(options, installed=await _installed(options, cluster))
        keyring = Keyring(settings, cluster.secret)
        explainer = Explainer(options, cluster, allow, keyring)
        try:
            sections: Sections
            if key:
                sections = {f"ScalingRule {key}": await _explain(key, options, explainer)}
            else:
                sections = await check(options, cluster, explainer)
        except KubernetesError as error:
            told = f"{error.message} (asked of {api.host}, by --kubeconfig and --context)"
            return Answer(1, "", told if error.reason is Reason.KUBERNETES_UNAVAILABLE else error.message)
        except NoSuchRule as error:
            return Answer(1, "", str(error))
        finally:
            await explainer.close()
    return Answer(int(worst(sections) is State.BLOCKED), _told(options, sections, terminal))


def _told(options: Options, sections: Sections, terminal: Terminal) -> str:
    if options.output == "json":
        return document(sections)
    style = Style(time.time(), terminal.colour, terminal.width)
    if options.rule:
        return explanation(*next(iter(sections.items())), style)
    return summary(sections, style, everything=options.all)


async def _installed(options: Options, cluster: ClusterReader) -> Installation:
    """Find the operator; whoever may not look for it is told where it usually is."""
    if options.operator:
        given = options.operator
        watched = (options.namespace,) if options.namespace else options.settings.namespaces
        return Installation(given, given.name, watched)
    with suppress(KubernetesError):
        return choose(await cluster.installations(), options.namespace)
    return Installation()


def _key(options: Options) -> RuleKey:
    namespace, name = split(options.rule, options.namespace)
    return RuleKey(namespace or namespace_of(options.kubeconfig, options.context) or "default", name)


async def _explain(key: RuleKey, options: Options, explainer: Explainer) -> Sequence[Step]:
    watched = options.settings.namespaces
    if watched and key.namespace not in watched:
        raise NoSuchRule(f"The operator does not watch {key.namespace}: give it --namespace {key.namespace}")
    bodies = await explainer.rules(key.namespace)
    body = find(key, bodies)
    try:
        target = parse(body).target
    except InvalidRule:
        target = None
    world = await explainer.look_around(bodies, [target.namespace if target else key.namespace], target)
    return await explainer.explain(body, world)
