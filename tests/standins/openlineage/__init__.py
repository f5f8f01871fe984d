"""A stand-in for an OpenLineage server: the write rules that were observed on Marquez 0.51, as far as the tests need them.

It is no Marquez and no reimplementation of one. What it does is checked against recorded exchanges with the real server
(`tests/contract/test_standin_recordings.py`); what no test needs (versions, search, column lineage …) it does not have.
"""
