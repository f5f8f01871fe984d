"""Artifact references: what is accepted, what is refused and how, what they yield, and how templates render."""

from __future__ import annotations

import dataclasses
import os
import pickle

import msgspec
import pytest

from spanline.errors import ConfigurationError
from spanline.record import references
from spanline.record.digest import content_digest
from spanline.record.references import Code, Corpus, Dataset, EvalSet, Index, Model, PromptTemplate, Reference, Release, decode_artifacts

DIGEST = "sha256:" + "9f2c" * 16


def test_a_uri_leaves_its_secrets_behind() -> None:
    index = Index("i", uri="https://ann:secret@h/x?token=secret#secret")
    assert [artifact.uri for artifact in index.artifacts()] == ["https://h/x"]
    assert "secret" not in index.encoded


def test_what_the_contract_shows():
    fees = PromptTemplate("fees", version="v7", text="Use {context} to answer: {question}")
    index = Index(
        "fees_corpus", version="commit:abc123", digest=DIGEST, embedding_model="e5-small@1", corpus=Corpus("fees", version="2026-11-01")
    )
    assert fees.render(context=["a"], question="{why}") == "Use ['a'] to answer: {why}"
    assert fees.digest == content_digest(fees.text)
    assert [(a.kind, a.name, a.version, a.role, a.evidence) for a in index.artifacts()] == [
        ("index", "fees_corpus", "commit:abc123", "input", "observed"),
        ("corpus", "fees", "2026-11-01", "input", "declared"),
        ("model", "e5-small", "1", "input", "declared"),
    ]
    assert index.artifacts()[0].made_of == ("corpus:fees@2026-11-01", "model:e5-small@1")
    assert index.artifacts()[0].digest == DIGEST
    assert index.ref == "index:fees_corpus@commit:abc123"
    assert str(index) == "fees_corpus@commit:abc123"


def test_an_output_is_made_of_inputs():
    made = Index("i", "2", corpus="c@1").artifacts("output", "declared")
    assert [(a.kind, a.role) for a in made] == [("index", "output"), ("corpus", "input")]


@pytest.mark.parametrize(
    ("cls", "kind"),
    [
        (Model, "model"),
        (PromptTemplate, "prompt"),
        (Index, "index"),
        (Corpus, "corpus"),
        (Dataset, "dataset"),
        (Code, "code"),
        (Release, "release"),
        (EvalSet, "eval_set"),
    ],
)
def test_every_class(cls, kind):
    ref = cls("n", "1", DIGEST, "team", "prod", "https://x")
    (artifact,) = ref.artifacts()
    assert (artifact.kind, artifact.digest, artifact.owner, artifact.stage, artifact.uri) == (kind, DIGEST, "team", "prod", "https://x")
    assert ref == cls("n", version="1", digest=DIGEST.upper().replace("SHA", "sha"), owner="team", stage="prod", uri="https://x")
    assert len({ref, cls("n", "1", DIGEST, "team", "prod", "https://x")}) == 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        ref.name = "other"
    assert pickle.loads(pickle.dumps(ref)) == ref
    assert decode_artifacts(ref.encoded) == ref.artifacts()


def test_models_are_made_of_models_and_data():
    model = Model(
        "fees-tuned",
        3,
        base="meta-llama/Llama-3@8b",
        adapters=["lora@2", Model("b")],
        trained_on=(Dataset("qa", "1"), Corpus("fees"), "faq@9"),
        quantization="q4_k_m",
    )
    assert model.version == "3"
    assert [a.ref for a in model.artifacts()] == [
        "model:fees-tuned@3", "model:meta-llama/Llama-3@8b", "model:lora@2", "model:b", "dataset:qa@1", "corpus:fees", "dataset:faq@9",
    ]  # fmt: skip
    assert model.made_of()[-1] == "quantization:q4_k_m"
    assert hash(model)
    assert Dataset("d", schema_hash="ab12").artifacts()[0].made_of == ("schema:ab12",)
    deep = Index("i", embedding_model=Model("e", base="f@1")).artifacts()
    assert [a.name for a in deep] == ["i", "e", "f"], "parts of parts"


@pytest.mark.parametrize("alias", ["latest", "PROD", "champion", " staging "])
def test_an_alias_is_a_stage(alias):
    assert (Model("m", alias).version, Model("m", alias).stage) == (None, alias.strip())
    assert Model("m", alias, stage="canary").stage == "canary"


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Model(""), "name is empty"),
        (lambda: Model("  "), "name is empty"),
        (lambda: Model(None), "name is empty"),
        (lambda: Model(7), "name is a int"),
        (lambda: Index("fees@v7"), r"Index\('fees', version='v7'\)"),
        (lambda: Index("fees", "a@b"), "'@'"),
        (lambda: Index("a\x00b"), "control characters"),
        (lambda: Index("a", "\ud800"), "lone surrogates"),
        (lambda: Index("x" * 10_000_000), "10000000 characters"),
        (lambda: Index("x", 1.5), "version is a float"),
        (lambda: Index("x", True), "version is a bool"),
        (lambda: Index("x", digest="9f2c"), "sha256:<hex>"),
        (lambda: Index("x", digest="sha256:hello"), "sha256:<hex>"),
        (lambda: Index("x", corpus=Model("m")), "expected Corpus"),
        (lambda: Index("x", embedding_model=3), "expected Model"),
        (lambda: Model("x", adapters=3), "adapters"),
        (lambda: PromptTemplate("x", text=b"bytes"), "text is a bytes"),
    ],
)
def test_what_is_refused(make, says):
    with pytest.raises(ConfigurationError, match=says):
        make()


@pytest.mark.parametrize(
    "garbage", [None, 3, "", "null", "[", "{}", '[{"kind": 3}]', '[{"name":"x"}]', "\ud800", "[" * 5000, "x" * 2_000_000, b"[]"]
)
def test_garbage_decodes_to_nothing(garbage):
    assert decode_artifacts(garbage) == ()


def test_encoding_is_kept_and_plain_json():
    ref = Index("i", "1", corpus="c@2")
    assert ref.encoded is ref.encoded
    assert msgspec.json.decode(ref.encoded)[1] == {"kind": "corpus", "name": "c", "version": "2", "evidence": "declared"}
    assert decode_artifacts(ref.encoded) is decode_artifacts(Index("i", "1", corpus="c@2").encoded)


@pytest.mark.parametrize(
    ("text", "values", "expected"),
    [
        ("{a}{b}", {"a": 1, "b": 2}, "12"),
        ("{{a}}", {}, "{a}"),
        ("{{{a}}}", {"a": 1}, "{1}"),
        ('{"q": "{a}"}', {"a": 1}, '{"q": "1"}'),
        ('{"q": {"r": {a}}}', {"a": 1}, '{"q": {"r": 1}}'),
        ('{"q": {"r": {}}} {a}', {"a": 1}, '{"q": {"r": {}}} 1'),
        ('{{"q": {{"r": {a}}}}}', {"a": 1}, '{"q": {"r": 1}}'),
        ("{a.__class__} {a[0]} {0} {} { a } {a b}", {"a": 1}, "{a.__class__} {a[0]} {0} {} { a } {a b}"),
        ("{a:.2f}|{a!r:>5}|{b:1}", {"a": 1.5}, "1.50|  1.5|{b:1}"),
        ("}}{", {}, "}{"),
        ("a } b { c", {}, "a } b { c"),
        ("{a}", {"a": "{a} {{b}}"}, "{a} {{b}}"),
        ("{größe}", {"größe": "L"}, "L"),
        ("\ud800{a}\x00", {"a": 1}, "\ud8001\x00"),
        ("", {}, ""),
        ("no fields", {"extra": 1}, "no fields"),
    ],
)
def test_render(text, values, expected):
    assert PromptTemplate("p", "1", text=text).render(**values) == expected


@pytest.mark.parametrize("text", ["{a}", "{a} {{a}}", "pre {a} {{}} post", "{{{a}}} {{{{a}}}}", "{a:>4} {a!r}", "{{'x': {a}}}"])
def test_render_agrees_with_str_format_where_that_works(text):
    assert PromptTemplate("p", text=text).render(a="v") == text.format(a="v")


def test_a_missing_variable_is_named():
    prompt = PromptTemplate("fees", "v7", text="{context} {question}")
    assert prompt.variables == ("context", "question")
    with pytest.raises(ConfigurationError, match=r"prompt fees@v7: variable 'question' is missing; given: context"):
        prompt.render(context="c")
    with pytest.raises(ConfigurationError, match="without text"):
        PromptTemplate("fees").render()


def test_a_large_template():
    text = "x" * 10_000_000 + "{a}"
    assert PromptTemplate("p", text=text).render(a="y").endswith("xy")
    braces = PromptTemplate("p", text="{" * 200_000 + "}" * 200_000)
    assert braces.render()
    assert "xxx" not in repr(PromptTemplate("p", text=text))


def test_prompt_from_file(tmp_path):
    file = tmp_path / "fees@v7.txt"
    file.write_bytes("\ufeffUse {context}\r\nçok\r\n".encode())
    prompt = PromptTemplate.from_file(file)
    assert (prompt.name, prompt.version, prompt.text) == ("fees", "v7", "Use {context}\nçok\n")
    assert prompt.digest == PromptTemplate("fees", "v7", text="Use {context}\nçok\n").digest
    assert str(PromptTemplate.from_file(file, name="other", version="v8")) == "other@v8"
    edited = tmp_path / "b" / "fees@v7.txt"
    edited.parent.mkdir()
    edited.write_text("Use {context}!")
    assert PromptTemplate.from_file(edited).digest != prompt.digest
    (tmp_path / "plain.md").write_text("hello")
    assert (PromptTemplate.from_file(tmp_path / "plain.md").name, PromptTemplate.from_file(tmp_path / "plain.md").version) == (
        "plain",
        None,
    )
    (tmp_path / "fees@v1.2").write_text("hello")
    assert str(PromptTemplate.from_file(tmp_path / "fees@v1.2")) == "fees@v1.2"


def test_front_matter(tmp_path):
    file = tmp_path / "x.prompt"
    file.write_text("---\nname: fees\nversion: 'v9'\n# note\nowner: pricing\n---\nHello {a}")
    prompt = PromptTemplate.from_file(file)
    assert (str(prompt), prompt.owner, prompt.text) == ("fees@v9", "pricing", "Hello {a}")
    for text in ("---\nrule first\n---\nbody", "---\nkey: value\n---\nbody", "---\nname: x\nno end", "---"):
        file.write_text(text)
        assert PromptTemplate.from_file(file).text == text


def test_files_that_cannot_be_read(tmp_path):
    (tmp_path / "latin.txt").write_bytes(b"\xff\xfe\xfd")
    for call, says in (
        (lambda: PromptTemplate.from_file(tmp_path / "absent.txt"), "No such file"),
        (lambda: PromptTemplate.from_file(tmp_path / "latin.txt"), "not UTF-8"),
        (lambda: Model.from_file(tmp_path / "absent.gguf"), "No such file"),
    ):
        with pytest.raises(ConfigurationError, match=says):
            call()


def test_model_from_file(tmp_path, monkeypatch):
    file = tmp_path / "fees-1.5b@v2.gguf"
    file.write_bytes(b"weights")
    model = Model.from_file(file, quantization="q8_0")
    assert (str(model), model.digest, model.quantization) == ("fees-1.5b@v2", content_digest(b"weights"), "q8_0")
    reads = []
    real = references.file_digest
    monkeypatch.setattr(references, "file_digest", lambda path: reads.append(path) or real(path))
    assert Model.from_file(file).digest == model.digest
    assert reads == [], "kept while the file stays"
    other = tmp_path / "new"
    other.write_bytes(b"Weights")
    os.utime(other, ns=(file.stat().st_atime_ns, file.stat().st_mtime_ns))
    other.replace(file)
    assert Model.from_file(file).digest == content_digest(b"Weights"), "same size and time, another file"
    folder = tmp_path / "hf-model@3"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    assert Model.from_file(folder).digest.startswith("sha256:")
    assert Model.from_file(folder).version == "3"


def test_not_a_table():
    with pytest.raises(ConfigurationError, match="expected a LanceDB table, got int"):
        Index.from_lancedb(3)


def test_reference_is_the_base():
    assert isinstance(Index("x"), Reference)
