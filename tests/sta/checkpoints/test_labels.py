"""Label files: whatever form the field writes, the same names in the same order, or a refusal."""

import csv
import io
import json
import logging
import random

import pytest

import sta
from tests.corpus import CORPUS

PUBLISHED = CORPUS.parent / "labels"

NAMES = {
    "short": ["walking", "running", "jumping jacks"],
    "one": ["walking"],
    "commas": [
        "lifting one end, then dropping it",
        "putting, not throwing; down",
        "turning",
        "a, b",
    ],
    "quotes": ['saying "yes" twice', 'a "b" c', "person's head", "l'été", "plain"],
    "digits first": ["3 point shot", "100 m sprint", "walking", "2-step", "10"],
    "digits last": ["vault 1", "bars 2", "beam", "floor 0"],
    "not ASCII": ["танец", "跳舞", "Übung mit Bällen", "saut à l’élastique", "ダンス"],
    "numbered": [f"class {index}" for index in range(12)],
    "ids in other order": ["10 meters", "2 laps", "1 lap", "0 laps"],
    "marks": ["tab\tin it", "a;b", "c: d", "[something]", "{x}", "name of it"],
    "words of a header": ["walking", "name", "label", "id"],
}


def table(rows, header=None, **how):
    out = io.StringIO()
    writer = csv.writer(out, **how)
    writer.writerows([*([header] if header else []), *rows])
    return out.getvalue()


def rows(names, start=0):
    return [(index + start, name) for index, name in enumerate(names)]


def turned(pairs):
    return [(name, index) for index, name in pairs]


def shuffled(pairs):
    return random.Random(1).sample(pairs, len(pairs))


def joined(pairs, mark):
    return "\n".join(f"{a}{mark}{b}" for a, b in pairs)


WRITERS = {
    "csv id,name": lambda n: table(rows(n)),
    "csv name,id": lambda n: table(turned(rows(n))),
    "csv id,name with header": lambda n: table(rows(n), ("id", "name")),
    "csv name,id with header": lambda n: table(turned(rows(n)), ("name", "id")),
    "csv label,id with header": lambda n: table(turned(rows(n)), ("label", "id")),
    "csv label,name with header": lambda n: table(rows(n), ("label", "name")),
    "csv of pandas": lambda n: table(rows(n), ("", "name")),
    "csv quoted throughout": lambda n: table(rows(n), ("id", "name"), quoting=csv.QUOTE_ALL),
    "csv in another order": lambda n: table(shuffled(rows(n)), ("id", "name")),
    "csv from 1": lambda n: table(rows(n, 1)),
    "csv of three columns": lambda n: table(
        [(index, name, "x") for index, name in rows(n)], ("index", "class", "group")
    ),
    "tsv id,name": lambda n: table(rows(n), delimiter="\t"),
    "tsv name,id with header": lambda n: table(turned(rows(n)), ("name", "id"), delimiter="\t"),
    "semicolons id;name": lambda n: table(rows(n), delimiter=";"),
    "semicolons name;id with header": lambda n: table(
        turned(rows(n)), ("Name", "Class ID"), delimiter=";"
    ),
    "json list": lambda n: json.dumps(n),
    "json list, indented, as UTF-8": lambda n: json.dumps(n, indent=1, ensure_ascii=False),
    "json id to name": lambda n: json.dumps(dict(shuffled(rows(n)))),
    "json name to id": lambda n: json.dumps(dict(shuffled(turned(rows(n))))),
    "json name to id as text": lambda n: json.dumps({name: str(i) for i, name in rows(n)}),
    "json name in nested quotes to id": lambda n: json.dumps(
        {
            '"{}"'.format(name.replace('"', '""')) if " " in name else name: i
            for i, name in shuffled(rows(n))
        }
    ),
    "json objects": lambda n: json.dumps([{"name": name} for name in n]),
    "json objects with ids": lambda n: json.dumps(
        [{"id": i, "name": name} for i, name in shuffled(rows(n))]
    ),
    "json objects with label": lambda n: json.dumps(
        [{"id": str(i), "label": name, "group": 1} for i, name in shuffled(rows(n))]
    ),
    "json pairs": lambda n: json.dumps(shuffled(rows(n))),
    "json config": lambda n: json.dumps({"model_type": "videomae", "id2label": dict(rows(n))}),
}
# Without quotes a name that holds a mark cannot be told from columns, nor a table from a list.
PLAIN = {
    "lines": lambda n: "\n".join(n),
    "lines with a header": lambda n: "\n".join(["label", *n]),
    "classInd": lambda n: joined(rows(n, 1), " "),
    "id and name": lambda n: joined(rows(n), " "),
    "id: name": lambda n: joined(rows(n), ": "),
    "id name with header": lambda n: "id name\n" + joined(rows(n), " "),
    "id,name without quotes": lambda n: joined(rows(n), ","),
    "name,id without quotes": lambda n: joined(turned(rows(n)), ","),
}


@pytest.mark.parametrize("kind", NAMES)
@pytest.mark.parametrize("writer", WRITERS)
def test_every_form_gives_back_the_same_names_in_the_same_order(tmp_path, writer, kind):
    text = WRITERS[writer](NAMES[kind]).replace("\r\n", "\n")
    path = tmp_path / "labels"
    for mark in ("", "\ufeff"):
        for ending in ("\n", "\r\n", "\n\n"):
            path.write_bytes((mark + text.replace("\n", ending)).encode())
            assert list(sta.read_labels(path)) == NAMES[kind]


@pytest.mark.parametrize("kind", [kind for kind in NAMES if kind not in ("marks", "one")])
@pytest.mark.parametrize("writer", PLAIN)
def test_every_form_without_quotes_does_too(tmp_path, writer, kind):
    path = tmp_path / "labels"
    path.write_text(PLAIN[writer](NAMES[kind]))
    assert list(sta.read_labels(path)) == NAMES[kind]


@pytest.mark.parametrize("file", ["label_map_k400.txt", "label_map_sthv2.txt"])
@pytest.mark.parametrize("writer", WRITERS | PLAIN)
def test_every_form_of_the_published_lists_does_too(tmp_path, writer, file):
    if not (PUBLISHED / file).exists():
        pytest.skip("the published class lists are not on this machine")
    names = (PUBLISHED / file).read_text().splitlines()
    path = tmp_path / "labels"
    path.write_text((WRITERS | PLAIN)[writer](names))
    assert list(sta.read_labels(path)) == names


def test_ids_from_1_are_shifted_and_that_is_said(tmp_path, caplog):
    path = tmp_path / "classInd.txt"
    path.write_text("1 ApplyEyeMakeup\n2 ApplyLipstick\n")
    with caplog.at_level(logging.WARNING, logger="sta"):
        assert sta.read_labels(path) == ("ApplyEyeMakeup", "ApplyLipstick")
    assert caplog.messages == [
        f"{path}: its ids are 1 to 2 and the model's classes 0 to 1; each is shifted by one"
    ]


@pytest.mark.parametrize(
    "text",
    [
        "1 person\n2 person",
        "100 m sprint\n200 m sprint",
        "1 lap\n2 laps\n2 laps and more",
        "5 a\n7 b",
    ],
)
def test_numbers_that_are_not_the_ids_of_all_lines_belong_to_the_names(tmp_path, text):
    (tmp_path / "labels").write_text(text)
    assert list(sta.read_labels(tmp_path / "labels")) == text.split("\n")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "holds no labels"),
        (b"\n\n", "holds no labels"),
        (b"[]", "holds no labels"),
        (b"{}", "holds no labels"),
        (b"{", "no valid JSON"),
        (b"\xff\xfe", "no UTF-8 text"),
        (b"0,one\n2,two", "are not 0 to 1, each once: 1 is missing"),
        (b"2,one\n3,two", "are not 0 to 1, each once: 0 is missing"),
        (b"0,one\n0,two", "are not 0 to 1, each once: 0 comes more than once"),
        (b"id,name\n0,one\n0,two", "are not 0 to 1, each once: 0 comes more than once"),
        (b'{"0": "one", "2": "two"}', "are not 0 to 1, each once: 1 is missing"),
        (b'[{"id": 0, "name": "a"}, {"id": 4, "name": "b"}]', "0 to 1, each once: 1 is missing"),
        (b'{"0": "one", "0": "two"}', "names '0' more than once"),
        (b'{"one": "two"}', 'in no form of label file .* begins with \'{"one": "two"}\''),
        (b'{"a": {"b": 1}}', "in no form of label file"),
        (b"[1, 2]", "in no form of label file .* begins with '1'"),
        (b'[{"x": "a"}]', "in no form of label file"),
        (b'{"0": "1", "1": "2", "2": "0"}', "ids on both sides, such as"),
        (b"walking\nrunning\nwalking", r"more than once: 'walking' \(2 times\)"),
        (b"0,walking\n1,walking", r"more than once: 'walking' \(2 times\)"),
        (b"0,\n1,b", "has no name for class 0"),
        (b"0,one\n1,two\nthree", "has lines with an id and a name, and 'three' is none of them"),
        (b"0,one,x\n1,two,x", "in no form of label file .* begins with '0,one,x'"),
        (b"one;x\ntwo;x", "in no form of label file .* begins with 'one;x'"),
        (b"one\tx\ntwo\tx", "in no form of label file"),
        (b"one,x\ntwo,y", "in no form of label file .* Allowed: one name per line"),
        (b"id,name,group\n0,one\n1,two,x", "3 columns in its header 'id,name,group' and 2 in"),
        (b"2,0\n0,1\n1,2", "ids on both sides, such as '1,2'"),
    ],
)
def test_what_would_name_wrong_classes_is_refused_in_one_line(tmp_path, content, said):
    (tmp_path / "labels").write_bytes(content)
    with pytest.raises(sta.CheckpointError, match=said) as caught:
        sta.read_labels(tmp_path / "labels")
    assert "\n" not in str(caught.value)
    assert str(tmp_path / "labels") in str(caught.value)
