"""The demo: a generated archive of labelled videos and the training of the model that knows it.

A demonstration and a test oracle: its labels are right or wrong for real, so what pruning costs
shows in the accuracy. It is no model of natural video.
"""
