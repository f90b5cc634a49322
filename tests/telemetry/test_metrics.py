from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from tidewire.core.meter import Meter
from tidewire.telemetry.metrics import Metrics


def samples(metrics: Metrics) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(metrics.render().decode())
        for sample in family.samples
    }


def test_it_is_the_meter_that_the_rooms_report_to():
    meter: Meter = Metrics()
    for name in (name for name in vars(Meter) if not name.startswith("_")):
        assert callable(getattr(meter, name)), name


def test_a_stream_is_counted_from_its_start_to_its_end():
    metrics = Metrics(log_size=lambda: (3, 4096))
    metrics.opened("m")
    metrics.opened("m")
    metrics.first_token("m", 0.2)
    metrics.gap(0.02)
    metrics.reader(1)
    metrics.resumed("native")
    metrics.closed("m", "cancelled", "client", 1.5, 40)
    metrics.cancelled(0.003)
    metrics.late(0.001)
    metrics.failed("host", "upstream_timeout")
    metrics.failed("host", "storage_failed")
    metrics.refused("overloaded")
    found = samples(metrics)
    assert found["tidewire_streams_open", ()] == 1
    assert found["tidewire_readers_open", ()] == 1
    assert found["tidewire_log_streams", ()] == 3
    assert found["tidewire_log_bytes", ()] == 4096
    assert found["tidewire_streams_started_total", (("model", "m"),)] == 2
    assert found["tidewire_streams_ended_total", (("reason", "client"), ("status", "cancelled"))] == 1
    assert found["tidewire_tokens_total", (("model", "m"),)] == 40
    assert found["tidewire_resumes_total", (("dialect", "native"),)] == 1
    assert found["tidewire_upstream_errors_total", (("code", "upstream_timeout"), ("provider", "host"))] == 1
    assert sum(value for (name, _), value in found.items() if name == "tidewire_upstream_errors_total") == 1
    for code in ("upstream_timeout", "storage_failed"):
        assert found["tidewire_stream_errors_total", (("code", code),)] == 1
    assert found["tidewire_refusals_total", (("code", "overloaded"),)] == 1
    assert found["tidewire_first_token_seconds_bucket", (("le", "0.1"), ("model", "m"))] == 0
    assert found["tidewire_first_token_seconds_bucket", (("le", "0.25"), ("model", "m"))] == 1
    assert found["tidewire_first_token_seconds_sum", (("model", "m"),)] == 0.2
    for name in ("token_gap", "cancel", "event_loop_lag", "stream"):
        assert found[f"tidewire_{name}_seconds_count", ()] == 1


def test_label_values_stay_few_whatever_is_reported():
    metrics = Metrics()
    for n in range(1000):
        metrics.opened(f"model {n}")
        metrics.refused(f"code {n}")
        metrics.failed(f"host {n}", f"upstream_{n}")
    assert len(metrics.started) == 201
    assert metrics.started["other"] == 800
    assert len(metrics.errors | metrics.refusals) == 101
    assert len(metrics.upstream_errors) <= 101
