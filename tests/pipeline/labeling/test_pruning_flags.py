"""Every switch of STA has its flag, with the same choices and defaults."""

import argparse
import dataclasses

import pytest

import sta
from pipeline.labeling.pruning_flags import add_pruning_flags, pruning_from


def parse(*arguments):
    parser = argparse.ArgumentParser()
    add_pruning_flags(parser)
    return pruning_from(parser.parse_args(arguments))


def test_without_flags_it_is_the_default():
    assert parse() == sta.Pruning()


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
    assert parse(flag, text) == dataclasses.replace(sta.Pruning(), **{name: value})
