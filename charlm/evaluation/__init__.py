"""Measure how well a model predicts a text."""
