"""What is counted, and how Prometheus reads it. Rooms see only core.meter.Meter; the text is made when it is asked for."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from tidewire.telemetry.encoders import EncoderMetrics
from tidewire.telemetry.histogram import DURATION, LATENCY, Histogram, family
from tidewire.telemetry.intake import IntakeMetrics
from tidewire.telemetry.rerankers import RerankMetrics
from tidewire.telemetry.searches import SearchMetrics
from tidewire.telemetry.sessions import SessionMetrics

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST
OTHER: Final = "other"


class Labels:
    """Keeps a label's values few: the first `limit` are kept as they are, later ones become "other"."""

    __slots__ = ("_known", "_limit")

    def __init__(self, limit: int) -> None:
        self._known: set[str] = set()
        self._limit = limit

    def __call__(self, value: str) -> str:
        if value in self._known:
            return value
        if len(self._known) >= self._limit:
            return OTHER
        self._known.add(value)
        return value


class Metrics(Collector):
    """Counts what the rooms report; implements core.meter.Meter, RouteMeter and CacheMeter.

    log_size: gives the streams and bytes held by the log, asked at each reading.
    """

    def __init__(self, log_size: Callable[[], tuple[int, int]] = lambda: (0, 0)) -> None:
        self.log_size = log_size
        self.open = 0
        self.readers = 0
        self.first_tokens: dict[str, Histogram] = {}
        self.gaps = Histogram(LATENCY)
        self.durations = Histogram(DURATION)
        self.cancels = Histogram(LATENCY)
        self.lag = Histogram(LATENCY)
        self.started: Counter[str] = Counter()
        self.ended: Counter[tuple[str, str]] = Counter()
        self.tokens: Counter[str] = Counter()
        self.resumes: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()
        self.upstream_errors: Counter[tuple[str, str]] = Counter()
        self.refusals: Counter[str] = Counter()
        self.overruns: Counter[tuple[str, str]] = Counter()
        self.mcp_calls: Counter[tuple[str, str]] = Counter()
        self.tries: Counter[tuple[str, str]] = Counter()
        self.try_failures: Counter[tuple[str, str, str]] = Counter()
        self.continuations: Counter[tuple[str, str]] = Counter()
        self.breakers: dict[str, str] = {}
        self.dials: dict[str, float] = {}
        self.probes: dict[str, float] = {}
        self.warm_since: dict[str, float] = {}
        self.cold: Counter[tuple[str, str]] = Counter()
        self.cascades: Counter[tuple[str, str]] = Counter()
        self.route_costs: dict[tuple[str, str], float] = {}
        self.cascade_costs: dict[tuple[str, str], float] = {}
        self.encoders = EncoderMetrics()
        self.intake = IntakeMetrics()
        self.rerankers = RerankMetrics()
        self.searches = SearchMetrics()
        self.sessions = SessionMetrics()
        self.cache_size: Callable[[], int] = lambda: 0
        self.misses = 0
        self.hits: Counter[str] = Counter()
        self.saved_seconds: Counter[str] = Counter()
        self.saved_tokens: Counter[str] = Counter()
        self.saved_usd: Counter[str] = Counter()
        self.tool_calls: Counter[tuple[str, str]] = Counter()
        self.tool_retries: Counter[str] = Counter()
        self.tool_times: dict[str, Histogram] = {}
        # Instance attributes, so that the hot ones cost no further call.
        self.gap = self.gaps.observe
        self.cancelled = self.cancels.observe
        self.late = self.lag.observe
        self._model = Labels(200)
        self._provider = Labels(100)
        self._code = Labels(100)
        self._tool = Labels(200)
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def opened(self, model: str) -> None:
        self.open += 1
        self.started[self._model(model)] += 1

    def closed(self, model: str, status: str, reason: str, seconds: float, tokens: int) -> None:
        self.open -= 1
        self.ended[status, reason] += 1
        self.tokens[self._model(model)] += tokens
        self.durations.observe(seconds)

    def failed(self, provider: str, code: str) -> None:
        label = self._code(code)
        self.errors[label] += 1
        if code.startswith("upstream_"):
            self.upstream_errors[self._provider(provider), label] += 1

    def first_token(self, model: str, seconds: float) -> None:
        model = self._model(model)
        histogram = self.first_tokens.get(model)
        if histogram is None:
            histogram = self.first_tokens[model] = Histogram(LATENCY)
        histogram.observe(seconds)

    def reader(self, change: int) -> None:
        self.readers += change

    def resumed(self, dialect: str) -> None:
        self.resumes[dialect] += 1

    def refused(self, code: str) -> None:
        self.refusals[self._code(code)] += 1

    def over_budget(self, term: str, plan: str = "") -> None:
        self.overruns[plan, term] += 1

    # core.meter.ToolMeter

    def tool_called(self, tool: str, result: str, seconds: float) -> None:
        tool = self._tool(tool)
        self.tool_calls[tool, result] += 1
        self.tool_times.setdefault(tool, Histogram(DURATION)).observe(seconds)

    def tool_retried(self, tool: str) -> None:
        self.tool_retries[self._tool(tool)] += 1

    def mcp_called(self, tool: str, result: str) -> None:
        """An MCP client called one of the two tools that we offer. result: ok or failed."""
        self.mcp_calls[tool, result] += 1

    # core.meter.RouteMeter

    def tried(self, route: str, model: str) -> None:
        self.tries[route, model] += 1

    def try_failed(self, route: str, model: str, code: str) -> None:
        self.try_failures[route, model, self._code(code)] += 1

    def continued(self, route: str, model: str, result: str) -> None:
        self.continuations[route, result] += 1

    def breaker(self, model: str, state: str) -> None:
        self.breakers[model] = state

    def warmed(self, provider: str, dialled: float, answered: float | None) -> None:
        provider = self._provider(provider)
        self.dials[provider] = dialled
        if answered is not None:
            self.probes[provider] = answered
        self.warm_since[provider] = time.time()

    def not_warmed(self, provider: str, code: str) -> None:
        self.cold[self._provider(provider), self._code(code)] += 1

    # core.meter.CacheMeter

    def reused(self, tier: str, seconds: float, tokens: int, usd: float) -> None:
        self.hits[tier] += 1
        self.saved_seconds[tier] += seconds  # type: ignore[assignment]  # a Counter adds floats as well
        self.saved_tokens[tier] += tokens
        self.saved_usd[tier] += usd  # type: ignore[assignment]

    def missed(self) -> None:
        self.misses += 1

    # core.meter.CascadeMeter

    def cascaded(self, cascade: str, result: str) -> None:
        self.cascades[cascade, result] += 1

    def route_cost(self, route: str, model: str, usd: float) -> None:
        self.route_costs[route, model] = self.route_costs.get((route, model), 0.0) + usd

    def cascade_cost(self, cascade: str, role: str, usd: float) -> None:
        self.cascade_costs[cascade, role] = self.cascade_costs.get((cascade, role), 0.0) + usd

    def render(self) -> bytes:
        """The text that Prometheus reads; its type is CONTENT_TYPE."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        streams, held = self.log_size()
        yield _gauge("tidewire_streams_open", "Streams being answered.", self.open)
        yield _gauge("tidewire_readers_open", "Readers following a stream.", self.readers)
        yield _gauge("tidewire_log_streams", "Streams held by the log in memory.", streams)
        yield _gauge("tidewire_log_bytes", "Bytes held by the log in memory.", held)
        yield _counter("tidewire_streams_started", "Streams started.", ("model",), self.started)
        yield _counter("tidewire_streams_ended", "Streams ended.", ("status", "reason"), self.ended)
        yield _counter(
            "tidewire_tokens",
            "Output tokens: the host's own figure, or one a delta where it gave none.",
            ("model",),
            self.tokens,
        )
        yield _counter("tidewire_resumes", "Readers that came back with a cursor.", ("dialect",), self.resumes)
        yield _counter("tidewire_stream_errors", "Streams that ended with an error.", ("code",), self.errors)
        yield _counter(
            "tidewire_upstream_errors",
            "Those of them that a model host caused.",
            ("provider", "code"),
            self.upstream_errors,
        )
        yield _counter("tidewire_refusals", "Requests refused before a stream began.", ("code",), self.refusals)
        yield _counter("tidewire_over_budget", "Streams with a term over budget.", ("plan", "term"), self.overruns)
        yield _counter("tidewire_route_tries", "Requests that routes sent.", ("route", "model"), self.tries)
        yield _counter("tidewire_route_continuations", "Answers gone on with.", ("route", "result"), self.continuations)
        yield _counter(
            "tidewire_route_failures", "Those of them that failed.", ("route", "model", "code"), self.try_failures
        )
        yield _counter(
            "tidewire_cascades",
            "Answers of cascades, by what became of the draft.",
            ("cascade", "result"),
            self.cascades,
        )
        yield _counter(
            "tidewire_cascade_usd",
            "What the models of cascades took, at the prices set.",
            ("cascade", "role"),
            self.cascade_costs,
        )
        yield _counter(
            "tidewire_route_usd",
            "What the candidates of routes took, as their hosts counted, at the prices set.",
            ("route", "model"),
            self.route_costs,
        )
        yield _states("tidewire_breaker_open", "1: not asked for a while; 0.5: one probe at a time.", self.breakers)
        yield _by_provider("tidewire_dial_seconds", "What the last connection opened beforehand took.", self.dials)
        yield _by_provider("tidewire_probe_seconds", "What the host took to answer on it.", self.probes)
        yield _by_provider("tidewire_warmed_timestamp_seconds", "When that was, in Unix time.", self.warm_since)
        yield _counter("tidewire_warm_failures", "Times that this failed.", ("provider", "code"), self.cold)
        yield _counter("tidewire_cache_hits", "Answers that were not asked for again.", ("tier",), self.hits)
        yield CounterMetricFamily("tidewire_cache_misses", "Kept answers looked for and not there.", value=self.misses)
        yield _counter("tidewire_cache_saved_seconds", "Time that hits saved.", ("tier",), self.saved_seconds)
        yield _counter("tidewire_cache_saved_tokens", "Output tokens that hits saved.", ("tier",), self.saved_tokens)
        yield _counter(
            "tidewire_cache_saved_usd", "Money that hits saved, by routes' prices.", ("tier",), self.saved_usd
        )
        yield _gauge("tidewire_cache_bytes", "Bytes of kept answers.", self.cache_size())
        yield family(
            "tidewire_first_token_seconds",
            "From a stream's opening to its first token.",
            ("model",),
            [((model,), histogram) for model, histogram in self.first_tokens.items()],
        )
        yield family("tidewire_token_gap_seconds", "Between two batches of tokens of a stream.", (), [((), self.gaps)])
        yield _counter("tidewire_tool_calls", "Calls of the server's tools.", ("tool", "result"), self.tool_calls)
        yield _counter("tidewire_mcp_calls", "Calls by MCP clients.", ("tool", "result"), self.mcp_calls)
        yield _counter("tidewire_tool_retries", "Further tries of such calls.", ("tool",), self.tool_retries)
        yield family(
            "tidewire_tool_seconds",
            "From the beginning of such a call to its result.",
            ("tool",),
            [((tool,), histogram) for tool, histogram in self.tool_times.items()],
        )
        yield family("tidewire_stream_seconds", "From a stream's opening to its end.", (), [((), self.durations)])
        yield family(
            "tidewire_cancel_seconds", "From the wish to stop until the host was let go of.", (), [((), self.cancels)]
        )
        yield family("tidewire_event_loop_lag_seconds", "How late the event loop ran.", (), [((), self.lag)])
        yield from self.encoders.collect()
        yield from self.intake.collect()
        yield from self.rerankers.collect()
        yield from self.searches.collect()
        yield from self.sessions.collect()


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=value)


def _states(name: str, text: str, states: dict[str, str]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=("model",))
    for model, state in states.items():
        family.add_metric([model], {"open": 1.0, "half_open": 0.5}.get(state, 0.0))
    return family


def _by_provider(name: str, text: str, values: dict[str, float]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=("provider",))
    for provider, value in values.items():
        family.add_metric([provider], value)
    return family


def _counter(
    name: str,
    text: str,
    labels: tuple[str, ...],
    values: Mapping[str, float] | Mapping[tuple[str, str], float] | Mapping[tuple[str, str, str], float],
) -> Metric:
    family = CounterMetricFamily(name, text, labels=labels)
    for key, value in values.items():
        family.add_metric([key] if isinstance(key, str) else list(key), value)
    return family
