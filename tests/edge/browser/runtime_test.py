import pytest

from common.cli import UserError
from edge.browser import runtime


def test_a_missing_runtime_names_the_remedy(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(
        UserError, match=r"LiteRT\.js 2\.5\.3 is not in .*; fetch it once with make"
    ):
        runtime.find_runtime()


def test_a_registry_that_does_not_answer_leaves_nothing(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("NPM_CONFIG_REGISTRY", "http://localhost:9/")
    with pytest.raises(UserError, match=r"http://localhost:9/@litertjs/core/.* cannot be fetched"):
        runtime.install()
    assert list((tmp_path / "keras_shufflenet").iterdir()) == []


def test_the_fetched_runtime_imports_only_its_own_files(litert_js):
    files = runtime.find_runtime()
    text = files["index.js"].read_text(encoding="utf-8")
    assert 'from "./wasm_utils.js"' in text and "@litertjs/wasm-utils" not in text
    assert "Apache License" in files["NOTICE.txt"].read_text(encoding="utf-8")
