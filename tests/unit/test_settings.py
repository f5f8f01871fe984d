"""Settings: precedence, wrong values, unknown names, folders."""

from __future__ import annotations

from pathlib import Path

import pytest

from spanline.errors import ConfigurationError
from spanline.settings import Settings, default_state


def test_keyword_beats_spanline_beats_otel_beats_default() -> None:
    environ = {"SPANLINE_SERVICE": "b", "OTEL_SERVICE_NAME": "c", "OTEL_RESOURCE_ATTRIBUTES": "service.name=d"}
    assert Settings.resolve({"service": "a"}, environ).service == "a"
    assert Settings.resolve({}, environ).service == "b"
    del environ["SPANLINE_SERVICE"]
    assert Settings.resolve({}, environ).service == "c"
    del environ["OTEL_SERVICE_NAME"]
    assert Settings.resolve({}, environ).service == "d"
    assert Settings.resolve({}, {}).service == "unknown_service"


def test_an_unknown_keyword_raises_and_names_the_nearest() -> None:
    with pytest.raises(ConfigurationError, match="did you mean 'namespace'"):
        Settings.resolve({"namespce": "x"}, {})


def test_an_unknown_variable_is_a_warning_with_the_nearest() -> None:
    assert Settings.resolve({}, {"SPANLINE_TOKEN": "x"}).warnings == ("unknown setting SPANLINE_TOKEN; did you mean SPANLINE_TOKENS?",)


def test_a_wrong_variable_warns_and_defaults_a_wrong_keyword_raises() -> None:
    settings = Settings.resolve({}, {"SPANLINE_RELAY": "threat"})
    assert settings.relay == "thread"
    assert "SPANLINE_RELAY is 'threat', expected one of thread, process, off" in settings.warnings[0]
    settings = Settings.resolve({}, {"SPANLINE_LABEL_CAP": "many", "SPANLINE_FEATURES": "all"})
    assert "SPANLINE_LABEL_CAP is 'many', expected a whole number; using 200" in settings.warnings
    assert settings.warnings[0].endswith("using lineage,metrics,traces")
    with pytest.raises(ConfigurationError, match="relay='threat'"):
        Settings.resolve({"relay": "threat"}, {})


@pytest.mark.parametrize("value", ["metrics,metric", "all"])
def test_features_are_a_closed_set(value: str) -> None:
    assert Settings.resolve({}, {"SPANLINE_FEATURES": value}).warnings


def test_home_sets_journal_and_ledger(tmp_path: Path) -> None:
    settings = Settings.resolve({"service": "a/b c"}, {"SPANLINE_HOME": str(tmp_path)})
    assert settings.journal_dir == tmp_path / "journal" / "a_b_c"
    assert settings.effective_ledger_url == f"sqlite:///{tmp_path}/ledger.db"


def test_state_folder_follows_xdg(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert default_state() == tmp_path / "spanline"
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_state() == tmp_path / ".local" / "state" / "spanline"


def test_otel_sdk_disabled_switches_traces_off() -> None:
    assert Settings.resolve({}, {"OTEL_SDK_DISABLED": "true"}).features == {"metrics", "lineage"}
