"""C-like declarations."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forge.apis.html.declarations import (
    Parameter,
    parameters_schema,
    parse_declaration,
    returns_schema,
    split_at_commas,
    type_schema,
)

P = Parameter


@pytest.mark.parametrize(
    ("text", "name", "parameters", "returns"),
    [
        ("GtkWidget * gtk_button_new (void);", "gtk_button_new", (), "GtkWidget *"),
        (
            "gint64 g_ascii_strtoll (const gchar *nptr, gchar **endptr, guint base);",
            "g_ascii_strtoll",
            (P("nptr", "const gchar *"), P("endptr", "gchar **"), P("base", "guint")),
            "gint64",
        ),
        ("void (*GCallback) (gpointer data)", "GCallback", (P("data", "gpointer"),), "void"),
        (
            "int main(int argc, char *argv[], ...)",
            "main",
            (P("argc", "int"), P("argv", "char *[]"), P("", "", variadic=True)),
            "int",
        ),
        (
            "void qsort(void *base, size_t n, int (*compare)(const void *, const void *))",
            "qsort",
            (P("base", "void *"), P("n", "size_t"), P("compare", "int(*)(const void *, const void *)")),
            "void",
        ),
        (
            "public static <E> List<E> of(E... elements) throws X",
            "of",
            (P("elements", "E", variadic=True),),
            "List<E>",
        ),
        (
            "@Deprecated(since = \"9\") Map<K,V> merge(@NotNull K key, BiFunction<? super V,? super V,? extends V> f)",
            "merge",
            (P("key", "K"), P("f", "BiFunction<? super V, ? super V, ? extends V>")),
            "Map<K, V>",
        ),
        (
            "template <class T> void f(T const& a, std::pair<int, T> b = {1, 2}, char c = ',')",
            "f",
            (P("a", "T const &"), P("b", "std::pair<int, T>", "{1, 2}"), P("c", "char", "','")),
            "void",
        ),
        ("const T &QList<T>::at(int i) const", "QList<T>::at", (P("i", "int"),), "const T &"),
        ("bool operator()(int, unsigned n) const", "operator()", (P("", "int"), P("n", "unsigned")), "bool"),
        ("std::ostream &operator<<(std::ostream &out, const T &x)", "operator<<",
         (P("out", "std::ostream &"), P("x", "const T &")), "std::ostream &"),
        ("explicit operator bool() const noexcept", "operator bool", (), ""),
        ("QByteArray::~QByteArray()", "QByteArray::~QByteArray", (), ""),
        ("auto size(const Box &box) -> std::size_t", "size", (P("box", "const Box &"),), "std::size_t"),
    ],
)  # fmt: skip
def test_declarations_of_several_languages(
    text: str, name: str, parameters: tuple[Parameter, ...], returns: str
) -> None:
    found = parse_declaration(text)
    assert found is not None
    assert (found.name, found.parameters, found.returns) == (name, parameters, returns)


@pytest.mark.parametrize("text", ["", "x = 3", "typedef struct _Box Box", "int (*)(void)", "f(int a", "(a)", "a b c"])
def test_what_declares_no_callable_is_none(text: str) -> None:
    assert parse_declaration(text) is None


def test_overloads_differ_by_types_and_qualifiers_not_by_names_or_defaults() -> None:
    overloads = [
        "T & Box::at(int i)",
        "const T & Box::at(int i) const",
        "T & Box::at(const char* key, int limit = 3)",
        "T & Box::at(E... keys)",
    ]
    told = [found.overload for text in overloads if (found := parse_declaration(text))]
    assert told == ["(int)", "(int) const", "(const char *, int)", "(E...)"]
    renamed = parse_declaration("T & Box::at(const char *other, int most)")
    assert renamed is not None
    assert renamed.overload == told[2]


def test_modifiers_and_thrown_types() -> None:
    found = parse_declaration(
        "[static] public final <T> T read(Reader in) throws IOException, java.text.ParseException"
    )
    assert found is not None
    assert found.modifiers == ("static", "public", "final", "<T>")
    assert found.throws == ("IOException", "java.text.ParseException")


def test_the_schema_of_a_call() -> None:
    found = parse_declaration("int seek(FILE *stream, long offset = 0, const char *, double scale, ...)")
    assert found is not None
    assert parameters_schema(found.parameters, {"stream": "the open file"}) == {
        "type": "object",
        "properties": {
            "stream": {"x-type": "FILE *", "description": "the open file"},
            "offset": {"type": "integer", "x-type": "long", "x-default": "0"},
            "arg3": {"type": "string", "x-type": "const char *", "x-unnamed": True},
            "scale": {"type": "number", "x-type": "double"},
            "...": {},
        },
        "required": ["stream", "arg3", "scale"],
        "x-order": ["stream", "offset", "arg3", "scale", "..."],
    }
    assert returns_schema("void") == {}
    assert returns_schema("gboolean", "whether it did") == {
        "type": "boolean", "x-type": "gboolean", "description": "whether it did",
    }  # fmt: skip


def test_only_plain_types_are_json_types() -> None:
    assert type_schema("const QString &") == {"type": "string"}
    assert type_schema("unsigned long") == {"type": "integer"}
    assert type_schema("char *") == type_schema("List<String>") == type_schema("char") == type_schema("Integral") == {}


def test_commas_in_brackets_and_strings_part_nothing() -> None:
    assert split_at_commas("Map<K, V> m, f(a, b), \"x, y\", ',', {1, 2}") == [
        "Map<K, V> m", "f(a, b)", '"x, y"', "','", "{1, 2}",
    ]  # fmt: skip


@given(st.text(alphabet="ab<>()[]{}*&:,=~ .\"'@\n", max_size=300))
def test_no_text_breaks_it(text: str) -> None:
    found = parse_declaration(text)
    assert found is None or found.name


@pytest.mark.parametrize("piece", ["(", "()", "a(", "<", "a<", "operator ", "a::", "@a(", "'", "a,", "template<"])
def test_hostile_texts_take_no_time(piece: str) -> None:
    started = time.process_time()
    parse_declaration("f(" + piece * 3000)
    parse_declaration(piece * 3000 + "f(int a)")
    assert time.process_time() - started < 2
