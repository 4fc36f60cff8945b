"""Every switch of STA has its flag, with the same choices and defaults."""

import argparse
import dataclasses

import pytest

import sta
from pipeline.flags import add_flags, options_of
from pipeline.labeling.pruning_flags import PruningFlags


def parse(*arguments):
    parser = argparse.ArgumentParser()
    add_flags(parser, PruningFlags)
    return options_of(PruningFlags, parser.parse_args(arguments))


def test_without_flags_it_is_the_default():
    assert parse() == PruningFlags()
    assert PruningFlags(r=0).of("vit_base") == sta.Pruning()


@pytest.mark.parametrize("name", ["vit_base", "videoswin_base"])
def test_without_r_it_is_the_models_default(name):
    assert parse("--score", "random").of(name).r == sta.default_pruning(name).r > 0
    assert parse("--r", "7").of(name).r == 7


def test_a_value_that_no_model_allows_is_refused_at_once():
    with pytest.raises(ValueError, match="r must be a whole number of tokens, 0 or more; got -1"):
        parse("--r", "-1")


OTHER = {
    "r": ("--r", "7", 7),
    "grouping": ("--grouping", "paper", "paper"),
    "direction": ("--direction", "BBB", "BBB"),
    "first_frame": ("--first-frame", "grid", "grid"),
    "similarity": ("--similarity", "ffn", "ffn"),
    "schedule": ("--schedule", "increasing", "increasing"),
    "score": ("--score", "random", "random"),
    "temperature": ("--temperature", "0.5", 0.5),
    "window_attention": ("--window-attention", "dense", "dense"),
    "seed": ("--pruning-seed", "3", 3),
}


def test_every_field_has_a_flag():
    assert OTHER.keys() == {field.name for field in dataclasses.fields(sta.Pruning)}


@pytest.mark.parametrize("name", OTHER)
def test_a_flag_sets_its_field_and_no_other(name):
    flag, text, value = OTHER[name]
    found = parse(flag, text).of("vit_base")
    default = sta.default_pruning("vit_base")
    assert found == dataclasses.replace(default, **{name: value})
